"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings, rigs and meshes; its licences keep it out of the repository."""
    folder = Path(os.environ.get("VISEMO_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("real data not present: set VISEMO_SHARED_DATA to its folder")
    return folder


# --- a tiny face and a tiny model: everything an animator needs, made in a second ---------------------


@pytest.fixture(scope="session")
def tiny_face():
    """A curved sheet with a mouth slit, lip pairs and a few ARKit shapes: a face to every part of visemo."""
    from tiny import make_tiny_face

    return make_tiny_face()


@pytest.fixture(scope="session")
def tiny_model(tiny_face):
    """A small random model on the tiny face; its blendshapes are the face's own shapes, mixed."""
    from tiny import make_tiny_model

    return make_tiny_model(tiny_face)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A small random model on the built-in head, saved as a model folder."""
    from tiny import make_tiny_model
    from visemo.face.library import load_face
    from visemo.models.checkpoint import save_model

    model = make_tiny_model(load_face("builtin"))
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_model(folder, model.face, model.speech, model.fusion, model.expressions)
    return folder
