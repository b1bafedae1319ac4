"""Model folders: everything an animator needs, written without pickles and read strictly.

DIR/config.json           schema, versions, face, the configuration of each network, how it was trained
DIR/model.safetensors     "speech.*" and "fusion.*", float32 or float16; "geometry_map.uv", float64
DIR/expressions.*         the expression library
DIR/face/                 the face itself, unless it is the built-in one
"""

from __future__ import annotations

import json
import shutil
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from visemo.assets import ASSETS, sha256
from visemo.face.face import Face
from visemo.face.library import load_face, save_face
from visemo.geometry.geomap import GeometryMap, symmetric_triangles
from visemo.models.expressions import ExpressionLibrary
from visemo.models.fusion import Fusion, FusionConfig
from visemo.models.speech_motion import SpeechMotion, SpeechMotionConfig
from visemo.types import VisemoError

SCHEMA = "visemo.model/1"
MAP = "geometry_map.uv"  # where each vertex lies in the map that the encoders learned to read
CONFIG, WEIGHTS, FACE = "config.json", "model.safetensors", "face"
BUILTIN = "builtin"

Config = TypeVar("Config")


@dataclass(frozen=True, eq=False)
class Parts:
    """What a model folder holds; a training run's folder holds only the part it trained."""

    face: Face
    config: dict[str, Any]
    hash: str
    speech: SpeechMotion | None = None
    fusion: Fusion | None = None
    expressions: ExpressionLibrary | None = None


@dataclass(frozen=True, eq=False)
class Model:
    """A complete model, its networks in eval mode. `hash` changes with any weight or setting."""

    name: str
    face: Face
    speech: SpeechMotion
    fusion: Fusion
    expressions: ExpressionLibrary
    config: dict[str, Any]
    hash: str


def save_model(
    folder: Path | str,
    face: Face,
    speech: SpeechMotion | None = None,
    fusion: Fusion | None = None,
    expressions: ExpressionLibrary | None = None,
    *,
    training: Mapping[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Write a model folder, or the folder of one trained part; an older one there is replaced at once.

    Parameters
    ----------
    folder : its parent has to exist
    training : what is worth knowing later: data and their licence, steps, preset; JSON-able
    half : store float16, half the size

    Raises
    ------
    VisemoError
        when the parent folder is missing, or a weight is not finite in the stored type
    """
    networks: dict[str, SpeechMotion | Fusion] = {}
    if speech is not None:
        networks["speech"] = speech
    if fusion is not None:
        networks["fusion"] = fusion
    config = {
        "schema": SCHEMA,
        "versions": versions(),
        "face": {"name": face.name, "topology": face.topology_hash, "vertices": len(face.template)},
        **{part: asdict(network.config) for part, network in networks.items()},
        "training": dict(training or {}),
    }
    with _replacing(Path(folder)) as new:
        save_file(_stored(networks, half), new / WEIGHTS)
        (new / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
        if expressions is not None:
            expressions.save(new, half)
        if face.name != BUILTIN:
            save_face(face, new / FACE)


def load_model(name: Path | str = "default") -> Model:
    """Load a complete model: the name of an embedded one, or a folder.

    Raises
    ------
    VisemoError
        in one line, for an unknown name (with the list), a folder that is no model folder, a damaged
        or foreign file, weights that do not fit the configuration, or a folder that holds one part only
    """
    folder = find_model(name)
    parts = load_parts(folder)
    if parts.speech is None or parts.fusion is None or parts.expressions is None:
        missing = [part for part in ("speech", "fusion", "expressions") if getattr(parts, part) is None]
        raise VisemoError(f"{folder}: got a model without {', '.join(missing)}, expected all; assemble two runs")
    return Model(folder.name, parts.face, parts.speech, parts.fusion, parts.expressions, parts.config, parts.hash)


def load_parts(folder: Path | str) -> Parts:
    """Load what a model folder holds, complete or not; networks in eval mode, float32.

    Raises
    ------
    VisemoError
        as `load_model`, except for missing parts
    """
    folder = Path(folder)
    config = _read_config(folder)
    face = _read_face(folder, config)
    weights = _read_weights(folder)
    speech = fusion = None
    if "speech" in config:
        speech = SpeechMotion(read_config(SpeechMotionConfig, config["speech"], f"{folder}/{CONFIG}: speech"))
        _fill(speech, "speech", weights, folder)
    if "fusion" in config:
        settings = read_config(FusionConfig, config["fusion"], f"{folder}/{CONFIG}: fusion")
        fusion = Fusion(settings, _read_map(face, weights, settings.map_size, folder))
        _fill(fusion, "fusion", weights, folder)
    if weights:
        raise VisemoError(f"{folder}/{WEIGHTS}: got an unknown tensor {next(iter(weights))}, expected none; wrong file")
    has_library = (folder / "expressions.json").exists()
    expressions = ExpressionLibrary.load(folder) if has_library else None
    return Parts(face, config, model_hash(folder), speech, fusion, expressions)


def model_hash(folder: Path) -> str:
    """16 hex digits over the configuration, the weights and the expression library."""
    return sha256(*sorted(path for path in folder.iterdir() if path.is_file()))[:16]


def read_config(kind: type[Config], values: Any, where: str) -> Config:
    """A frozen dataclass from its `asdict` as JSON gave it back (lists for tuples, dicts for nested ones).

    Raises VisemoError naming the first unknown setting or impossible value.
    """
    if not isinstance(values, dict):
        raise VisemoError(f"{where}: got {type(values).__name__}, expected settings by name; get the file anew")
    hints = typing.get_type_hints(kind)
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise VisemoError(f"{where}: got an unknown setting {unknown[0]}, expected {', '.join(sorted(known))}")
    try:
        return kind(**{name: _revive(hints[name], value, f"{where}.{name}") for name, value in values.items()})
    except (TypeError, AttributeError) as error:
        raise VisemoError(f"{where}: got settings that do not fit ({error}); get the file anew") from error


def versions() -> dict[str, str]:
    """Versions of visemo and of what computes its numbers."""
    from importlib.metadata import version

    return {"visemo": version("visemo"), "torch": torch.__version__, "numpy": np.__version__}


def _revive(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, types.UnionType):  # X | None
        hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
    if is_dataclass(hint) and isinstance(hint, type) and value is not None:
        return read_config(hint, value, where)
    return tuple(value) if isinstance(value, list) else value


def find_model(name: Path | str) -> Path:
    """The folder of a model: that folder itself, or an embedded model's by its name. Raises VisemoError for others."""
    folder = Path(name)
    if folder.is_dir():
        return folder
    embedded = sorted(path.parent.name for path in ASSETS.glob(f"*/{CONFIG}"))
    if str(name) not in embedded:
        raise VisemoError(f"model: got {str(name)!r}, expected a folder or one of {', '.join(embedded) or 'no names'}")
    return ASSETS / str(name)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise VisemoError(f"{folder}: got no {CONFIG}, expected a model folder; name the folder that holds it")
    try:
        config = json.loads(path.read_text())
        schema, face = config["schema"], config["face"]
        known = schema == SCHEMA and {"name", "topology", "vertices"} <= set(face)
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise VisemoError(f"{path}: got a damaged or foreign file ({error}), expected {SCHEMA}; get it anew") from error
    if not known:
        raise VisemoError(f"{path}: got schema {schema}, expected {SCHEMA} with a face; use the version that wrote it")
    return config


def _read_face(folder: Path, config: dict[str, Any]) -> Face:
    """The model's face, refused when its triangles are not those that the model was trained on."""
    name, topology = config["face"]["name"], config["face"]["topology"]
    face = load_face(folder / FACE if (folder / FACE).is_dir() else name)
    if face.topology_hash != topology:
        raise VisemoError(
            f"{folder}: got face {face.name} of topology {face.topology_hash}, expected {topology}; "
            "the model was trained on another head"
        )
    return face


def _read_weights(folder: Path) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    if not path.is_file():
        raise VisemoError(f"{folder}: got no {WEIGHTS}, expected it beside {CONFIG}; get the folder anew")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise VisemoError(f"{path}: got a damaged file ({error}), expected safetensors; get it anew") from error


def _read_map(face: Face, weights: dict[str, Tensor], size: int, folder: Path) -> GeometryMap:
    """The very map of the training, moved out of `weights`; another flattening would shift all that E_a sees."""
    uv, shape = weights.pop(MAP, None), (len(face.template), 2)
    if uv is None or uv.dtype != torch.float64 or uv.shape != shape:
        got = "nothing" if uv is None else f"{uv.dtype} of shape {tuple(uv.shape)}"
        raise VisemoError(f"{folder}/{WEIGHTS}: got {got} for {MAP}, expected float64 of shape {shape}; get it anew")
    return GeometryMap(uv.numpy(), symmetric_triangles(face.template, face.triangles, face.mirror), size)


def _fill(network: nn.Module, part: str, weights: dict[str, Tensor], folder: Path) -> None:
    """Move the tensors named `part`.* out of `weights` into the network; every one has to fit."""
    state = {}
    for key, own in network.state_dict().items():
        stored = weights.pop(f"{part}.{key}", None)
        if stored is None or stored.shape != own.shape:
            got = "nothing" if stored is None else f"shape {tuple(stored.shape)}"
            raise VisemoError(
                f"{folder}/{WEIGHTS}: got {got} for {part}.{key}, expected shape {tuple(own.shape)}; get it anew"
            )
        state[key] = stored.to(own.dtype)
    network.load_state_dict(state)
    network.eval()


def _stored(networks: Mapping[str, SpeechMotion | Fusion], half: bool) -> dict[str, Tensor]:
    stored = {}
    for part, network in networks.items():
        for key, tensor in network.state_dict().items():
            value = tensor.detach().to("cpu", torch.float16 if half and tensor.is_floating_point() else tensor.dtype)
            if value.is_floating_point() and not value.isfinite().all():
                raise VisemoError(f"weights: got values of {part}.{key} that {value.dtype} cannot hold; store float32")
            stored[f"{part}.{key}"] = value.contiguous().clone()
        if isinstance(network, Fusion):
            stored[MAP] = network.geomap.uv.cpu().clone()
    return stored


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder`; when everything in it is written it takes the old one's place."""
    if not folder.parent.is_dir():
        raise VisemoError(f"{folder}: got no folder {folder.parent}, expected an existing one; create it first")
    new, old = (folder.parent / f".{folder.name}.{suffix}" for suffix in ("new", "old"))
    for path in (new, old):
        shutil.rmtree(path, ignore_errors=True)
    new.mkdir()
    try:
        yield new
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
