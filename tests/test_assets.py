"""Files: written whole or not at all, told apart by checksum, and pickles that may hold arrays only."""

import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from visemo.assets import atomic, cache_folder, read_array_pickle, sha256
from visemo.types import VisemoError

# ---------------------------------------------------------------- atomic writes


def test_success_replaces_the_old_file(tmp_path):
    path = tmp_path / "take.npz"
    path.write_text("old")
    with atomic(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".npz"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["take.npz"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_nothing(tmp_path, error):
    with pytest.raises(error), atomic(tmp_path / "new.txt") as temporary:
        temporary.write_text("half")
        raise error
    assert os.listdir(tmp_path) == []


def test_failure_keeps_the_old_file(tmp_path):
    path = tmp_path / "take.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["take.txt"]


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(VisemoError, match=r"got no folder .*missing"), atomic(tmp_path / "missing" / "a.txt"):
        pytest.fail("entered")
    with pytest.raises(VisemoError, match="cannot write there"), atomic(tmp_path / ("a" * 300)):
        pytest.fail("entered")
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- checksums and folders


def test_sha256_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "big"
    path.write_bytes(b"ab" * 700_000)  # more than one block
    assert sha256(path) == hashlib.sha256(b"ab" * 700_000).hexdigest() == sha256(b"ab" * 300_000, b"ab" * 400_000)
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_sha256_of_arrays_is_stable_and_tells_them_apart():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert sha256(array) == hashlib.sha256(b"<f4(2, 3)" + array.tobytes()).hexdigest()
    assert sha256(array) == sha256(np.asfortranarray(array))  # the layout in memory is no content
    others = (array.reshape(3, 2), array.astype(np.float64), array.view(np.int32), array + 1)
    assert len({sha256(array), *map(sha256, others)}) == 5


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("VISEMO_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("VISEMO_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "visemo"


# ---------------------------------------------------------------- foreign pickles

PLANTED = {
    "subject": np.arange(12, dtype=np.float64).reshape(4, 3) / 7,
    "nested": [np.float32(0.25), {"mask": np.array([True, False])}, (1, 2.5, "text", None)],
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("core", [b"numpy._core.", b"numpy.core."])
def test_arrays_come_back(tmp_path, protocol, core):
    data = pickle.dumps(PLANTED, protocol=protocol)
    if protocol == 2:  # text names of any length; later protocols count them
        data = data.replace(b"numpy._core.", core).replace(b"numpy.core.", core)
    (tmp_path / "a.pkl").write_bytes(data)
    read = read_array_pickle(tmp_path / "a.pkl")
    np.testing.assert_array_equal(read["subject"], PLANTED["subject"])
    assert read["subject"].dtype == np.float64
    assert read["nested"][0] == np.float32(0.25) and read["nested"][2] == (1, 2.5, "text", None)
    np.testing.assert_array_equal(read["nested"][1]["mask"], [True, False])


class Harmful:
    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_code_is_refused_by_name_before_it_runs(tmp_path, protocol):
    trace = tmp_path / "trace"
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"a": np.zeros(3), "b": Harmful(f"touch {trace}")}, protocol=protocol))
    with pytest.raises(VisemoError, match=rf"asks for {os.name}\.system, expected arrays only"):
        read_array_pickle(path)
    assert not trace.exists()


def test_allowed_names_from_other_modules_are_refused(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"cctypes\ndtype\n.")
    with pytest.raises(VisemoError, match=r"ctypes\.dtype"):
        read_array_pickle(path)


def test_damaged_pickles_are_refused(tmp_path):
    whole = pickle.dumps(PLANTED, protocol=2)
    path: Path = tmp_path / "a.pkl"
    for length in range(0, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(VisemoError, match=r"a\.pkl: got a damaged pickle"):
            read_array_pickle(path)
    for junk in (
        b"not a pickle",
        b"\x80\x63.",
        b"\x00" * 40,
        b"PK\x03\x04",
        b"I1x\n.",
        b"Fx\n.",
        b"(]a.",
        b"N(K\x01K\x02tb.",
    ):
        path.write_bytes(junk)
        with pytest.raises(VisemoError, match=r"a\.pkl: got a damaged pickle"):
            read_array_pickle(path)
