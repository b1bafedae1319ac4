"""Getting ICT-FaceKit, the public head that `--face ict` means, from where it is published."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from visemo.assets import cache_folder
from visemo.face.ict import EXPRESSIONS, NEUTRAL
from visemo.face.library import ICT_FOLDER
from visemo.types import VisemoError

REPOSITORY = "https://github.com/ICT-VGL/ICT-FaceKit.git"
MODEL = "FaceXModel"
PATIENCE = 3600  # s that a download of half a gigabyte may take


def fetch_ict(into: str | Path | None = None, repository: str = REPOSITORY) -> Path:
    """Clone ICT-FaceKit (MIT licence) into a folder, whole or not at all.

    Parameters
    ----------
    into : the folder to make, by default where `--face ict` looks for it; the model is then in its FaceXModel. Where it
        holds the model already, nothing is done.
    repository : where to clone from; another than the published one for a mirror.

    Returns
    -------
    The folder.

    Raises
    ------
    VisemoError
        When there is no git or no network, what was got is not the model, or the folder is used for something else.
    """
    into = cache_folder() / ICT_FOLDER if into is None else Path(into)
    if not missing_files(into):
        return into
    by_hand = f"download {repository.removesuffix('.git')} by hand and unpack it as {into}"
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise VisemoError(f"{into}: got something else than ICT-FaceKit there, expected a new folder; choose another")
    git = shutil.which("git")
    if git is None:
        raise VisemoError(f"fetch ict: got no git on this machine, expected it; install git, or {by_hand}")
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{into.name}.", dir=into.parent))
    except OSError as error:
        raise VisemoError(f"{into}: cannot write there ({error.strerror}); choose another folder") from error
    try:
        clone = place / "clone"
        _clone(git, repository, clone, by_hand)
        missing = missing_files(clone)
        if missing:
            raise VisemoError(
                f"fetch ict: got a repository without {missing[0]} ({len(missing)} files are missing), expected "
                f"ICT-FaceKit; {by_hand}"
            )
        if into.exists():
            into.rmdir()
        clone.replace(into)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return into


def missing_files(folder: Path) -> list[str]:
    """What the model needs and the folder has not, as names within it."""
    names = (NEUTRAL, *(f"{name}.obj" for name in EXPRESSIONS), "identity000.obj")
    return [f"{MODEL}/{name}" for name in names if not (folder / MODEL / name).is_file()]


def _clone(git: str, repository: str, into: Path, by_hand: str) -> None:
    """`git clone` of the newest state only; never asks for a password."""
    command = [git, "-c", "core.askPass=", "clone", "--quiet", "--depth", "1", repository, str(into)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL,
            env={**_environment(), "GIT_TERMINAL_PROMPT": "0"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VisemoError(
            f"fetch ict: git did not finish ({type(error).__name__}), expected a clone; {by_hand}"
        ) from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise VisemoError(f"fetch ict: git could not clone {repository} ({said}); check the network, or {by_hand}")


def _environment() -> dict[str, str]:
    """This process's environment, without the variables by which a surrounding git command names its own repository."""
    own = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    return {name: value for name, value in os.environ.items() if name not in own}
