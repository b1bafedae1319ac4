"""Colours fitted to pictures of the mesh: nearer to pictures that were held out, and the transpose is one."""

import numpy as np
import pytest

from toy_face import toy_face
from visemo.avatar.fit import fit_colors
from visemo.avatar.from_face import avatar_from_face
from visemo.types import VisemoError


def test_a_fit_comes_nearer_to_what_it_has_not_seen() -> None:
    face = toy_face()
    gaussians = avatar_from_face(face)
    kept = gaussians.sh.copy()
    fitted = fit_colors(gaussians, face, 16, size=64)
    for name, (before, after) in fitted.psnr.items():
        assert after > before, name
    assert np.array_equal(gaussians.sh, kept) and np.array_equal(fitted.gaussians.sh[:, 1:], kept[:, 1:])
    with pytest.raises(VisemoError, match="got 0 steps"):
        fit_colors(gaussians, face, 0)
