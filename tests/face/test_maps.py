"""The map of a face: remembered rightly, rebuilt when the memory is damaged, and fine enough for a smile."""

import numpy as np
import pytest
import torch

from visemo.face import maps
from visemo.face.library import load_face
from visemo.face.maps import geometry_map, importance


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("VISEMO_CACHE", str(tmp_path / "cache"))
    maps._uv.cache_clear()
    yield tmp_path / "cache" / "maps"
    maps._uv.cache_clear()


def fresh_start() -> None:
    maps._uv.cache_clear()


def buffers(geomap) -> tuple[np.ndarray, ...]:
    return np.asarray(geomap.uv), geomap.index.numpy(), geomap.weight.numpy()


def assert_same(a, b) -> None:
    for one, other in zip(buffers(a), buffers(b), strict=True):
        np.testing.assert_array_equal(one, other)


def test_remembered_equals_fresh(tiny_face, cache, monkeypatch):
    fresh = geometry_map(tiny_face, 32)
    assert len(list(cache.iterdir())) == 1
    fresh_start()
    monkeypatch.setattr(maps, "flatten", lambda *_: pytest.fail("flattened twice"))
    remembered = geometry_map(tiny_face, 32)
    assert remembered is not fresh
    assert_same(fresh, remembered)


@pytest.mark.parametrize("damage", ["cut", "junk", "empty", "pickle", "shape", "dtype", "range", "nan"])
def test_damaged_memory_is_rebuilt(tiny_face, cache, damage):
    fresh = geometry_map(tiny_face, 32)
    (path,) = cache.iterdir()
    data, uv = path.read_bytes(), np.load(path)
    arrays = {"shape": uv[:-1], "dtype": uv.astype(np.float32), "range": uv + 1, "nan": uv * np.nan}
    if damage in arrays:
        np.save(path, arrays[damage])
    elif damage == "pickle":
        np.save(path, np.array([{}], object), allow_pickle=True)
    else:
        path.write_bytes({"cut": data[:-100], "junk": b"junk", "empty": b""}[damage])
    fresh_start()
    assert_same(fresh, geometry_map(tiny_face, 32))
    assert path.read_bytes() == data


def test_no_cache_folder_is_no_error(tiny_face, cache, monkeypatch, tmp_path):
    fresh = geometry_map(tiny_face, 32)
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("VISEMO_CACHE", str(tmp_path / "file" / "below"))
    fresh_start()
    assert_same(fresh, geometry_map(tiny_face, 32))


def test_importance_of_the_regions(tiny_face):
    wanted, regions = importance(tiny_face), tiny_face.regions
    assert set(wanted[regions["lips"]]) == {4}
    assert set(wanted[np.setdiff1d(regions["eyes"], regions["lips"])]) == {3}
    named = np.concatenate([regions[name] for name in maps.REGIONS if name in regions])
    assert set(wanted[np.setdiff1d(np.arange(len(wanted)), named)]) == {1}


def round_trip(geomap, shape: np.ndarray) -> float:
    """Sum of errors over sum of displacements, vertex -> map -> vertex."""
    field = torch.from_numpy(shape)[None]
    error = (geomap.from_map(geomap.to_map(field)) - field).norm(dim=-1)
    return float(error.sum() / field.norm(dim=-1).sum())


def test_builtin_face_keeps_its_smile_and_jaw():
    face = load_face("builtin")
    coarse, fine = geometry_map(face, 128), geometry_map(face, 256)
    smile = face.shape("mouthSmileLeft") + face.shape("mouthSmileRight")
    assert round_trip(coarse, smile) <= 0.010  # observed 0.0086
    assert round_trip(fine, smile) <= 0.005  # observed 0.0043
    assert round_trip(coarse, face.shape("jawOpen")) <= 0.010  # observed 0.0047
    uv = np.asarray(coarse.uv)
    a, b, c = (uv[face.triangles[:, i]] for i in range(3))
    doubled = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (doubled > 0).all(), "no triangle flipped"
    assert np.abs(uv[face.mirror] - (uv * (-1, 1) + (1, 0))).max() < 1e-9
