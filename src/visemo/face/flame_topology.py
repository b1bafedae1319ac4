"""How FLAME's 5023 vertices hang together: its mirror image, its mouth, its lids, and where the face is cut out of it.

All of it follows from the triangles and the few numbers below, so it is the same for every edition of FLAME and every
mesh in its topology, whatever their geometry. FLAME's lips are concentric rings of vertices around the opening of the
mouth's bag behind them, its lids are rings around the deepest vertex of each eye socket.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from visemo.assets import sha256
from visemo.geometry.mesh import boundary_loops
from visemo.types import IntArray, VisemoError

VERTICES, TRIANGLES, SKIN = 5023, 9976, 3931  # the skin comes first, then the left and the right eyeball
EYEBALLS = {"left": (3931, 4477), "right": (4477, 5023)}
FINGERPRINT = "abec78173030a5e5"  # of the triangles in any order
NOSE_TIP = 3564
MIDLINE = (3504, 3506)  # an edge of the midline, on the lower lip
BAG_TOP = 3514  # where the midline meets the opening of the mouth's bag, above
SOCKETS = (3929, 3930)  # the deepest vertex of the left and the right eye socket
# rings around the mouth: where the hole is cut, where the lips meet, where the red of the upper and lower lip ends
MOUTH_HOLE, CONTACT, UPPER_RED, LOWER_RED = 2, 4, 7, 8
EYE_HOLE = 2  # ring around a socket's deepest vertex: the lids' inner edge, just below the surface of the eyeball
# the face's outline on its left, from the middle of the forehead, in front of the ear, to the middle of the throat
OUTLINE = (
    3554, 575, 576, 3888, 2159, 2153, 1872, 1868, 798, 799, 802, 2023, 731, 730, 567, 566, 3757, 3653, 3652, 3650, 3649,
    3685, 3681, 3680, 3695, 3697, 3707, 3459,
)  # fmt: skip


# landmarks of iBUG's 68 by number: in the middle; on the left, with the number on the right; the inner lips are rings
MIDDLE = {8: 3404, 27: 3560, 28: 3548, 29: 3501, 30: 3564, 33: 3556, 51: 3541, 57: 3511}
LEFT = {
    22: (21, 673), 23: (20, 2134), 24: (19, 16), 25: (18, 2138), 26: (17, 694), 34: (32, 1674), 35: (31, 1623),
    42: (39, 1369), 43: (38, 1343), 44: (37, 1218), 45: (36, 1195), 46: (41, 994), 47: (40, 829),
    52: (50, 1658), 53: (49, 1695), 54: (48, 1702), 55: (59, 1801), 56: (58, 1866),
}  # fmt: skip
UPPER_INNER, LOWER_INNER = {60: 0, 61: 6, 62: 8, 63: 10, 64: 16}, {67: 6, 66: 8, 65: 10}  # places along `lips`


@dataclass(frozen=True, eq=False)
class FlameTopology:
    """What FLAME's triangles (9976, 3) imply; made by `flame_topology`."""

    triangles: IntArray

    @cached_property
    def skin(self) -> IntArray:
        """The triangles but those of the eyeballs."""
        return self.triangles[self.triangles[:, 0] < SKIN]

    @cached_property
    def mirror(self) -> NDArray[np.int32]:
        """(3931,) the mirror image of every vertex of the skin; the midline is its own.

        A midline edge is walked away from to both sides alike, triangle by triangle. Behind the outer corners of the
        eyes, where the triangles of the two sides differ, a vertex may be left without its image and is its own.
        """
        apex = {edge: c for a, b, c in self.skin.tolist() for edge, c in (((a, b), c), ((b, c), a), ((c, a), b))}
        image = {vertex: vertex for vertex in MIDLINE}
        waiting, seen = deque([(MIDLINE[0], MIDLINE[1]), (MIDLINE[1], MIDLINE[0])]), set()
        while waiting:
            a, b = edge = waiting.popleft()
            opposite = image[b], image[a]
            if edge in seen or edge not in apex or opposite not in apex:
                continue
            seen.add(edge)
            c = apex[edge]
            if image.setdefault(c, apex[opposite]) == apex[opposite]:
                waiting += [(c, b), (a, c)]
        mirror = np.array([image[vertex] for vertex in range(SKIN)], np.int32)
        return np.where(mirror[mirror] == np.arange(SKIN), mirror, np.arange(SKIN)).astype(np.int32)

    @cached_property
    def mouth(self) -> list[NDArray[np.int32]]:
        """Rings around the mouth, the bag's opening first: each from the midline above over the face's left."""
        opening = next(loop for loop in boundary_loops(self.skin) if BAG_TOP in loop)
        rings = [opening, *(ring[::-1] for ring in self._rings(opening, LOWER_RED))]
        top, turned = BAG_TOP, []
        for ring in rings:
            middle = ring[self.mirror[ring] == ring]
            near = self.skin[(self.skin == top).any(axis=1)]  # the next ring's top is joined to this one's
            top = int(middle[np.isin(middle, near)][0])
            turned.append(np.roll(ring, -int(np.flatnonzero(ring == top)[0])))
        return turned

    @cached_property
    def eye_holes(self) -> list[NDArray[np.int32]]:
        """The loops that the left and the right eye are cut along."""
        return [self._rings(np.array([socket]), EYE_HOLE)[-1] for socket in SOCKETS]

    def _rings(self, start: NDArray, count: int) -> list[NDArray[np.int32]]:
        """The closed loops around some vertices, one triangle further out each."""
        inside, rings = set(start.tolist()), []
        for _ in range(count):
            patch = self.skin[np.isin(self.skin, list(inside)).any(axis=1)]
            rings.append(next(loop for loop in boundary_loops(patch) if not inside & set(loop.tolist())))
            inside |= set(rings[-1].tolist())
        return rings

    @cached_property
    def face_triangles(self) -> IntArray:
        """The triangles of the frontal face, in FLAME's order and numbers: a disc with holes for mouth and eyes."""
        left = np.array(OUTLINE)
        outline = np.concatenate([left, self.mirror[left[-2:0:-1]]])
        cuts = [outline, self.mouth[MOUTH_HOLE], *self.eye_holes]
        steps = np.concatenate([np.stack([loop, np.roll(loop, -1)], axis=1) for loop in cuts])
        sides = np.concatenate([self.skin[:, [i, (i + 1) % 3]] for i in range(3)])
        owner = np.tile(np.arange(len(self.skin)), 3)
        edge, first = np.unique(np.sort(sides, axis=1) @ (VERTICES, 1), return_inverse=True)
        crossed = ~np.isin(edge, np.sort(steps, axis=1) @ (VERTICES, 1))[first]
        shared = sp.csr_matrix((np.ones(crossed.sum()), (owner[crossed], first[crossed])))
        _, piece = connected_components(shared @ shared.T, directed=False)
        return self.skin[piece == piece[(self.skin == NOSE_TIP).any(axis=1)][0]]

    @cached_property
    def rows(self) -> IntArray:
        """(V,) the vertices of the frontal face, ascending."""
        return np.unique(self.face_triangles).astype(np.int32)

    @cached_property
    def landmarks(self) -> dict[int, int]:
        """Vertices of the iBUG numbers 8 and 17 to 67."""
        upper, lower = self.lips()
        found = MIDDLE | {number: vertex for number, (_, vertex) in LEFT.items()}
        found |= {number: int(self.mirror[vertex]) for number, vertex in LEFT.values()}
        found |= {number: int(upper[at]) for number, at in UPPER_INNER.items()}
        found |= {number: int(lower[at]) for number, at in LOWER_INNER.items()}
        return dict(sorted(found.items()))

    def lips(self, ring: int = CONTACT) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Upper and lower vertices (17,) of a ring of 32, from the right corner to the left, which both have.

        CONTACT is where the lips meet.
        """
        loop = self.mouth[ring]
        quarter = len(loop) // 4
        return np.roll(loop, quarter)[: 2 * quarter + 1], np.roll(loop, -quarter)[2 * quarter :: -1]


@lru_cache(maxsize=4)
def _topology(triangles: bytes) -> FlameTopology:
    return FlameTopology(np.frombuffer(triangles, np.int32).reshape(-1, 3))


def flame_topology(triangles: IntArray) -> FlameTopology:
    """What follows from FLAME's triangles (9976, 3), worked out once.

    Raises VisemoError when they are others, or FLAME's with its vertices in another order.
    """
    if triangles.shape != (TRIANGLES, 3) or fingerprint(triangles) != FINGERPRINT:
        raise VisemoError(
            f"FLAME: got {len(triangles)} triangles that are not FLAME's {TRIANGLES} on {VERTICES} vertices in its own "
            "order, expected these; register the mesh instead"
        )
    return _topology(np.ascontiguousarray(triangles, np.int32).tobytes())


def fingerprint(triangles: IntArray) -> str:
    """Hash of the triangles as a set: neither their order nor the corner they begin with counts."""
    first = np.argmin(triangles, axis=1)
    turned = np.take_along_axis(triangles, (first[:, None] + np.arange(3)) % 3, axis=1)
    return sha256(np.unique(turned.astype(np.int32), axis=0))[:16]
