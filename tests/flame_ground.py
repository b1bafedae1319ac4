"""A random FLAME under the tiny face, without a registration: any fixed transfer and any similarity will do."""

import numpy as np
from scipy.spatial.transform import Rotation

from visemo.face.face import Face
from visemo.face.flame_on_face import FlameOnFace
from visemo.geometry.register import Similarity
from visemo.geometry.transfer import Transfer


def made_up_ground(face: Face, far: int = 20) -> FlameOnFace:
    """Every vertex of the face on a random triangle of FLAME, but for the last `far`, which are off it."""
    chance = np.random.default_rng(5)
    count = len(face.template)
    corners = np.stack([chance.choice(5023, 3, replace=False) for _ in range(count)]).astype(np.int32)
    weights = chance.dirichlet([2.0, 2.0, 2.0], count).astype(np.float32)
    pose = Similarity(1.3, Rotation.from_euler("xyz", [10, -20, 30], degrees=True).as_matrix(), np.array([0.1, 0, 0.2]))
    distances = np.linspace(0, 1.9, count).astype(np.float32)
    distances[count - far :] = 2.5
    return FlameOnFace(Transfer(corners, weights), pose, distances)
