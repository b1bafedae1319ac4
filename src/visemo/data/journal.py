"""What a half-written store has finished: one line of JSON per take, each on the disk before the next is begun."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from visemo.types import VisemoError

JOURNAL = "journal.jsonl"


class Journal:
    """An append-only list of rows that survives being cut off at any byte.

    Parameters
    ----------
    folder : where the file lies or will lie.
    job : what is being written; rows of another job are never gone on with.

    Raises VisemoError for a journal of another job, or one whose first line is no job.
    """

    def __init__(self, folder: Path, job: Mapping[str, Any]):
        self.path = folder / JOURNAL
        self.rows: list[dict[str, Any]] = []
        if self.path.exists():
            self._read(dict(job))
        else:
            with self.path.open("w", encoding="utf-8") as file:
                _append(file, job)

    def add(self, row: Mapping[str, Any]) -> None:
        """Put one row down for good."""
        with self.path.open("a", encoding="utf-8") as file:
            _append(file, row)
        self.rows.append(dict(row))

    def _read(self, job: dict[str, Any]) -> None:
        whole = [line for line in self.path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        try:
            begun, *self.rows = [json.loads(line) for line in whole]
        except ValueError as error:
            raise VisemoError(f"{self.path}: got a damaged journal ({error}); delete the half-written store") from error
        changed = [key for key in {**begun, **job} if begun.get(key) != json.loads(json.dumps(job)).get(key)]
        if changed:
            raise VisemoError(
                f"{self.path.parent}: got a half-written store of another {', '.join(changed)}, "
                "expected one of the same data, face and settings to go on with; delete it or choose another name"
            )
        kept = b"".join(whole)  # a row that breaks off was not finished
        if len(kept) < self.path.stat().st_size:
            self.path.write_bytes(kept)


def _append(file: TextIO, row: Mapping[str, Any]) -> None:
    file.write(json.dumps(row) + "\n")
    file.flush()
    os.fsync(file.fileno())
