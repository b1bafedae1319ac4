"""FLAME sequences in: a motion that somebody animated becomes a take, as speech or as an expression."""

from pathlib import Path

import numpy as np
import pytest
import torch

from face.flame_models import random_model
from visemo.animation.animator import Animator
from visemo.data.peers import Bodies, find_clips
from visemo.face.flame_layer import FlameLayer
from visemo.types import Motion, VisemoError


def moved(model, frames: int = 6) -> Motion:
    rng = np.random.default_rng(2)
    return Motion(rng.normal(0, 1e-3, (frames, *model.face.template.shape)).astype(np.float32), 25.0)


def test_speech_is_what_e_a_says_and_its_leak_is_left_out(tiny_model) -> None:
    animator, motion = Animator(tiny_model), moved(tiny_model)
    clip = animator.adopt(motion, "speech")
    w_a, eps_a = tiny_model.fusion.encode_speech(torch.from_numpy(motion.displacements))
    np.testing.assert_allclose(clip.speech_weights, w_a.detach(), atol=1e-6)
    np.testing.assert_allclose(clip.speech_leak, eps_a.detach(), atol=1e-6)
    assert not clip.expression_weights.any() and clip.fps == 25 and clip.meta["mode"] == "fused"
    name = tiny_model.expressions.names[-1]
    happy = animator.adopt(motion, "speech", name, 0.8)
    again = animator.re_emote(clip, name, 0.8)
    np.testing.assert_array_equal(happy.weights, again.weights)


def test_an_expression_is_what_e_e_says(tiny_model) -> None:
    animator, motion = Animator(tiny_model), moved(tiny_model)
    clip = animator.adopt(motion, "expression")
    _, w_e = tiny_model.fusion.encode_expression(torch.from_numpy(motion.displacements))
    np.testing.assert_allclose(clip.expression_weights, w_e.detach(), atol=1e-6)
    assert not clip.speech_weights.any()


def test_what_cannot_be_taken(tiny_model) -> None:
    animator, motion = Animator(tiny_model), moved(tiny_model)
    with pytest.raises(VisemoError, match="got an expression beside a motion"):
        animator.adopt(motion, "expression", tiny_model.expressions.names[-1])
    with pytest.raises(VisemoError, match="register it first"):
        animator.adopt(Motion(motion.displacements[:, 1:]), "speech")


def test_motion_files_are_clips_of_flame(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    widths = {"rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "translation": 3, "expr": 100}
    arrays = {name: rng.normal(size=(4, width)).astype(np.float32) for name, width in widths.items()}
    arrays["expr"][:, 2:] = 0
    np.savez(tmp_path / "a.flame.npz", **arrays, shape=np.float32([1, 2, 3, 0]), fps=np.array(60.0))
    (found,) = find_clips(tmp_path / "a.flame.npz", Bodies(flame=random_model()))
    clip, layer = found.read(), FlameLayer(random_model())
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    person = torch.tensor([[1.0, 2, 3]])
    planted = layer(shape=person, expression=tensors["expr"][:, :2], jaw=tensors["jaw_pose"])
    np.testing.assert_allclose(clip.vertices, planted, atol=1e-6)
    np.testing.assert_allclose(clip.template, layer(shape=person)[0], atol=1e-6)
    assert clip.fps == 60
    np.savez(tmp_path / "b.npz", **arrays | {"expr": arrays["expr"].astype(float)})
    (found,) = find_clips(tmp_path / "b.npz", Bodies(flame=random_model()))
    with pytest.raises(VisemoError, match=r"b\.npz: got expr of float64, expected float32"):
        found.read()
