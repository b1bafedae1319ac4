"""Files as other programs of this field write them: names, shapes, dtypes and units as published."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

import python2
from tiny import tone
from visemo.face.arkit import ARKIT_NAMES
from visemo.geometry.mesh import write_mesh
from visemo.media import save_wav
from visemo.types import Mesh

FLAME = 5023
LIPS, UPPER = range(0, 120), range(2000, 2300)  # of the head below
SUBJECT = "FaceTalk_170809_00138_TA"
ROUND = 71  # points of a winding of that head
SPEED = 0.004  # m/s by which its lips move


def head(count: int = FLAME) -> np.ndarray:
    """(V, 3) float32 m: an egg of the size of a head, wound from the top down; FLAME's count of points by default."""
    down, around = np.linspace(0.05, np.pi - 0.05, count), np.arange(count) * (2 * np.pi / ROUND)
    flat = np.sin(down)
    points = np.stack([0.09 * flat * np.sin(around), 0.13 * np.cos(down), 0.1 * flat * np.cos(around)], axis=1)
    return points.astype(np.float32)


def weave(count: int) -> np.ndarray:
    """(F, 3) int32: every other triangle between the windings."""
    first = np.arange(count - ROUND - 1, dtype=np.int32)
    return np.stack([first, first + ROUND, first + ROUND + 1], axis=1)


def talking(fps: float, seconds: float = 0.3, count: int = FLAME) -> np.ndarray:
    """(T, V, 3) float32 m: the head, its lips (and FLAME's lip pair) on their way at an even speed, so that frames of
    another rate lie exactly between those of this one."""
    time = np.arange(round(seconds * fps)) / fps
    moved = np.zeros((count, 3))
    moved[list(LIPS)[: count // 2]] = (0, SPEED, 0)
    if count == FLAME:
        moved[3546] = (0, SPEED, 0)
    return (head(count) + time[:, None, None] * moved).astype(np.float32)


# ---------------------------------------------------------------- meshes


def write_obj(path: Path, vertices: np.ndarray, triangles: np.ndarray, textured: bool) -> None:
    """As psbody.mesh (VOCA) and pytorch3d (EMOTE, with texture coordinates) write one."""
    lines = ["mtllib mesh.mtl\n"] if textured else []
    lines += [f"v {x:.8f} {y:.8f} {z:.8f}\n" for x, y, z in vertices]
    lines += [f"vt {k / len(vertices):.4f} 0.5\n" for k in range(len(vertices))] if textured else []
    corner = "{0}/{0}" if textured else "{0}"
    lines += ["f " + " ".join(corner.format(c + 1) for c in triangle) + "\n" for triangle in triangles]
    path.write_text("".join(lines))


def write_voca(folder: Path, vertices: np.ndarray, textured: bool = False) -> Path:
    """OUT/meshes/%05d.obj and a film."""
    (folder / "meshes").mkdir(parents=True)
    triangles = weave(len(vertices[0]))
    for k, frame in enumerate(vertices):
        write_obj(folder / "meshes" / f"{k:05d}.obj", frame, triangles, textured)
    (folder / "video.mp4").write_bytes(b"no film")
    return folder


def write_emote(folder: Path, vertices: np.ndarray) -> Path:
    """RESULTS/<ID>_<Emotion>_<k>/meshes/%05d.obj with texture coordinates, and the sound."""
    write_voca(folder, vertices, textured=True)
    save_wav(tone(0.3), folder / "audio.wav")
    return folder


def write_emovoca(folder: Path, vertices: np.ndarray) -> Path:
    """prediction/Meshes/tst%03d.ply, whose names sort wrongly from frame 1000 on."""
    (folder / "Meshes").mkdir(parents=True)
    triangles = weave(len(vertices[0]))
    for k, frame in enumerate(vertices):
        write_mesh(folder / "Meshes" / f"tst{k:03d}.ply", Mesh(frame.astype(np.float32), triangles))
    return folder


# ---------------------------------------------------------------- arrays


def write_flat(path: Path, vertices: np.ndarray) -> Path:
    """FaceFormer's result/<wav>.npy: (T, 15069) float32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, vertices.reshape(len(vertices), -1).astype(np.float32))
    return path


def write_codetalker(folder: Path, wav: str, vertices: np.ndarray, styles: tuple[str, ...] = (SUBJECT,)) -> Path:
    """demo/npy/<wav>/condition_<C>_subject_<S>.npy."""
    for style in styles:
        write_flat(folder / wav / f"condition_{style}_subject_{SUBJECT}.npy", vertices)
    return folder


def write_vocaset(folder: Path, name: str, vertices: np.ndarray) -> Path:
    """VOCASET as FaceFormer and CodeTalker keep it: flat arrays at 60 frames a second, wav, templates of python 2."""
    write_flat(folder / "vertices_npy" / f"{name}.npy", vertices)
    (folder / "templates.pkl").write_bytes(python2.dumps({SUBJECT: head().astype(np.float64)}))
    (folder / "wav").mkdir(exist_ok=True)
    save_wav(tone(0.5), folder / "wav" / f"{name}.wav")
    return folder / "vertices_npy"


def write_unitalker(path: Path, takes: Mapping[str, Mapping[str, np.ndarray]]) -> Path:
    """test_results/demo.npz: sound -> data set -> tensor, pickled."""
    tensors = {wav: {name: torch.from_numpy(v) for name, v in table.items()} for wav, table in takes.items()}
    np.savez(path, **tensors)  # type: ignore[arg-type]
    return path


# ---------------------------------------------------------------- parameters and curves


def write_diffposetalk(path: Path, expression: np.ndarray, jaw: np.ndarray, shape: np.ndarray) -> Path:
    """exp (T, 50), pose (T, 6 = global, jaw), shape (T, 100); the head turns, which nobody asked about."""
    pose = np.concatenate([np.full((len(jaw), 3), 0.2), jaw], axis=1)
    np.savez(path, exp=expression, pose=pose, shape=np.tile(shape, (len(jaw), 1)))
    return path


def write_emote_parameters(path: Path, expression: np.ndarray, jaw: np.ndarray, shape: np.ndarray) -> Path:
    """flame/flame_<...>.pkl."""
    table = {"shape": shape, "expression": expression, "jaw_pose": jaw, "global_pose": np.zeros((len(jaw), 3))}
    path.write_bytes(pickle.dumps(table))
    return path


def write_voca_parameters(path: Path, expression: np.ndarray, jaw: np.ndarray, shape: np.ndarray) -> Path:
    """params.npy: a pickled dictionary; pose is global, neck, jaw, eyes."""
    pose = np.concatenate([np.full((len(jaw), 6), 0.1), jaw, np.zeros((len(jaw), 6))], axis=1)
    np.save(path, {"shape": shape, "pose": pose, "expression": expression}, allow_pickle=True)  # type: ignore[arg-type]
    return path


def write_artalk(path: Path, expression: np.ndarray, jaw: np.ndarray) -> Path:
    """..._motions.pt: (T, 106) = 100 of expression, 3 global, 3 jaw."""
    motion = np.concatenate([expression, np.full((len(jaw), 3), 0.2), jaw], axis=1)
    torch.save(torch.from_numpy(motion.astype(np.float32)), path)
    return path


def write_emotalk(path: Path, curves: Mapping[str, np.ndarray]) -> Path:
    """result/<wav>.npy: (T, 52) float64, names in alphabetical order."""
    nothing = np.zeros(len(next(iter(curves.values()))))
    np.save(path, np.stack([curves.get(name, nothing) for name in sorted(ARKIT_NAMES)], axis=1).astype(np.float64))
    return path


def write_audio2face(folder: Path, time: np.ndarray, curves: Mapping[str, np.ndarray]) -> Path:
    """The client's folder: animation_frames.csv with time codes in s, out.wav, and the emotions it went through."""
    folder.mkdir(parents=True)
    with (folder / "animation_frames.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["", "timeCode", *(f"blendShapes.{name[0].upper()}{name[1:]}" for name in curves)])
        rows.writerows([k, t, *row] for k, (t, row) in enumerate(zip(time, np.stack(list(curves.values()), axis=1))))
    (folder / "a2f_smoothed_emotion_output.csv").write_text("time_code,emotion_values.joy\n0.0,1.0\n")
    save_wav(tone(0.3), folder / "out.wav")
    return folder


def write_audio2face_json(path: Path, fps: float, curves: Mapping[str, np.ndarray]) -> Path:
    """What the application exports."""
    table = {"exportFps": fps, "numPoses": len(curves), "facsNames": list(curves)}
    path.write_text(json.dumps(table | {"weightMat": np.stack(list(curves.values()), axis=1).tolist()}))
    return path


# ---------------------------------------------------------------- visemo


def take_arrays(face, weights: np.ndarray, fps: float, vertices: bool) -> dict[str, np.ndarray]:
    """A take .npz on a face whose blendshapes are the face's own, jawOpen the only speech; `weights` (T, shapes)."""
    arrays = {
        "template": face.template,
        "faces": face.triangles,
        "fps": np.float64(fps),
        "basis": face.shapes,
        "speech_weights": weights[:, :1].astype(np.float32),
        "expression_weights": weights[:, 1:].astype(np.float32),
        "meta": np.array(json.dumps({"face": face.name})),
    }
    if vertices:
        arrays["vertices"] = (face.template + np.tensordot(weights, face.shapes, axes=1)).astype(np.float32)
    return arrays
