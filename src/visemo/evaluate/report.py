"""What a model is worth on held-out takes of a store: a page to look at, a table to read, numbers for machines.

Where the store has planted truth, the separation is measured too: the fused face of two takes against the sum
of their pure parts, beside the naive sum of the two recordings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from visemo.assets import atomic
from visemo.evaluate.exhibits import exhibit
from visemo.evaluate.measurement import Findings, Progress, measure
from visemo.evaluate.page import page
from visemo.evaluate.sheet import Row
from visemo.evaluate.terms import TERMS
from visemo.models.checkpoint import Model
from visemo.training.corpus import Corpus
from visemo.types import VisemoError

MEASURED = 0.95  # of the time; the rest draws


def evaluate(
    model: Model,
    data: Sequence[Path | str],
    out: Path | str,
    split: str = "faceformer",
    *,
    progress: Progress | None = None,
    limit: int | None = None,
) -> list[Row]:
    """Measure a model on the test part of some stores; writes `out`/metrics.json, report.md and report.html.

    Parameters
    ----------
    data : stores on the model's face: speech takes, expression takes, or both
    out : a folder; made if its parent exists
    split : the division whose test part is used; its training part gives the baselines
    limit : for a quick look: takes of each kind, and pairs, at most, evenly picked

    Raises
    ------
    VisemoError
        for stores of another face or without test takes, a limit below 1, or a folder that cannot be made
    """
    if limit is not None and limit < 1:
        raise VisemoError(f"limit: got {limit}, expected at least 1 take of each kind")
    corpus = Corpus(data, model.face, split)
    out = _folder(out)
    progress = progress or (lambda share: None)
    with torch.inference_mode(), _without_subnormals():
        findings = measure(model, corpus, limit, lambda share: progress(MEASURED * share))
        shown = exhibit(findings)
    facts = _facts(model, corpus, split, limit)
    texts = {
        "metrics.json": json.dumps(_content(model, corpus, split, limit, findings), indent=1) + "\n",
        "report.md": _markdown(model.name, facts, findings),
        "report.html": page(model.name, facts, findings.sheet, shown, findings.places.sets),
    }
    for name, text in texts.items():
        with atomic(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    progress(1.0)
    return findings.sheet.rows


@contextmanager
def _without_subnormals() -> Iterator[None]:
    """Count numbers under 1e-38 as zero: a face near rest is full of them in metres, and each takes a hundred times
    as long as others."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _folder(out: Path | str) -> Path:
    out = Path(out)
    try:
        out.mkdir(exist_ok=True)
    except OSError as error:
        raise VisemoError(f"{out}: cannot make this folder ({error.strerror}); choose another place") from error
    return out


def _facts(model: Model, corpus: Corpus, split: str, limit: int | None) -> str:
    """One sentence on what was measured on what."""
    names = ", ".join(f"{fact['name']} ({fact['source']})" for fact in corpus.facts)
    quick = f" A quick look: at most {limit} takes of each kind, and pairs." if limit else ""
    return (
        f"Model {model.hash} on the test part of split {split} of {names}. Unknown speakers speak in the mean of the "
        f"model's styles.{quick}"
    )


def _content(model: Model, corpus: Corpus, split: str, limit: int | None, findings: Findings) -> dict[str, Any]:
    """What metrics.json holds; `sequences` has what every take gave to each mean, `limit` is null for all takes."""
    sheet = findings.sheet
    return {
        "model": model.hash,
        "data": corpus.facts,
        "split": split,
        "limit": limit,
        "vertex_sets": [{"name": s.name, "count": s.count, "hash": s.hash} for s in findings.places.sets],
        "rows": [asdict(row) for row in sheet.rows],
        "sequences": [column for table in sheet.tables for column in table.sequences],
    }


def _markdown(title: str, facts: str, findings: Findings) -> str:
    lines = [f"# {title}", "", facts, ""]
    for table in findings.sheet.tables:
        lines += [f"## {table.title}", "", table.about, "", "| measure | mode | value | unit | interval | n |"]
        lines.append("|---|---|---|---|---|---|")
        for row in table.rows:
            interval = f"[{row.low:.4g}, {row.high:.4g}]"
            cells = (row.name, row.mode, f"{row.value:.4g}", row.unit, interval, str(row.n))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    lines += ["## Terms", "", *(f"- {name}: {text}" for name, text in TERMS.items()), ""]
    lines += ["Vertex sets: " + ", ".join(str(found) for found in findings.places.sets) + ".", ""]
    return "\n".join(lines)
