"""What stands beside an avatar's Gaussians: which mesh its triangles are numbered on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from visemo.assets import atomic
from visemo.types import VisemoError

CLOUD, SHEET = "point_cloud.ply", "avatar.json"
SCHEMA = "visemo avatar 1"


@dataclass(frozen=True)
class Description:
    """The mesh of an avatar: a face's triangles first, then those of its attached parts, in this order."""

    face: str  # name
    topology: str  # Face.topology_hash
    triangles: int  # of the face alone
    parts: tuple[tuple[str, int], ...]  # name and number of triangles
    licence: str = ""

    @property
    def total(self) -> int:
        """Triangles of the face and all parts."""
        return self.triangles + sum(count for _, count in self.parts)


def write_description(folder: Path, description: Description) -> None:
    """Write avatar.json. Raises VisemoError when the folder is missing."""
    with atomic(folder / SHEET) as temporary:
        temporary.write_text(json.dumps({"schema": SCHEMA} | asdict(description), indent=1) + "\n", encoding="utf-8")


def read_description(cloud: Path) -> Description | None:
    """What avatar.json beside the Gaussians says; None where there is none, as beside avatars from elsewhere.

    Raises VisemoError for a file that is damaged or of another schema.
    """
    path = Path(cloud).parent / SHEET
    if not path.is_file():
        return None
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        schema = said.pop("schema", None)
        if schema != SCHEMA:
            raise VisemoError(f"{path}: got schema {schema!r}, expected {SCHEMA!r}")
        said["parts"] = tuple((str(name), int(count)) for name, count in said["parts"])
        return Description(**said)
    except VisemoError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise VisemoError(f"{path}: got a damaged file, expected what visemo avatar wrote; make it anew") from error
