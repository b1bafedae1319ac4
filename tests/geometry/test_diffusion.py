"""Diffusion on a surface: what is constant stays, detail below the reach goes, pins hold."""

import numpy as np
import pytest

from toy_face import sheet
from visemo.geometry.diffusion import Diffusion


@pytest.fixture(scope="module")
def patch():
    return sheet(-0.06, 0.06)


def test_diffusion_is_the_dense_solution_of_its_equation(patch):
    diffusion, random = Diffusion(*patch), np.random.default_rng(0)
    offsets, reach = random.normal(size=(len(patch[0]), 2)), 0.02
    laplacian, mass = diffusion.laplacian.toarray(), np.diag(diffusion.areas)
    dense = np.linalg.solve(mass + reach**4 * laplacian @ np.linalg.inv(mass) @ laplacian, mass @ offsets)
    np.testing.assert_allclose(diffusion.factorised(reach).solve(offsets), dense, atol=1e-9)
    ones = np.ones((len(patch[0]), 1))
    np.testing.assert_allclose(diffusion.factorised(0.1).solve(ones), ones, atol=1e-8)
    assert diffusion.factorised(0.05).solve(offsets).std() < 0.5 * offsets.std()


def test_pins_hold_exactly_and_doubtful_ones_give_way(patch):
    diffusion, rows = Diffusion(*patch), np.array([0, 40, 90], np.int32)
    values = np.array([[1.0], [-1.0], [2.0]])
    np.testing.assert_allclose(diffusion.interpolated(rows, values, 0.1)[rows], values, atol=1e-4)
    assert np.abs(diffusion.interpolated(rows, values, 0.1, doubt=2.0)[rows]).sum() < 0.8 * np.abs(values).sum()
    pins, field = diffusion.factorised(0.03).pins(rows), np.zeros((len(patch[0]), 1))
    pulled = pins.pull(field, values, active=np.array([True, False, False]))
    np.testing.assert_allclose(pulled[0], 1.0, atol=1e-6)
    assert pins.pull(field, values, active=np.zeros(3, bool)) is field


def test_filled_keeps_what_is_known_and_bends_the_rest_least(patch):
    diffusion, random = Diffusion(*patch), np.random.default_rng(2)
    field, rows = random.normal(size=(len(patch[0]), 3)), np.array([30, 31, 44], np.int32)
    filled, known = diffusion.filled(field, rows), np.setdiff1d(np.arange(len(field)), rows)
    np.testing.assert_array_equal(filled[known], field[known])
    bending = lambda f: float(np.einsum("vc,vc->", f, diffusion.bending @ f))  # noqa: E731
    for _ in range(5):
        other = filled.copy()
        other[rows] += 0.1 * random.normal(size=(3, 3))
        assert bending(filled) < bending(other)
