"""How fast random frames come out of a store of 50 GB, and how much memory that takes.

.venv/bin/python runs/large_store.py FOLDER [GB [FILLED_GB]]

The store is sparse: its files are as long as those of a real one (10857 vertices, takes of 300 frames), but only
FILLED_GB (2) of the GB (50) are really on the disk. Frames of the sparse part cost everything that a real frame costs
but the disk itself; the filled part is dropped from the page cache before it is read, so that its figure has the disk
in it. Deletes the store afterwards.
"""

import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from visemo.data.dataset import FrameSampler, Store, open_store
from visemo.data.store import MANIFEST, SCHEMA, Take
from visemo.face.library import load_face
from visemo.face.maps import geometry_map
from visemo.geometry.laplacian import graph_laplacian, sparse_tensor
from visemo.models.fusion import Fusion, FusionConfig
from visemo.training.corpus import Recording
from visemo.training.frames import draw_pool

VERTICES, FRAMES, FPS = 10857, 300, 60.0
BATCH, SECONDS, POOL = 128, 20.0, 20_000
LIMIT = 4e9  # bytes


def write_sparse(folder: Path, gigabytes: float, filled: float) -> int:
    """A store of that length; returns how many of its takes hold data."""
    bytes_each = FRAMES * VERTICES * 3 * 2
    count, whole = int(gigabytes * 1e9 / bytes_each), int(filled * 1e9 / bytes_each)
    (folder / "takes").mkdir(parents=True)
    (folder / "subjects").mkdir()
    np.save(folder / "subjects" / "somebody.npy", np.zeros((VERTICES, 3), np.float32))
    takes = [Take(f"t{n:05d}", "somebody", "expression", FRAMES, FPS) for n in range(count)]
    noise = np.random.default_rng(0).integers(0, 1 << 10, (FRAMES, VERTICES, 3), np.uint16).view(np.float16)
    for n, take in enumerate(takes):
        path = folder / "takes" / f"{take.id}.npy"
        with path.open("wb") as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": (FRAMES, VERTICES, 3)}
            np.lib.format.write_array_header_1_0(file, header)
            if n < whole:
                file.write(noise.tobytes())
            file.truncate(file.tell() + (0 if n < whole else bytes_each))
            file.flush()
            os.fsync(file.fileno()) if n < whole else None
    manifest = {
        "schema": SCHEMA, "source": "sparse", "unit": "m", "fps": FPS, "licence": "none", "precision": "float16",
        "face": {"name": "grid", "topology": "0", "vertices": VERTICES}, "generator": {}, "subjects": {"somebody": {}},
        "sequences": [asdict(take) for take in takes], "splits": {}, "pairs": [],
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return whole


def frames_per_second(store: Store, ids: tuple[str, ...]) -> float:
    """Random single frames of the takes, in batches, for SECONDS."""
    sampler, read, start = FrameSampler(store, ids), 0, time.perf_counter()
    while time.perf_counter() < start + SECONDS:
        read += len(sampler.batch(BATCH).motion)
    return read / (time.perf_counter() - start)


def forget(store: Store, ids: tuple[str, ...]) -> None:
    """Drop the takes from the page cache."""
    for id in ids:
        with (store.folder / "takes" / f"{id}.npy").open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def pool_of(store: Store, ids: tuple[str, ...]) -> float:
    """Frames per second of `draw_pool`, what the fusion recipe keeps in memory; 30 of the 60 frames a second."""
    face = load_face("builtin")  # only for an encoder that reads no map
    model = Fusion(
        FusionConfig(VERTICES, 2, 2, map_size=32, channels=(8, 8), geometry_map=False), geometry_map(face, 32)
    )
    triangles = np.arange(VERTICES, dtype=np.int32).reshape(-1, 3)
    laplacian = sparse_tensor(graph_laplacian(triangles, VERTICES))
    recordings = [Recording(store, store.sequence(id)) for id in ids]
    start = time.perf_counter()
    pool = draw_pool(recordings, POOL, 0, model=model, laplacian=laplacian, split=None)
    return len(pool.frames) / (time.perf_counter() - start)


def measured(what: str, work: Callable[[], float]) -> None:
    rate = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{what}: {rate:.0f} frames/s, peak memory {peak / 1e9:.2f} GB", flush=True)
    assert peak < LIMIT, f"more than {LIMIT / 1e9:g} GB"


def main(folder: str, gigabytes: str = "50", filled: str = "2") -> None:
    torch.set_num_threads(1)
    place = Path(folder)
    whole = write_sparse(place, float(gigabytes), float(filled))
    try:
        store = open_store(place)
        ids = tuple(take.id for take in store.sequences)
        size = sum(path.stat().st_size for path in (place / "takes").iterdir())
        print(f"{place}: {len(ids)} takes, {len(ids) * FRAMES} frames, {size / 1e9:.1f} GB, {whole} takes filled")
        measured("FrameSampler, whole store", lambda: frames_per_second(store, ids))
        forget(store, ids[:whole])
        measured("FrameSampler, from the disk", lambda: frames_per_second(open_store(place), ids[:whole]))
        measured(f"draw_pool, {POOL} frames of all takes", lambda: pool_of(open_store(place), ids))
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main(*sys.argv[1:])
