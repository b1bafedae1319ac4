"""visemo's own: takes, and the sequences of a prepared store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from visemo.data.frames import single
from visemo.data.peers.clip import Clip, Found
from visemo.data.store import Store
from visemo.types import VisemoError, Waveform

TAKE = {"template", "faces", "fps", "basis", "speech_weights", "expression_weights"}


def read_own_take(path: Path, arrays: Mapping[str, np.ndarray]) -> Clip:
    """The arrays of a take .npz, decoded where it was written without vertices. Raises VisemoError for damaged ones."""
    try:
        if "vertices" in arrays:
            vertices = arrays["vertices"]
        else:
            weights = np.concatenate([arrays["speech_weights"], arrays["expression_weights"]], axis=1)
            vertices = arrays["template"] + np.tensordot(weights, arrays["basis"], axes=1)
        sound = Waveform(arrays["audio"], int(arrays["sample_rate"])) if "audio" in arrays else None
        face = str(json.loads(str(arrays["meta"]))["face"]) if "meta" in arrays else ""
        fps = float(arrays["fps"])
    except (ValueError, KeyError, TypeError) as error:
        raise VisemoError(f"{path}: got a damaged take ({error}), expected one of visemo; write it again") from error
    return Clip(path.stem, "visemo take", vertices, fps, arrays["faces"], arrays["template"], sound, face)


def find_takes(store: Store) -> list[Found]:
    """The sequences of a store, by their ids."""
    return [Found(take.id, lambda id=take.id: read_stored(store, id)) for take in store.sequences]


def read_stored(store: Store, id: str) -> Clip:
    """One sequence of a store on its subject's neutral, at its native rate."""
    take = store.sequence(id)
    rest = store.neutral(take.subject)
    vertices = rest + single(np.asarray(store.motion(id)))
    heard = (store.folder / "takes" / f"{id}.wav").is_file()
    sound = store.audio(id) if heard else None
    return Clip(id, "visemo store", vertices, take.fps, None, rest, sound, store.manifest["face"]["name"])
