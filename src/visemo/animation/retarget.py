"""From the model's own weights to the 52 ARKit curves, so that any ARKit rig can be driven.

One linear map, least squares on the face's named shapes, gives the start; every frame is then solved
with the bounds that rigs have (0..1), and what the rig cannot show is said in mm.

`onto_rig` goes on to a head of another topology that has the shapes too: the curves move its own shapes, and where
the lips of the take were shut, its lips are shut.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from visemo.animation.closure import lip_difference
from visemo.assets import sha256
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.attach import shape_map
from visemo.face.face import Face
from visemo.geometry.rotation import quaternion_to_matrix
from visemo.types import Animation, FloatArray, VisemoError
from visemo.units import M_PER_MM, MM_PER_M

RIDGE = 1e-4  # of the mean shape energy: two shapes that look alike share the work
ITERATIONS = 200  # of accelerated projected gradient
FEWEST_SHAPES = 30  # of a rig: speech and expressions need most of them
SHUT = 1.0 * M_PER_MM  # mean gap of lips that are shut
CROSSED = 0.3 * M_PER_MM  # mean depth to which lips that meet may press into each other
LIP_PULL = 300.0  # how much dearer a gap that should be none is than as large a motion of the whole face
RETURN = 0.1  # s over which the correction of a closure comes and goes
# what may help the lips to meet: nothing that shows above the mouth
CLOSERS = tuple(name for name in ARKIT_NAMES if name.startswith(("jawOpen", "mouth")))


# what no face does at once
OPPOSITES = (
    ("mouthLeft", "mouthRight"), ("jawLeft", "jawRight"),
    *((f"{one}{side}", f"{other}{side}") for side in ("Left", "Right") for one, other in (
        ("mouthSmile", "mouthFrown"), ("eyeLookIn", "eyeLookOut"), ("eyeLookUp", "eyeLookDown"),
        ("eyeWide", "eyeBlink"),
    )),
)  # fmt: skip


@dataclass(frozen=True)
class Habit:
    """How curves are held to what rigs are made for, in units of the mean energy of a shape.

    The defaults cost 0.03 mm of rms on speech and 0.03 to 0.13 mm on expressions, and bring opposites that pull at once
    from full strength to 0.12: the other head would show such a pull as lips that vanish in the chin.
    """

    ridge: float = 5e-3  # on squares: two shapes that look alike share the work
    sparse: float = 3e-3  # on sums: a shape that hardly helps is left alone
    exclusive: float = 1e-2  # on the squared sum of opposites

    def penalty(self) -> np.ndarray:
        """(52, 52) the quadratic part."""
        matrix = self.ridge * np.eye(len(ARKIT_NAMES))
        for pair in OPPOSITES:
            rows = [ARKIT_NAMES.index(name) for name in pair]
            matrix[np.ix_(rows, rows)] += self.exclusive
        return matrix


@dataclass(frozen=True, eq=False)
class ArkitMap:
    """Weights (T, K) of one model to ARKit curves (T, 52) on one face."""

    matrix: FloatArray  # (52, K) the linear map; rows of ARKIT_NAMES, zero where the face lacks a shape
    residual_mm: FloatArray  # (K,) rms over vertices that the 52 shapes cannot show of each blendshape
    shape_energy: np.ndarray  # (52, 52) m^2, Gram matrix of the face's shapes
    cross_energy: np.ndarray  # (52, K) m^2, shapes against blendshapes
    basis_energy: np.ndarray  # (K, K) m^2
    vertices: int

    @classmethod
    def of(cls, face: Face, basis: FloatArray, names: Collection[str] = ARKIT_NAMES) -> ArkitMap:
        """The map of a model's blendshapes (K, V, 3) m on `face`, to those of the 52 curves that `names` holds.

        Raises
        ------
        VisemoError
            When the face has none of the 52 shapes.
        """
        known = [name for name in ARKIT_NAMES if name in face.shape_names and name in names]
        if face.shapes is None or not known:
            raise VisemoError(f"ARKit curves: got face {face.name} without the named shapes, expected a rigged face")
        weights, residual = shape_map(face, basis)
        shapes = np.zeros((len(ARKIT_NAMES), basis[0].size))
        matrix = np.zeros((len(ARKIT_NAMES), len(basis)), np.float32)
        for name in known:
            row, source = ARKIT_NAMES.index(name), face.shape_names.index(name)
            shapes[row], matrix[row] = face.shapes[source].ravel(), weights[source]
        flat = basis.reshape(len(basis), -1).astype(np.float64)
        return cls(matrix, residual, shapes @ shapes.T, shapes @ flat.T, flat @ flat.T, len(face.template))

    def curves(self, weights: FloatArray, habit: Habit | None = None) -> tuple[FloatArray, float]:
        """ARKit curves (T, 52) in 0..1 of weights (T, K), and the rms distance in mm that is left.

        Without a habit they are the closest on this very face, by whatever play of shapes against each other. With
        one they are nearly as close, few and natural, as curves have to be that another face is to be moved by.
        """
        habit = habit or Habit(RIDGE, 0.0, 0.0)
        unit = np.trace(self.shape_energy) / len(ARKIT_NAMES)
        target = weights.astype(np.float64) @ self.cross_energy.T
        energy = self.shape_energy + unit * habit.penalty()
        found = _bounded_least_squares(energy, target - unit * habit.sparse, np.clip(weights @ self.matrix.T, 0, 1))
        found[:, np.diag(self.shape_energy) == 0] = 0
        square = (
            np.einsum("tk,kl,tl->t", weights, self.basis_energy, weights)
            - 2 * np.einsum("tm,tm->t", found, target)
            + np.einsum("tm,mn,tn->t", found, self.shape_energy, found)
        )
        residual = np.sqrt(np.maximum(square, 0).mean() / self.vertices) * MM_PER_M
        return found.astype(np.float32), float(residual)


def _bounded_least_squares(energy: np.ndarray, target: np.ndarray, start: np.ndarray) -> np.ndarray:
    """argmin over 0 <= x <= 1 of x E x / 2 - b x for rows b of `target` (Nesterov's accelerated gradient)."""
    step = 1 / np.linalg.eigvalsh(energy)[-1]
    x = ahead = start.astype(np.float64)
    pace = 1.0
    for _ in range(ITERATIONS):
        moved = np.clip(ahead - step * (ahead @ energy - target), 0, 1)
        following = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        ahead = moved + (pace - 1) / following * (moved - x)
        x, pace = moved, following
    return x


def arkit_curves(clip: Animation, face: Face) -> tuple[FloatArray, float]:
    """The take as ARKit curves (T, 52) in 0..1, its lively track included, and the residual in mm.

    Raises
    ------
    VisemoError
        When the face has none of the 52 shapes, or another number of vertices than the take.
    """
    if clip.basis.shape[1] != len(face.template):
        raise VisemoError(
            f"ARKit curves: got face {face.name} of {len(face.template)} vertices, expected {clip.basis.shape[1]}"
        )
    if np.array_equal(clip.basis, _rig_basis(face)):
        curves, residual = clip.speech_weights + clip.expression_weights, 0.0  # it is made of them
    else:
        curves, residual = ArkitMap.of(face, clip.basis).curves(clip.weights)
    if clip.lively_weights is not None:
        for column, name in enumerate(clip.lively_names):
            own = ARKIT_NAMES.index(name)
            curves[:, own] = np.minimum(curves[:, own] + clip.lively_weights[:, column], 1)
    return curves, residual


# --- another head --------------------------------------------------------------------------------------


def is_rig(face: Face) -> bool:
    """Whether a face has so many of ARKit's shapes that curves can speak with it."""
    return face.shapes is not None and len(set(ARKIT_NAMES) & set(face.shape_names)) >= FEWEST_SHAPES


def onto_rig(clip: Animation, source: Face, rig: Face, habit: Habit = Habit()) -> Animation:
    """A take of `source` played by another head that has ARKit's shapes.

    Parameters
    ----------
    clip : a take on `source`, any mode.
    source : the face that the take was made on, with ARKit shapes of its own.
    rig : any head with the 52 shapes or most of them, in any topology.
    habit : how natural the curves are held.

    Returns
    -------
    A take on the rig. Its basis is the 52 shapes of the rig twice, [S | S], zero where it lacks one; speech_weights
    (T, 52) are the curves of the speech alone, 0..1, and expression_weights (T, 52) what the expression adds to them
    or takes away, so that their sum, 0..1 too, is the curves of the whole. Both leaks are zero: they belong to the
    model. meta["retarget"] says the rig, the residual of the curves on `source` in mm, and of the frames in which the
    source's lips are shut how many there are and the mean gap of the rig's lips there before and after they were
    brought together.

    Raises
    ------
    VisemoError
        When the source has none of the 52 shapes or the rig fewer than FEWEST_SHAPES, or the take is not on `source`.
    """
    if clip.basis.shape[1] != len(source.template):
        raise VisemoError(
            f"take: got {clip.basis.shape[1]} vertices, expected the {len(source.template)} of face {source.name}"
        )
    if not is_rig(rig):
        raise VisemoError(
            f"face {rig.name}: got {len(set(ARKIT_NAMES) & set(rig.shape_names))} of ARKit's 52 shapes, expected at "
            f"least {FEWEST_SHAPES}; add shapes, or register it to {source.name}"
        )
    known = ArkitMap.of(source, clip.basis, rig.shape_names)
    spoken, _ = known.curves(np.concatenate([clip.speech_weights, 0 * clip.expression_weights], axis=1), habit)
    curves, residual = known.curves(clip.weights, habit)
    shut = _shut(clip)
    basis = _rig_basis(rig)
    met = _lips_shut(curves, basis[: len(ARKIT_NAMES)], rig, shut, clip.fps)
    spoken = _lips_shut(spoken, basis[: len(ARKIT_NAMES)], rig, shut, clip.fps)
    said = {
        "rig": rig.name,
        "residual_mm": round(residual, 4),
        "shut_frames": int(shut.sum()),
        "gap_mm": [_mean_gap(each, basis, rig, shut) for each in (curves, met)],
    }
    lively = [column for column, name in enumerate(clip.lively_names) if name in rig.shape_names]
    none = np.zeros_like(met)
    model = clip.meta.get("model_hash", "")
    return replace(
        clip,
        speech_weights=spoken,
        expression_weights=met - spoken,
        speech_leak=none,
        expression_leak=none,
        basis=basis,
        template=rig.template,
        triangles=rig.triangles,
        lip_pairs=rig.lip_pairs,
        face=rig.name,
        lively_weights=None if clip.lively_weights is None else np.ascontiguousarray(clip.lively_weights[:, lively]),
        lively_names=tuple(clip.lively_names[column] for column in lively),
        head_pose=_posed_about(clip.head_pose, source, rig),
        meta={
            **clip.meta,
            "model": f"{clip.meta.get('model', 'unknown')} on {rig.name}",
            "model_hash": sha256(f"{model}".encode(), rig.hash.encode())[:16],
            "face": rig.name,
            "face_hash": rig.hash,
            "retarget": said,
        },
    )


def _rig_basis(rig: Face) -> FloatArray:
    """(104, V, 3) m the rig's 52 shapes, zero where it lacks one, for the speech and again for the expression."""
    basis = np.zeros((len(ARKIT_NAMES), *rig.template.shape), np.float32)
    for row, name in enumerate(ARKIT_NAMES):
        if name in rig.shape_names:
            basis[row] = rig.shape(name)
    return np.concatenate([basis, basis])


def _shut(clip: Animation) -> np.ndarray:
    """(T,) the frames in which the take's lips are shut."""
    upper, lower = clip.lip_pairs.T
    apart = clip.template[upper] - clip.template[lower]
    apart = apart + np.tensordot(clip.weights, clip.basis[:, upper] - clip.basis[:, lower], 1)
    return np.linalg.norm(apart, axis=2).mean(axis=1) <= SHUT


def _mean_gap(curves: FloatArray, basis: FloatArray, rig: Face, frames: np.ndarray) -> float:
    """Mean lip gap of the rig over some frames, mm."""
    if not frames.any():
        return 0.0
    apart = lip_difference(curves[frames], basis[: curves.shape[1]], rig)
    return round(float(np.linalg.norm(apart, axis=2).mean()) * MM_PER_M, 4)


def _lips_shut(curves: FloatArray, shapes: FloatArray, rig: Face, shut: np.ndarray, fps: float) -> FloatArray:
    """Curves (T, 52) that shut the rig's lips in the frames `shut`: the least motion of its face that does.

    Two rigs do not shut their mouths by the same numbers: what mouthClose takes back of jawOpen differs. Only curves
    of the mouth and jaw are changed, within 0..1, and the change comes and goes over RETURN seconds.
    """
    if not shut.any():
        return curves
    near = _presence(shut, fps)
    rows = np.flatnonzero(near > 0)
    apart = lip_difference(curves[rows], shapes, rig).astype(np.float64)
    rest = (rig.template[rig.lip_pairs[:, 0]] - rig.template[rig.lip_pairs[:, 1]]).astype(np.float64)
    parting = (shapes[:, rig.lip_pairs[:, 0]] - shapes[:, rig.lip_pairs[:, 1]]).reshape(len(shapes), -1)
    parting = parting.astype(np.float64)
    # towards the rest, in which most rigs' lips are shut, and closer where they are not
    rest *= min(1.0, 0.6 * SHUT / max(float(np.linalg.norm(rest, axis=1).mean()), 1e-9))
    wanted = ((rest - apart) * near[rows, None, None]).reshape(len(rows), -1)
    flat = shapes.reshape(len(shapes), -1).astype(np.float64)
    stiff = flat @ flat.T / len(rig.template)
    pull = LIP_PULL / len(rig.lip_pairs)
    energy = stiff + pull * parting @ parting.T
    free = np.array([name in CLOSERS for name in ARKIT_NAMES])
    energy += RIDGE * np.trace(energy) / len(energy) * np.eye(len(energy))
    start = curves[rows].astype(np.float64)
    target = start @ energy + pull * wanted @ parting.T
    fixed = start[:, ~free] @ energy[~free]  # what may not change stays what it is
    solved = _bounded_least_squares(energy[np.ix_(free, free)], (target - fixed)[:, free], start[:, free])
    met = curves.copy()
    met[np.ix_(rows, np.flatnonzero(free))] = solved
    return met


def _presence(shut: np.ndarray, fps: float) -> np.ndarray:
    """(T,) 1 in the frames `shut`, falling to 0 within RETURN s around them."""
    frames, there = np.arange(len(shut)), np.flatnonzero(shut)
    after = np.searchsorted(there, frames)
    off = np.minimum(
        np.abs(frames - there[np.minimum(after, len(there) - 1)]), np.abs(frames - there[np.maximum(after - 1, 0)])
    )
    return 0.5 * (1 + np.cos(np.pi * np.clip(off / (RETURN * fps + 1), 0, 1)))


def _posed_about(pose: FloatArray | None, source: Face, rig: Face) -> FloatArray | None:
    """The head pose (T, 7) turned about the rig's own middle: the point that the source's origin is on it."""
    shared = sorted(set(source.landmarks) & set(rig.landmarks))
    if pose is None or len(shared) < 4:
        return pose
    own = source.template[[source.landmarks[number] for number in shared]].astype(np.float64)
    there = rig.template[[rig.landmarks[number] for number in shared]].astype(np.float64)
    size = there.std(axis=0).sum() / own.std(axis=0).sum()
    shift = there.mean(axis=0) - size * own.mean(axis=0)
    turned = quaternion_to_matrix(pose[:, 3:]) @ shift
    return np.concatenate([pose[:, :3] * size + shift - turned, pose[:, 3:]], axis=1).astype(np.float32)
