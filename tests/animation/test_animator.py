from dataclasses import replace

import numpy as np
import pytest
import torch

from tiny import K_A, K_E, tone
from visemo.animation import animator as module
from visemo.animation.animator import Animator, check_topology
from visemo.animation.timeline import Key, Timeline
from visemo.media import save_wav
from visemo.types import MODES, Animation, Mesh, Motion, VisemoError, Waveform


@pytest.fixture(scope="module")
def animator(tiny_model) -> Animator:
    return Animator(tiny_model)


@pytest.fixture(scope="module")
def clip(animator) -> Animation:
    return animator.animate(tone(2.0), "happy", 0.8, guard=0.0, seed=3)


def arrays(clip: Animation) -> list[np.ndarray]:
    return [clip.speech_weights, clip.expression_weights, clip.speech_leak, clip.expression_leak]


def same(a: Animation, b: Animation) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(arrays(a), arrays(b)))


def test_the_fast_path_equals_motion_to_map_to_weights(animator, tiny_model, clip):
    """The slow twin makes every vertex of dV_A, then its geometry map, then encodes it (Eq. 1-3)."""
    sound = tone(2.0)
    with torch.inference_mode():
        motion = tiny_model.speech.generate(torch.from_numpy(sound.samples), animator.style(None), 60)
        w_a, eps_a = tiny_model.fusion.encode_speech_map(tiny_model.fusion.geomap.to_map(motion))
    assert motion.abs().max() > 1e-4 and np.ptp(clip.speech_weights, axis=0).max() > 1e-3
    assert np.allclose(clip.speech_weights, w_a.numpy(), atol=1e-5 * float(w_a.abs().max()))
    assert np.allclose(clip.speech_leak, eps_a.numpy(), atol=1e-5 * float(w_a.abs().max()))


def test_the_expression_is_the_library_s(animator, tiny_model, clip):
    w_e, eps_e = tiny_model.expressions.sample("happy", 60, 0.8, seed=3)
    assert np.array_equal(clip.expression_weights, w_e) and np.array_equal(clip.expression_leak, eps_e)


@pytest.mark.parametrize("mode", MODES)
def test_in_every_mode_vertices_are_template_plus_basis_times_weights(animator, mode, tiny_face):
    made = animator.animate(tone(0.5), "sad", mode=mode)
    weights = np.concatenate([made.speech_weights, made.expression_weights], axis=1)
    by_hand = tiny_face.template + np.einsum("tk,kvc->tvc", weights.astype(np.float64), made.basis.astype(np.float64))
    assert np.allclose(made.vertices, by_hand, atol=1e-7)
    assert made.meta["mode"] == mode


def test_modes_keep_and_drop_what_they_say(animator):
    fused, speech, expression, naive = (animator.animate(tone(0.5), "sad", mode=m, guard=0.0) for m in MODES)
    assert np.array_equal(speech.speech_weights, fused.speech_weights) and not speech.expression_weights.any()
    assert np.array_equal(expression.expression_weights, fused.expression_weights)
    assert not expression.speech_weights.any()
    assert np.allclose(naive.speech_weights, fused.speech_weights + fused.expression_leak)
    assert np.allclose(naive.expression_weights, fused.expression_weights + fused.speech_leak)
    assert fused.expression_leak.any() and fused.speech_leak.any()


def test_same_input_same_bytes_other_seed_other_bytes(animator, tmp_path):
    made = [animator.animate(tone(0.5), "happy", lively=True, seed=s) for s in (1, 1, 2)]
    assert same(made[0], made[1]) and not same(made[0], made[2])
    assert np.array_equal(made[0].head_pose, made[1].head_pose) and made[0].meta == made[1].meta
    save_wav(tone(0.5), tmp_path / "a.wav")
    assert same(animator.animate(tmp_path / "a.wav", "happy"), animator.animate(str(tmp_path / "a.wav"), "happy"))


def test_re_emote_gives_what_animate_would_have_given(animator, clip):
    for guard in (0.0, 1.0):
        again = animator.re_emote(clip, "sad", 0.6, guard=guard)
        fresh = animator.animate(tone(2.0), "sad", 0.6, seed=3, guard=guard)
        assert same(again, fresh) and again.meta == fresh.meta
    back = animator.re_emote(again, "happy", 0.8, guard=0.0)
    assert same(back, clip) and back.meta == clip.meta


def test_re_emote_keeps_life_template_and_rate(animator, tiny_model):
    person = tiny_model.face.template * np.float32(1.1)
    made = Animator(tiny_model, person).animate(tone(0.5), "happy", lively=True, fps=25, subject="ben")
    sad = animator.re_emote(made, "sad")
    assert np.array_equal(sad.head_pose, made.head_pose) and sad.lively_names == made.lively_names
    assert np.array_equal(sad.template, person) and sad.fps == 25 and sad.meta["subject"] == "ben"


def test_re_emote_of_other_modes(animator):
    spoken = animator.animate(tone(0.5), "sad", mode="speech")
    assert animator.re_emote(spoken, "happy").meta["mode"] == "fused"
    naive = animator.animate(tone(0.5), "sad", mode="naive")
    fresh = animator.animate(tone(0.5), "happy", mode="naive")
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(arrays(animator.re_emote(naive, "happy")), arrays(fresh)))


def test_another_model_s_take_is_refused(animator, clip):
    with pytest.raises(VisemoError, match=r"got one of model tiny \(ffff\), expected tiny"):
        animator.re_emote(replace(clip, meta={**clip.meta, "model_hash": "ffff"}), "sad")
    with pytest.raises(VisemoError, match="got one of model unknown"):
        animator.re_emote(replace(clip, meta={}), "sad")


def test_other_rates_keep_length_and_shape_of_the_motion(animator):
    native = animator.animate(tone(2.0), "happy", guard=0.0)
    for fps in (24.0, 25.0, 60.0):
        made = animator.animate(tone(2.0), "happy", guard=0.0, fps=fps)
        assert made.fps == fps and made.frames == round(2 * fps)
        early = made.frames - 3
        at, known = np.arange(early) / fps, np.arange(60) / 30
        wanted = np.stack([np.interp(at, known, column) for column in native.speech_weights.T], axis=1)
        assert np.abs(made.speech_weights[:early] - wanted).max() < 0.2 * np.ptp(native.speech_weights)
    fine = animator.animate(tone(2.0), "happy", guard=0.0, fps=60)
    assert np.allclose(fine.speech_weights[:119:2], native.speech_weights, atol=1e-6)


def test_a_clip_of_one_frame(animator):
    made = animator.animate(Waveform(tone(0.05).samples[:700]), "happy", fps=30, lively=True)
    assert made.frames == 1 and np.isfinite(made.vertices).all()
    assert animator.animate(Waveform(tone(0.05).samples[:700]), fps=240).frames > 5


def test_a_timeline_takes_the_place_of_one_expression(animator, tiny_model, tmp_path):
    line = Timeline((Key(0.0, "happy", 0.5), Key(1.0, "sad", 1.0)))
    made = animator.animate(tone(2.0), timeline=line, guard=0.0, seed=2)
    w_e, _ = line.sample(tiny_model.expressions, 60, seed=2)
    assert np.array_equal(made.expression_weights, w_e) and made.meta["timeline"] == line.to_dict()
    path = tmp_path / "line.json"
    path.write_text('{"keys": [{"t": 0, "expression": "happy", "intensity": 0.5}, {"t": 1, "expression": "sad"}]}')
    assert same(animator.animate(tone(2.0), timeline=path, guard=0.0, seed=2), made)
    again = animator.re_emote(animator.animate(tone(2.0), "sad", seed=2), timeline=line, guard=0.0)
    assert same(again, made) and again.meta == made.meta


def test_an_expression_from_meshes_is_encoded(animator, tiny_model, tiny_face):
    apex = tiny_face.template + 0.7 * tiny_face.shape("mouthSmileLeft")
    pair = [Mesh(tiny_face.template, tiny_face.triangles), Mesh(apex.astype(np.float32), tiny_face.triangles)]
    made = animator.animate(tone(1.5), pair, 1.2, guard=0.0)
    with torch.inference_mode():
        _, w_e = tiny_model.fusion.encode_expression(torch.from_numpy(pair[1].vertices - pair[0].vertices)[None])
    assert np.allclose(made.expression_weights[22], 1.2 * w_e.numpy()[0], rtol=1e-5)
    assert made.meta["expression"] == "meshes" and made.meta["intensity"] == 1.2
    rise = np.hanning(31)[:, None, None] * (apex - tiny_face.template)
    sequence = [Mesh((tiny_face.template + d).astype(np.float32), tiny_face.triangles) for d in rise]
    take = animator.expression_from(sequence)
    assert take.weights.shape == (31, K_E) and take.leak.shape == (31, K_A) and take.apex == 15
    moved = Motion(rise.astype(np.float32), fps=60)
    assert animator.expression_from(moved).fps == 60
    assert animator.animate(tone(1.5), take).meta["expression"] == "meshes"


def test_meshes_that_do_not_fit_are_refused(animator, tiny_face):
    mesh = Mesh(tiny_face.template, tiny_face.triangles)
    other = Mesh(tiny_face.template[:-1], tiny_face.triangles[:10])
    with pytest.raises(VisemoError, match="got 1 meshes, expected the neutral and at least one more"):
        animator.animate(tone(0.5), [mesh])
    with pytest.raises(VisemoError, match="expected the topology of tiny"):
        animator.animate(tone(0.5), [mesh, other])
    with pytest.raises(VisemoError, match="expected the topology of tiny"):
        check_topology(Mesh(tiny_face.template, tiny_face.triangles[::-1].copy()), tiny_face)
    with pytest.raises(VisemoError, match="motion of 5 vertices"):
        animator.animate(tone(0.5), Motion(np.zeros((3, 5, 3), np.float32)))


def test_another_person_s_template(tiny_model):
    person = tiny_model.face.template * np.float32(1.1)
    made = Animator(tiny_model, person).animate(tone(0.5))
    assert np.array_equal(made.template, person)
    with pytest.raises(VisemoError, match="face: got 3 vertices"):
        Animator(tiny_model, person[:3])


def test_closures_are_those_of_the_person(tiny_model, monkeypatch):
    """A scan whose lips are apart at rest has to shut its own, not those of the model's face."""
    seen = []
    monkeypatch.setattr(module, "lips_meet", lambda speech, basis, face, fps: seen.append(face.template) or speech)
    monkeypatch.setattr(
        module, "at_pace", lambda speech, leak, basis, face, fps: seen.append(face.template) or (speech, leak)
    )
    person = tiny_model.face.template * np.float32(1.1)
    Animator(tiny_model, person).animate(tone(0.2))
    assert len(seen) == 2 and all(np.array_equal(template, person) for template in seen)


def test_the_subject_s_style_matters(animator):
    nobody, anna, ben = (animator.animate(tone(1.0), subject=s) for s in (None, "anna", "ben"))
    assert not same(anna, ben) and not same(nobody, anna) and not same(nobody, ben)
    assert ben.meta["subject"] == "ben" and nobody.meta["subject"] is None
    assert torch.allclose(animator.style(None), (animator.style("anna") + animator.style("ben")) / 2)


def test_the_take_says_where_it_comes_from(animator, tiny_model):
    meta = animator.animate(tone(0.5), "joy", 0.5, seed=4).meta
    assert meta["model"] == "tiny" and meta["model_hash"] == tiny_model.hash and meta["face"] == "tiny"
    assert meta["expression"] == "happy" and meta["intensity"] == 0.5 and meta["seed"] == 4
    assert meta["guard"]["strength"] == 1.0 and set(meta["versions"]) >= {"visemo", "torch"}


def test_progress_runs_from_start_to_end(animator):
    told: list[float] = []
    animator.animate(tone(1.0), progress=told.append)
    assert told == sorted(told) and told[-1] == 1.0


@pytest.mark.parametrize(
    "asked, match",
    [
        ({"expression": "smug"}, "got 'smug', expected one of neutral"),
        ({"expression": "happy", "intensity": 9}, "intensity: got 9"),
        ({"mode": "both"}, "mode: got 'both', expected one of fused"),
        ({"subject": "zoe"}, "subject: got 'zoe', expected one of anna, ben"),
        ({"fps": 0}, "fps: got 0"),
        ({"fps": float("nan")}, "fps: got nan"),
        ({"guard": 2}, "guard: got 2"),
        ({"expression": "happy", "timeline": Timeline((Key(0, "sad"),))}, "and a timeline"),
        ({"timeline": Timeline((Key(0, "smug"),))}, "got 'smug'"),
    ],
)
def test_what_cannot_be_is_refused(animator, asked, match):
    with pytest.raises(VisemoError, match=match):
        animator.animate(tone(0.3), **asked)


def test_sound_that_is_none_is_refused(animator, tmp_path):
    with pytest.raises(VisemoError, match="at 8000 Hz"):
        animator.animate(Waveform(np.zeros(8000, np.float32), 8000))
    with pytest.raises(VisemoError, match="got 0 samples"):
        animator.animate(Waveform(np.zeros(0, np.float32)))
    with pytest.raises(VisemoError, match="no such file"):
        animator.animate(tmp_path / "none.wav")
