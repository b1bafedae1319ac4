"""visemo: speech and an expression in, an animated 3D face out.

>>> import visemo
>>> animator = visemo.load()
>>> clip = animator.animate("speech.wav", expression="happy", intensity=0.8)
>>> sad = animator.re_emote(clip, "sad", 0.6)
>>> visemo.save(sad, "take.glb")
"""

from __future__ import annotations

from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visemo.animation.animator import Animator
    from visemo.animation.timeline import Timeline
    from visemo.export.tracks import read_take as read
    from visemo.export.writers import save
    from visemo.types import Animation, VisemoError, Waveform

__all__ = ["Animation", "Animator", "Timeline", "VisemoError", "Waveform", "load", "read", "save"]
__version__ = metadata.version("visemo")

# where each name lives: torch and the renderers are imported when the first one is asked for
_HOMES = {
    "Animation": ("visemo.types", "Animation"),
    "Animator": ("visemo.animation.animator", "Animator"),
    "Timeline": ("visemo.animation.timeline", "Timeline"),
    "VisemoError": ("visemo.types", "VisemoError"),
    "Waveform": ("visemo.types", "Waveform"),
    "read": ("visemo.export.tracks", "read_take"),
    "save": ("visemo.export.writers", "save"),
}


def load(model: str | Path = "default", device: str = "auto") -> Animator:
    """An animator of the embedded default model, of another embedded one by name, or of a model folder.

    Raises
    ------
    VisemoError
        For an unknown name (with the list), a damaged or foreign folder, or a device that is not there.
    """
    from visemo.animation.animator import Animator
    from visemo.models.checkpoint import load_model
    from visemo.training.loop import choose_device

    return Animator(load_model(model), device=str(choose_device(device)))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'visemo' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
