"""What can be trained, and how two trained parts become a model."""

from __future__ import annotations

from pathlib import Path

from visemo.face.face import Face
from visemo.models.checkpoint import load_parts, save_model
from visemo.training.flame_map import FlameMapRecipe, train_flame_map
from visemo.training.fusion import FusionRecipe, train_fusion
from visemo.training.loop import MODEL
from visemo.training.speech import SpeechRecipe, train_speech
from visemo.types import VisemoError

__all__ = [
    "FlameMapRecipe",
    "FusionRecipe",
    "SpeechRecipe",
    "assemble",
    "train_flame_map",
    "train_fusion",
    "train_speech",
]


def assemble(speech_run: Path | str, fusion_run: Path | str, face: Face, out: Path | str, half: bool = True) -> None:
    """Join a speech run and a fusion run into the model folder `out`.

    Parameters
    ----------
    face : the face both were trained on; its colours and parts go with the model
    half : store float16

    Raises
    ------
    VisemoError
        for a run that has not ended or trained the other part, or runs on another face
    """
    speech, fusion = (load_parts(Path(run) / MODEL) for run in (speech_run, fusion_run))
    if speech.speech is None or fusion.fusion is None or fusion.expressions is None:
        raise VisemoError(
            f"{speech_run}, {fusion_run}: got runs of other kinds, expected a speech run and a fusion run; swap them"
        )
    for run, parts in ((speech_run, speech), (fusion_run, fusion)):
        if parts.face.topology_hash != face.topology_hash:
            raise VisemoError(
                f"{run}: got a run on face {parts.face.name}, expected {face.name}; train it on that face"
            )
    training = {**speech.config["training"], **fusion.config["training"]}
    save_model(
        out, face, speech=speech.speech, fusion=fusion.fusion, expressions=fusion.expressions, training=training,
        half=half,
    )  # fmt: skip
