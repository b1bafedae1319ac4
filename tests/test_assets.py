"""Files: written whole or not at all, told apart by checksum, and pickles that may hold arrays only."""

import hashlib
import os
import pickle
import resource
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from python2 import Ch, Select, dumps
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


# ---------------------------------------------------------------- python 2, scipy and chumpy, without chumpy


def planted_model() -> dict:
    """Everything that the pickles of a statistical head hold, in small."""
    chance = np.random.default_rng(3)
    template = chance.normal(size=(6, 3))
    regressor = sp.random(2, 6, 0.5, format="csc", random_state=4)
    return {
        "v_template": Ch(template),
        "shapedirs": Ch(chance.normal(size=(6, 3, 4)), dterms="x"),
        "picked": Select(a=Ch(template), idxs=np.array([17, 0, 4]), preferred_shape=(3, 1)),
        "flat": Select(a=Ch(template), idxs=np.array([2])),
        "J_regressor": regressor,
        "rows": regressor.tocsr(),
        "weights": np.asfortranarray(chance.random((6, 2))),
        "kintree_table": np.array([[4294967295, 0], [0, 1]], np.uint32),
        "names": np.array(["a", "b\xe9"], dtype=object),
        "big_endian": np.arange(3, dtype=">i2"),
        "none": np.zeros((0, 3)),
        "scalar": np.float64(0.5),
        "bs_type": "lrotmin",
        "bytes": b"\x00\xff\n'",
    }


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_a_model_of_python_2_comes_back_as_plain_arrays(tmp_path, protocol):
    path, planted = tmp_path / "a.pkl", planted_model()
    path.write_bytes(dumps(planted, protocol))
    old = (b"cchumpy.ch\nCh\n", b"cscipy.sparse.csc\ncsc_matrix\n", b"cnumpy.core.multiarray\n_reconstruct\n")
    assert all(line in path.read_bytes() for line in old) and "chumpy" not in sys.modules
    read = read_array_pickle(path)
    assert list(read) == list(planted)
    template = planted["v_template"].x
    np.testing.assert_array_equal(read["v_template"], template)
    np.testing.assert_array_equal(read["shapedirs"], planted["shapedirs"].x)
    np.testing.assert_array_equal(read["picked"], template.ravel()[[17, 0, 4]].reshape(3, 1))
    np.testing.assert_array_equal(read["flat"], template.ravel()[[2]])
    for name in ("J_regressor", "rows"):
        assert type(read[name]) is type(planted[name])
        np.testing.assert_array_equal(read[name].toarray(), planted[name].toarray())
    for name in ("weights", "kintree_table", "names", "big_endian", "none"):
        assert read[name].dtype == planted[name].dtype and read[name].shape == planted[name].shape
        np.testing.assert_array_equal(read[name], planted[name])
    assert read["weights"].flags.writeable and read["scalar"] == 0.5
    assert read["bs_type"] == "lrotmin" and read["bytes"] == "\x00\xff\n'"


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_sparse_matrices_of_today_come_back(tmp_path, protocol):
    planted = {"csc": sp.random(5, 7, 0.4, "csc", random_state=1), "csr": sp.random(5, 7, 0.4, "csr", random_state=2)}
    planted["array"] = sp.csr_array(planted["csr"])
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(planted, protocol=protocol))
    read = read_array_pickle(tmp_path / "a.pkl")
    for name, matrix in planted.items():
        np.testing.assert_array_equal(read[name].toarray(), matrix.toarray())


def test_what_is_shared_or_recursive_stays_so(tmp_path):
    shared = np.arange(3.0)
    planted: dict = {"a": shared, "b": [shared, (shared,)], np.int64(7): {"c": [Ch(shared)]}}
    planted["b"].append(planted)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(planted["b"][:2]))
    first, (second,) = read_array_pickle(tmp_path / "a.pkl")
    assert first is second
    (tmp_path / "a.pkl").write_bytes(dumps(planted))
    read = read_array_pickle(tmp_path / "a.pkl")
    assert read["b"][2] is read and read[7]["c"][0].tolist() == [0, 1, 2]


def test_arrays_in_the_order_of_memory_come_back(tmp_path):
    planted = np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)).transpose(2, 0, 1)
    for array in (planted, planted[:, :, 0], np.asfortranarray(planted)):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(array, protocol=5))
        np.testing.assert_array_equal(read_array_pickle(tmp_path / "a.pkl"), array)


# ---------------------------------------------------------------- what would run, and what is broken

CALLS = (
    "builtins.eval", "builtins.exec", "builtins.getattr", "builtins.open", "builtins.__import__", "os.system",
    "posix.system", "subprocess.Popen", "numpy.load", "numpy.fromfile", "numpy.memmap",
    "numpy.core.multiarray.fromfile",
    "numpy.testing.runstring", "scipy.sparse.load_npz", "scipy.sparse._csc.get_index_dtype",
    "pickle.loads", "copyreg.__newobj__", "importlib.import_module", "ctypes.CDLL", "chumpyx.ch.Ch",
    "visemo.assets.sha256",
)  # fmt: skip
RUNS = {
    "exec",
    "compile",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "import",
    "os.remove",
}
heard: list[str] = []
listening = [False]
sys.addaudithook(lambda event, _: heard.append(event) if listening[0] and event in RUNS else None)


@contextmanager
def nothing_runs():
    """Python's own audit: nothing may be compiled, imported, started or removed meanwhile."""
    heard.clear()
    listening[0] = True
    try:
        yield
    finally:
        listening[0] = False
    assert not heard


@pytest.mark.parametrize("call", CALLS)
def test_calls_are_refused_by_name(tmp_path, call):
    path, (module, name) = tmp_path / "a.pkl", call.rsplit(".", 1)
    called = b"U\x05touch\x85R."
    old = f"c{module}\n{name}\n".encode() + called
    new = b"\x80\x04" + b"".join(b"\x8c%c%b" % (len(part), part.encode()) for part in (module, name)) + b"\x93" + called
    refused = rf"a\.pkl: pickle asks for {call}, expected arrays only; nothing was run"
    for data in (old, new):
        path.write_bytes(data)
        with nothing_runs(), pytest.raises(VisemoError, match=refused) as e:
            read_array_pickle(path)
    sys.stdout.write(f"{e.value}\n")


def test_a_way_through_a_harmless_module_is_refused(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04\x8c\x09chumpy.ch\x8c\x09os.system\x93U\x05touch\x85R.")
    with nothing_runs(), pytest.raises(VisemoError, match=r"asks for chumpy\.ch\.os\.system"):
        read_array_pickle(tmp_path / "a.pkl")


def named(name: str) -> bytes:
    """The instruction that pushes a class or function."""
    module, last = name.rsplit(".", 1)
    return f"c{module}\n{last}\n".encode()


BROKEN = {
    "stands alone": named("numpy.ndarray") + b".",
    "object stands alone": named("__builtin__.object") + b")R.",
    "a class or function": b"(lp0\n" + named("_codecs.encode") + b"a.",
    "function was given a state": named("_codecs.encode") + b"}U\x01xK\x01sb.",
    "bytes in an unknown encoding": named("_codecs.encode") + b"(U\x01xU\x03rottR.",
    "dtype 'V8'": named("numpy.dtype") + b"(U\x02V8tR.",
    "array of another class": named("numpy.core.multiarray._reconstruct") + b"(K\x01K\x01K\x01tR.",
    "object made in an unknown way": named("copy_reg._reconstructor") + b"(K\x01K\x01NtR.",
    "array without a dtype": named("numpy.core.multiarray.scalar") + b"(K\x01U\x01xtR.",
    "bytes do not fit its shape": named("numpy.core.multiarray.scalar")
    + b"(" + named("numpy.dtype") + b"(U\x02f8tRU\x01xtR.",
    "an unknown instruction": b"\xfe.",
    "memo number": b"Nr\xff\xff\xff\x7f.",
}  # fmt: skip


@pytest.mark.parametrize("why", BROKEN)
def test_broken_pickles_say_why(tmp_path, why):
    (tmp_path / "a.pkl").write_bytes(BROKEN[why])
    with nothing_runs(), pytest.raises(VisemoError, match=rf"a\.pkl: got a damaged pickle .*{why}"):
        read_array_pickle(tmp_path / "a.pkl")


def broken_arrays() -> dict[str, object]:
    """Objects that pickle well and are none."""
    matrix = sp.csc_matrix(np.eye(3))

    def spoilt(**parts):
        other = matrix.copy()
        other.__dict__ |= parts
        return other

    return {
        "parts that do not fit": spoilt(indptr=np.array([0, 1, 2])),
        "of parts that do not": spoilt(indptr=np.array([0, 2, 1, 3])),
        "parts that do": spoilt(data=np.array(["a", "b", "c"])),
        "indices outside its shape": spoilt(indices=np.array([0, 1, 3])),
        "index 99 is out of bounds": Select(a=Ch(np.zeros(3)), idxs=np.array([99])),
        "objects do not fit": None,
        "else than lengths": None,
    }


@pytest.mark.parametrize("why", broken_arrays())
def test_broken_arrays_say_why(tmp_path, why):
    data = dumps(broken_arrays()[why])
    if why == "objects do not fit":
        data = dumps(np.array([None, None], object)).replace(b"(K\x02t", b"(K\x03t").replace(b"K\x02\x85", b"K\x03\x85")
    if why == "else than lengths":
        data = dumps(np.zeros(2)).replace(b"K\x02\x85", b"U\x01x\x85")
    (tmp_path / "a.pkl").write_bytes(data)
    with nothing_runs(), pytest.raises(VisemoError, match=f"damaged pickle .*{why}"):
        read_array_pickle(tmp_path / "a.pkl")


def test_chumpy_expressions_are_refused_by_name(tmp_path):
    (tmp_path / "a.pkl").write_bytes(dumps({"v": Ch(a=np.zeros(3), b=np.ones(3))}))
    with pytest.raises(VisemoError, match=r"a\.pkl: pickle holds a chumpy\.ch\.Ch without an array of its own"):
        read_array_pickle(tmp_path / "a.pkl")


def test_sizes_that_are_merely_claimed_take_no_memory(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    claims = (b"Nr\x00\x00\x00\x10.", b"Np999999999\n.", b"B\xff\xff\xff\x7f.", b"\x8e" + b"\xff" * 7 + b"\x00.")
    huge = dumps(np.zeros(2)).replace(b"K\x02\x85", b"J\x00\x00\x00\x40\x85")
    for data in (
        *claims,
        huge,
        dumps(sp.csc_matrix(np.eye(2))).replace(b"K\x02K\x02\x86", b"K\x02J\x00\x00\x00\x40\x86"),
    ):
        (tmp_path / "a.pkl").write_bytes(data)
        with pytest.raises(VisemoError, match="damaged pickle"):
            read_array_pickle(tmp_path / "a.pkl")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 200_000  # kB


def test_missing_files_are_said_to_be_missing(tmp_path):
    with pytest.raises(VisemoError, match=r"a\.pkl: no such file, expected a pickle"):
        read_array_pickle(tmp_path / "a.pkl")


WHOLE = [dumps(planted_model(), protocol) for protocol in (0, 2)] + [pickle.dumps(PLANTED, protocol=5)]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from("rid"), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_mutated_pickles_are_read_or_refused(tmp_path_factory, data, mutations):
    changed = bytearray(data)
    for where, how, byte in mutations:
        at = int(where * (len(changed) - 1))
        changed[at : at + (how != "i")] = b"" if how == "d" else bytes([byte])
    path = tmp_path_factory.getbasetemp() / "mutated.pkl"
    path.write_bytes(changed)
    with nothing_runs():
        try:
            read_array_pickle(path)
        except VisemoError as error:
            assert "\n" not in str(error) and str(path) in str(error)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([
    *map(named, ("numpy.ndarray", "numpy.dtype", "numpy.core.multiarray._reconstruct", "_codecs.encode",
                 "numpy.core.multiarray.scalar", "copy_reg._reconstructor", "__builtin__.object", "__builtin__.bytes",
                 "chumpy.ch.Ch", "scipy.sparse.csc.csc_matrix")),
    b"N", b"K\x01", b"U\x02f8", b"U\x01x", b")", b"}", b"]", b"(", b"t", b"\x85", b"\x86", b"\x87", b"R", b"b", b"\x81",
    b"s", b"u", b"a", b"e", b"0", b"2", b"q\x00", b"h\x00", b"l", b"d", b"o", b"1", b"\x8f", b"\x90", b"\x91", b"\x92",
]), max_size=24))  # fmt: skip
def test_any_program_of_instructions_is_read_or_refused(tmp_path_factory, instructions):
    path = tmp_path_factory.getbasetemp() / "program.pkl"
    path.write_bytes(b"".join(instructions) + b".")
    with nothing_runs():
        try:
            read_array_pickle(path)
        except VisemoError as error:
            assert str(path) in str(error)
    good = path.with_name("good.pkl")  # nothing that was done above lasts
    good.write_bytes(WHOLE[1])
    assert read_array_pickle(good)["kintree_table"].tolist() == [[4294967295, 0], [0, 1]]
