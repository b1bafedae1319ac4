"""The teeth of GaussianAvatars: where they are, how they move, and the numbers that avatars are bound to."""

import numpy as np
import torch

from face.flame_models import random_model
from visemo.face.flame_layer import FlameLayer
from visemo.face.flame_teeth import LOWER_LIP, UPPER_LIP, teeth_triangles, with_teeth

UPPER = [row * 15 + i for row in (0, 2, 4, 5) for i in range(15)]
LOWER = [row * 15 + i for row in (1, 3, 6, 7) for i in range(15)]


def test_triangles_have_the_published_numbers() -> None:
    triangles = teeth_triangles()
    assert triangles.shape == (168, 3)
    published = {0: (0, 31, 30), 13: (6, 7, 37), 14: (7, 8, 37), 27: (14, 44, 43), 28: (60, 75, 76), 55: (74, 88, 89),
                 56: (75, 30, 76), 83: (88, 44, 89), 84: (45, 46, 15), 98: (52, 23, 22), 111: (58, 59, 29),
                 112: (90, 106, 105), 140: (105, 106, 45), 154: (112, 53, 52), 167: (118, 119, 59)}  # fmt: skip
    assert {n: tuple(triangles[n].tolist()) for n in published} == published
    assert set(triangles[:84].ravel()) == set(UPPER) and set(triangles[84:].ravel()) == set(LOWER)


def test_they_lie_behind_the_lips_where_the_lips_say() -> None:
    model = random_model()
    upper, lower = (model.v_template[list(lip)].astype(float) for lip in (UPPER_LIP, LOWER_LIP))
    unit = np.mean([np.linalg.norm(a - b) for a, b in zip(upper, lower)])
    height = ((upper + lower) / 2)[:, 1].mean()
    rows = with_teeth(model).v_template[5023:].reshape(8, 15, 3)
    for row, (up, back) in enumerate([(2.1, 0), (-2.1, 0.4), (0.1, 0), (-0.1, 0.4), (2.1, 1), (0.1, 1), (-2.1, 1.4),
                                      (-0.1, 1.4)]):  # fmt: skip
        for i in range(15):
            x, _, z = (upper[i] + lower[i]) / 2
            np.testing.assert_allclose(rows[row, i], [x, height + up * unit, z - (1.5 + back) * unit], atol=1e-6)


def test_upper_teeth_go_with_the_neck_and_lower_with_the_jaw() -> None:
    model = random_model()
    plain, toothed = FlameLayer(model), FlameLayer(with_teeth(model))
    shape, expression = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[3.0, -1.0]])
    moved = {"neck": torch.tensor([[0.1, 0.2, -0.3]]), "jaw": torch.tensor([[0.3, 0.0, 0.0]])}
    rest = toothed(shape=shape, expression=expression)[0, 5023:]
    mean = [(model.shapedirs[a, :, :3] + model.shapedirs[b, :, :3]) / 2 for a, b in zip(UPPER_LIP, LOWER_LIP)]
    said = torch.tensor(np.tile(np.stack(mean) @ shape[0].numpy(), (8, 1))) + toothed.v_template[5023:]
    torch.testing.assert_close(rest, said, atol=1e-6, rtol=0)
    posed = toothed(shape=shape, expression=expression, **moved)
    torch.testing.assert_close(posed[:, :5023], plain(shape=shape, expression=expression, **moved))
    jaw_only = toothed(shape=shape, expression=expression, jaw=moved["jaw"])[0, 5023:]
    torch.testing.assert_close(jaw_only[UPPER], rest[UPPER], atol=1e-6, rtol=0)
    assert (jaw_only[LOWER] - rest[LOWER]).norm(dim=1).min() > 1e-4
    assert with_teeth(model).hash != model.hash
