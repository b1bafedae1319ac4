"""Published FaceFormer checkpoints (VOCASET), read into SpeechMotion."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import torch
from torch import Tensor

from visemo.models.speech_motion import SpeechMotion, SpeechMotionConfig, paper_config
from visemo.types import VisemoError

# the speakers of VOCASET that FaceFormer was trained on, in the order of its one-hot style
VOCASET_SUBJECTS = (
    "FaceTalk_170728_03272_TA",
    "FaceTalk_170904_00128_TA",
    "FaceTalk_170725_00137_TA",
    "FaceTalk_170915_00223_TA",
    "FaceTalk_170811_03274_TA",
    "FaceTalk_170913_03279_TA",
    "FaceTalk_170904_03276_TA",
    "FaceTalk_170912_03278_TA",
)
BIWI_FEATURES = 128


def load_faceformer(path: Path | str, subjects: tuple[str, ...] = VOCASET_SUBJECTS) -> SpeechMotion:
    """A SpeechMotion, in eval mode, with the weights of a published FaceFormer for VOCASET.

    Nothing in the file is executed; every weight must fit. The table of positions is dropped: it is
    computed, so that it has no end. The names of weight-normalised layers may be old or new.

    Parameters
    ----------
    path : checkpoint, a state_dict saved by torch.
    subjects : the training speakers in the order of the style vector.

    Raises
    ------
    VisemoError when the file is missing, damaged, foreign, or of the BIWI variant, whose frames
    attend to two audio frames each.
    """
    path = Path(path)
    state = _read(path)
    model = SpeechMotion(_config_of(path, state, subjects))
    state.pop("PPE.pe", None)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = re.sub(r"\s+", " ", str(error))[:200]
        raise VisemoError(f"{path}: got a checkpoint that does not fit FaceFormer ({reason})") from error
    return model.eval()


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise VisemoError(f"{path}: got no such file, expected a FaceFormer checkpoint")
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise VisemoError(f"{path}: got a damaged or foreign file, expected tensors by name saved by torch") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise VisemoError(f"{path}: got something other than tensors by name, expected a FaceFormer checkpoint")
    return dict(state)


def _config_of(path: Path, state: dict[str, Tensor], subjects: tuple[str, ...]) -> SpeechMotionConfig:
    """The sizes that a checkpoint shows: vertices, and one style per subject."""
    try:
        outputs, features = state["vertice_map_r.weight"].shape
        styles = state["obj_vector.weight"].shape[1]
    except (KeyError, ValueError, IndexError) as error:
        raise VisemoError(f"{path}: got no weights by their names, expected a FaceFormer checkpoint") from error
    if features == BIWI_FEATURES:
        raise VisemoError(f"{path}: got the BIWI variant of FaceFormer, expected the VOCASET one (64 features)")
    if outputs % 3 or styles != len(subjects):
        raise VisemoError(
            f"{path}: got {outputs} outputs and {styles} styles, expected a multiple of 3 and {len(subjects)} styles; "
            "name the subjects it was trained on"
        )
    return paper_config(outputs // 3, subjects)
