"""FLAME models for tests: the open pack where it is at hand, and one of random numbers everywhere."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from visemo.face.flame import FlameModel, read_flame

OPEN_PACK = Path("flame_open") / "flame2023_open_partial.npz"


@lru_cache(maxsize=1)
def open_model(shared_data: Path) -> FlameModel:
    return read_flame(shared_data / OPEN_PACK)


@lru_cache(maxsize=1)
def random_arrays() -> dict[str, np.ndarray]:
    """The keys of a pack, of FLAME's shapes: 3 identity and 2 expression components, any triangles."""
    chance = np.random.default_rng(11)
    weights = chance.random((5023, 5))
    regressor = chance.random((5, 5023)) * (chance.random((5, 5023)) < 0.01)
    return {
        "v_template": chance.normal(scale=0.1, size=(5023, 3)),
        "faces": chance.integers(0, 5023, (9976, 3)),
        "shapedirs_identity3": chance.normal(scale=0.002, size=(5023, 3, 3)),
        "shapedirs_expression2": chance.normal(scale=0.002, size=(5023, 3, 2)),
        "posedirs": chance.normal(scale=0.002, size=(5023, 3, 36)),
        "weights": weights / weights.sum(axis=1, keepdims=True),
        "J_regressor": regressor / regressor.sum(axis=1, keepdims=True),
        "kintree_parents": np.array([-1, 0, 1, 1, 1]),
    }


@lru_cache(maxsize=1)
def random_model() -> FlameModel:
    arrays = {name: array.astype(np.float32) for name, array in random_arrays().items()}
    shapedirs = np.concatenate([arrays["shapedirs_identity3"], arrays["shapedirs_expression2"]], axis=-1)
    return FlameModel(
        arrays["v_template"],
        random_arrays()["faces"].astype(np.int32),
        shapedirs,
        3,
        2,
        arrays["posedirs"],
        arrays["weights"],
        arrays["J_regressor"],
        arrays["kintree_parents"].astype(np.int32),
    )
