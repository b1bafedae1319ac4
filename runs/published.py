"""A VOCASET and a Florence 4D of planted motion, as large as the real ones and laid out as they are published.

.venv/bin/python runs/published.py STORE FLAME OUT [SENTENCES [FRAMES]]

STORE is a planted store on the built-in head, FLAME a FLAME model with identity shapes. Into OUT/vocaset go twelve
speakers with 40 SENTENCES each at 60 frames a second, but for the two that VOCASET lacks, and into OUT/florence4d
every expression of the store by the same twelve people, FRAMES (60) frames each. Who is who, and all names, are as
published: `visemo prepare` has nothing to tell them by but what they hold.
"""

import pickle
import sys
from pathlib import Path

import numpy as np

from visemo.data.dataset import Store, open_store
from visemo.data.frames import frames_at
from visemo.data.splits import VOCASET_TEST, VOCASET_TRAIN, VOCASET_VAL
from visemo.face.flame import FlameModel, flame_face, read_flame
from visemo.face.library import load_face
from visemo.face.registering import register_mesh
from visemo.geometry.mesh import write_mesh
from visemo.geometry.transfer import Transfer
from visemo.types import Mesh

FPS = 60
RATE = 22_000  # Hz, of the published sounds
MISSING = {("FaceTalk_170811_03274_TA", "sentence24"), ("FaceTalk_170809_00138_TA", "sentence32")}
SPEAKERS = (
    "170725_00137", "170728_03272", "170731_00024", "170809_00138", "170811_03274", "170811_03275",
    "170904_00128", "170904_03276", "170908_03277", "170912_03278", "170913_03279", "170915_00223",
)  # fmt: skip
# in the order of Florence 4D's names COMA_CH01 to COMA_CH12, who are the same people


def people(model: FlameModel, random: np.random.Generator) -> dict[str, np.ndarray]:
    """(5023, 3) m: twelve heads, each a draw from FLAME's identities."""
    shapes = model.shapedirs[:, :, : min(20, model.n_shape)]
    return {
        f"FaceTalk_{name}_TA": (model.v_template + shapes @ random.normal(size=shapes.shape[2])).astype(np.float32)
        for name in SPEAKERS
    }


class Carrier:
    """Displacements of the built-in head on FLAME's vertices; none where the head has no face."""

    def __init__(self, model: FlameModel) -> None:
        builtin, face = load_face("builtin"), flame_face(model)
        assert face.cut is not None
        laid = register_mesh(Mesh(builtin.template, builtin.triangles), face, None)
        self.transfer = Transfer.of(laid.vertices, Mesh(builtin.template, builtin.triangles))
        self.rows, self.count = face.cut.rows, len(model.v_template)

    def __call__(self, field: np.ndarray) -> np.ndarray:
        moved = np.zeros((len(field), self.count, 3), np.float32)
        moved[:, self.rows] = self.transfer.apply(np.asarray(field, np.float32))
        return moved


def write_vocaset(
    store: Store, carry: Carrier, heads: dict[str, np.ndarray], mesh: Mesh, *, out: Path, count: int
) -> None:
    out.mkdir(parents=True)
    write_mesh(out / "FLAME_sample.ply", mesh)
    talks = [take for take in store.sequences if take.kind == "speech"]
    planned = [
        (who, f"sentence{n + 1:02d}", talks[(k * count + n) % len(talks)])
        for k, who in enumerate((*VOCASET_TRAIN, *VOCASET_VAL, *VOCASET_TEST))
        for n in range(count)
    ]
    planned = [row for row in planned if row[:2] not in MISSING]
    lengths = [int(take.seconds * FPS) for _, _, take in planned]
    verts = np.lib.format.open_memmap(out / "data_verts.npy", "w+", np.float32, (sum(lengths), *mesh.vertices.shape))
    index: dict[str, dict[str, dict[int, int]]] = {}
    sounds: dict[str, dict[str, dict[str, object]]] = {}
    at = 0
    for (who, sentence, take), length in zip(planned, lengths):
        motion = frames_at(store.motion(take.id), np.arange(length) * (take.fps / FPS))
        verts[at : at + length] = carry(motion) + heads[who]
        index.setdefault(who, {})[sentence] = {k: at + k for k in range(length)}
        sound = store.audio(take.id)
        places = np.arange(int(sound.seconds * RATE)) * (sound.sample_rate / RATE)
        samples = np.interp(places, np.arange(len(sound.samples)), sound.samples)
        audio = (samples * 32767).astype(np.int16)
        sounds.setdefault(who, {})[sentence] = {"audio": audio, "sample_rate": RATE}
        at += length
    for name, table in (("subj_seq_to_idx", index), ("raw_audio_fixed", sounds), ("templates", heads)):
        (out / f"{name}.pkl").write_bytes(pickle.dumps(table, protocol=2))
    print(f"{out}: {len(planned)} sentences, {at} frames, {verts.nbytes / 1e9:.1f} GB of vertices")


def write_florence(
    store: Store, carry: Carrier, heads: dict[str, np.ndarray], triangles: np.ndarray, *, out: Path, frames: int
) -> None:
    out.mkdir(parents=True)
    faces: dict[str, list[str]] = {}
    for take in store.sequences:
        if take.kind == "expression" and take.label != "neutral":
            faces.setdefault(take.label, []).append(take.id)
    for k, (who, head) in enumerate((f"FaceTalk_{name}_TA", heads[f"FaceTalk_{name}_TA"]) for name in SPEAKERS):
        person = f"COMA_CH{k + 1:02d}"
        write_mesh(out / f"{person}.ply", Mesh(head, triangles))
        for label, ids in faces.items():
            folder = out / person / label
            folder.mkdir(parents=True)
            take = store.sequence(ids[k % len(ids)])
            motion = frames_at(store.motion(take.id), np.linspace(0, take.frames - 1, frames))
            for n, vertices in enumerate(carry(motion) + head):
                write_mesh(folder / f"{label}_{n}.ply", Mesh(vertices, triangles))
        print(f"{out}/{person} ({who}): {len(faces)} expressions of {frames} frames")


def main(store: str, flame: str, out: str, sentences: str = "40", frames: str = "60") -> None:
    model, opened = read_flame(flame), open_store(store)
    heads, carry = people(model, np.random.default_rng(0)), Carrier(model)
    mesh = Mesh(model.v_template, model.triangles)
    write_vocaset(opened, carry, heads, mesh, out=Path(out) / "vocaset", count=int(sentences))
    write_florence(opened, carry, heads, model.triangles, out=Path(out) / "florence4d", frames=int(frames))


if __name__ == "__main__":
    main(*sys.argv[1:])
