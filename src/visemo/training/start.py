"""Go on from a speech model that was trained before: on other data, or heard otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from visemo.models.checkpoint import find_model, load_parts
from visemo.models.speech_motion import SpeechMotion
from visemo.types import VisemoError

STYLES = "obj_vector.weight"  # (D, n), a column for each training subject
NAMES = "phones."  # the head that names phones, which other data may name otherwise


def start_from(model: SpeechMotion, folder: Path | str) -> dict[str, Any]:
    """Give `model` the weights of the speech model in `folder`, a run or a model folder.

    Subjects that the earlier model knew by the same name keep their style, the others begin with the mean of all.
    Returns how the earlier model was trained and on what, for the folder of the new one.

    Raises
    ------
    VisemoError
        for a folder without a speech model, and one of another size or on other vertices
    """
    earlier, facts = _speech_of("start", folder)
    weights = earlier.state_dict()
    style = weights[STYLES]
    known = {name: style[:, n] for n, name in enumerate(earlier.config.subjects)}
    weights[STYLES] = torch.stack([known.get(name, style.mean(dim=1)) for name in model.config.subjects], dim=1)
    _fill("start", model, weights, folder, "encoder, basis_size and face")
    return facts


def hear_as(model: SpeechMotion, folder: Path | str) -> dict[str, Any]:
    """Give `model` the ears of the speech model in `folder` (a run, a model folder or an embedded model's name), and
    nothing else of it: its face may be any other. Returns how that model was trained and on what.

    Raises
    ------
    VisemoError
        for a folder without a speech model, and one whose encoder is of another size
    """
    earlier, facts = _speech_of("pretrained", folder)
    _fill("pretrained", model.audio_encoder, earlier.audio_encoder.state_dict(), folder, "encoder")
    return facts


def _speech_of(setting: str, folder: Path | str) -> tuple[SpeechMotion, dict[str, Any]]:
    run = Path(folder) / "model"
    parts = load_parts(run if run.is_dir() else find_model(folder))
    if parts.speech is None:
        raise VisemoError(f"{setting}: got {folder} without a speech model, expected a run or model that has one")
    return parts.speech, parts.config["training"].get("speech", {})


def _fill(setting: str, network: nn.Module, weights: dict[str, Tensor], folder: Path | str, same: str) -> None:
    """Load `weights` into a network, but for the head that names phones where those are others."""
    own = network.state_dict()
    for key, value in own.items():
        theirs = weights.get(key)
        fits = theirs is not None and theirs.shape == value.shape
        if not fits and NAMES in key:
            weights[key] = value
        elif not fits:
            got = "nothing" if theirs is None else tuple(theirs.shape)
            raise VisemoError(
                f"{setting}: got {folder} with {got} for {key}, expected {tuple(value.shape)}; "
                f"train with the {same} that it was trained with"
            )
    network.load_state_dict({key: weights[key] for key in own})
