"""The closed-form split and the motion basis it works in, on motion whose parts are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from visemo.training.group import Group, means_of
from visemo.training.labels import Labels, _pair, certainty, reference
from visemo.training.pca import principal_motion
from visemo.training.prior import Field, sealed, variety
from visemo.training.split import SplitConfig, Talk, closed_form_split, expression_in_talk, speech_and_expression
from visemo.types import VisemoError

SPEECH = ("jawOpen", "mouthPucker")
WORN = ("mouthSmileLeft", "mouthSmileRight", "browInnerUp")


@pytest.fixture(scope="module")
def shapes(tiny_face):
    return {name: tiny_face.shape(name).astype(np.float64).ravel() for name in (*SPEECH, *WORN)}


@pytest.fixture(scope="module")
def takes(shapes):
    """Speech: fast shapes, and a smile or a brow held through the take. Expression: these, with some open mouth."""
    random = np.random.default_rng(0)
    speech, expression = [], []
    for n in range(24):
        visemes = np.repeat(random.uniform(0, 1, (30, 2)), 4, axis=0)
        held = random.uniform(0, 0.4, 3) * (np.arange(3) == n % 3) + 0 * visemes[:, :1]
        blink = (np.arange(120) % 40 < 3)[:, None] * np.array([[0, 0, 0.3]])
        speech.append((visemes, held, blink))
        rise = np.sin(np.linspace(0, np.pi, 60))[:, None]
        apex = np.array([[1, 1, 0], [0, 0, 1.0]])[n % 2] * random.uniform(0.7, 1.2)
        expression.append((rise * random.uniform(0, 1) * np.array([[0.6, 0.2]]), rise * apex))
    fast = np.stack([shapes[name] for name in SPEECH])
    slow = np.stack([shapes[name] for name in WORN])
    return (
        [(v @ fast, (h + b) @ slow) for v, h, b in speech],
        [(s @ fast, e @ slow) for s, e in expression],
    )  # fmt: skip


@pytest.fixture(scope="module")
def motion(takes, tiny_face):
    def blocks():
        return (torch.from_numpy(sum(take)).float().view(len(take[0]), -1, 3) for group in takes for take in group)

    return principal_motion(blocks, 20, torch.ones(len(tiny_face.template)))


def coordinates(motion, flat):
    return motion.coordinates(torch.from_numpy(flat).float().view(len(flat), -1, 3)).double().numpy() * 1e3


def groups(takes, motion):
    speech, expression = takes
    return (
        Group([coordinates(motion, sum(take)) for take in speech], [f"s{n // 6}" for n in range(len(speech))]),
        Group([coordinates(motion, sum(take)) for take in expression], [f"e{n % 2}" for n in range(len(expression))]),
    )


def test_principal_motion_equals_the_singular_vectors(tiny_face):
    random = np.random.default_rng(1)
    data = random.standard_normal((200, 6)) * (10, 7, 5, 3, 2, 1) @ random.standard_normal((6, 3 * 532)) * 1e-3
    omega = torch.from_numpy(random.uniform(0.5, 4, 532)).float()
    frames = torch.from_numpy(data).float().view(200, 532, 3)
    motion = principal_motion(lambda: frames.split(30), 4, omega)
    weight = np.repeat(omega.numpy() / omega.sum().item(), 3) ** 0.5
    _, power, axes = np.linalg.svd(data * weight, full_matrices=False)
    np.testing.assert_allclose(motion.deviation, power[:4] / 200**0.5, rtol=1e-4)
    overlap = np.abs((motion.directions.numpy() * weight) @ axes[:4].T)
    np.testing.assert_allclose(overlap, np.eye(4), atol=1e-3)
    # coordinates are least squares, deviations are their root mean square, `dual` and `basis` undo each other
    inside = motion.coordinates(frames)
    np.testing.assert_allclose(inside.square().mean(0).sqrt(), motion.deviation, rtol=1e-4)
    np.testing.assert_allclose(frames.flatten(1) @ motion.dual, inside / motion.deviation, atol=1e-3)
    np.testing.assert_allclose(motion.basis @ motion.dual, np.eye(4), atol=1e-3)
    again = motion.coordinates(motion.displacements(inside))
    np.testing.assert_allclose(again, inside, atol=1e-6)


def test_principal_motion_gives_no_more_than_there_is():
    frames = torch.zeros(8, 5, 3)
    frames[:, 0, 1] = torch.arange(8.0)
    assert len(principal_motion(lambda: [frames], 6, torch.ones(5)).deviation) == 1


def test_both_parts_are_found_in_takes_of_both_kinds(takes, motion, tiny_face):
    speech, expression = groups(takes, motion)
    split = closed_form_split(tiny_face, motion, speech, expression)

    def field(flat):
        return torch.from_numpy(flat).float().view(len(flat), -1, 3)

    for found, group, part in (
        (split.expression_in_speech, takes[0], 1),
        (split.speech_in_expression, takes[1], 0),
    ):
        wrong = sum((found(field(sum(take))) - field(take[part])).square().sum().item() for take in group)
        there = sum(field(take[part]).square().sum().item() for take in group)
        assert (wrong / there) ** 0.5 < 0.1  # 1 is what leaving it in costs


def test_blinks_are_fast_and_yet_no_speech(takes, motion, tiny_face):
    spoken, worn = speech_and_expression(groups(takes, motion)[0], Field.build(tiny_face, motion))
    brow = coordinates(motion, tiny_face.shape("browInnerUp").reshape(1, -1).astype(np.float64))[0]
    jaw = coordinates(motion, tiny_face.shape("jawOpen").reshape(1, -1).astype(np.float64))[0]
    for shape, mine, other in ((brow, worn, spoken), (jaw, spoken, worn)):
        unit = shape / np.linalg.norm(shape)
        assert unit @ mine @ unit > 10 * (unit @ other @ unit)


def test_brows_that_go_up_with_every_open_mouth_are_expression(takes, motion, tiny_face):
    """Neither time nor correlation tells them from speech, only their place."""
    jaw, brow = (
        coordinates(motion, tiny_face.shape(n).reshape(1, -1).astype(np.float64))[0] for n in ("jawOpen", "browInnerUp")
    )
    opening = np.repeat(np.random.default_rng(3).uniform(0, 1, (40, 30, 1)), 4, axis=1)
    held = np.random.default_rng(4).uniform(0, 0.2, (40, 1, 1))
    speech = Group([o * (jaw + 0.4 * brow) + h * brow for o, h in zip(opening, held)], ["a"] * 40)
    split = closed_form_split(tiny_face, motion, speech, groups(takes, motion)[1])
    left = (jaw + 0.4 * brow) @ (np.eye(len(jaw)) - split.slow.double().numpy())
    assert np.linalg.norm(left - jaw) < 0.1 * np.linalg.norm(0.4 * brow)


def test_a_reference_is_drawn_out_to_where_a_label_has_least_speech():
    random = np.random.default_rng(4)
    pure, spoken = np.eye(6)[:2]
    amounts = np.concatenate([[0.0, 0.0], random.uniform(0.3, 1.0, 18)])
    takes = [
        np.outer(np.hanning(40), size * (pure + amount * spoken) + random.normal(0, 0.02, 6))
        for size, amount in zip(random.uniform(0.7, 1.2, 20), amounts)
    ]
    share = np.diag([0.0, 0.8, 0, 0, 0, 0])  # knows the direction, not that it takes all
    means = means_of(takes)
    found = reference(means, share, np.zeros((6, 6)))
    assert found @ pure > 0.999 * np.linalg.norm(found)  # the mean of the takes has 0.86
    alone = reference(means[:1], share, np.zeros((6, 6)))
    assert alone @ pure > 0.99 * np.linalg.norm(alone)  # a single take is its own reference


def plain_field():
    """Six coordinates: the first is above the mouth, the third parts the lips."""
    lower, axes = np.diag([0, 1, 1, 1, 1, 1.0]), np.eye(6)
    return Field(np.zeros((0, 3)), np.zeros((3, 0, 6)), lower, axes[:, 2:3])


def test_a_pair_is_the_expression_and_the_way_of_speaking_of_a_label():
    random = np.random.default_rng(6)
    pure, spoken = np.array([1, 1, 0.4, 0, 0, 0.0]), np.array([0, 0, 1.5, -1, 0, 0.0])
    amounts = np.concatenate([np.zeros(3), random.uniform(0.2, 1.2, 37)])
    takes = [
        np.outer(np.hanning(40), size * (pure + amount * spoken) + random.normal(0, 0.01, 6))
        for size, amount in zip(random.uniform(0.6, 1.4, 40), amounts)
    ]
    # parted lips (0.4) are the expression's own: the cleanest takes have them
    face, talk = _pair(takes, plain_field(), 0.05)
    assert face @ pure > 0.998 * np.linalg.norm(face) * np.linalg.norm(pure)  # the mean of the takes has 0.83
    assert talk @ spoken > 0.995 * np.linalg.norm(talk) * np.linalg.norm(spoken)
    # and the way of speaking is as large as it is in a typical take
    typical = np.sqrt(np.square(amounts).mean()) * np.linalg.norm(spoken) / np.linalg.norm(pure)
    assert np.linalg.norm(talk) / np.linalg.norm(face) == pytest.approx(typical, rel=0.15)


def test_what_comes_and_goes_at_times_of_its_own_is_no_habit_of_a_person():
    """Another curl of the lip in every person looks like a way of speaking, but not within a take."""
    random = np.random.default_rng(6)
    pure, spoken, habit = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1.5, -1, 0, 0], [0, 0, 0.3, -0.5, 0.5, 0]])
    frames = np.arange(60)[:, None]
    found = []
    for late in (6, 0):
        takes = []
        for amount in np.concatenate([np.zeros(3), random.uniform(0.2, 1.2, 37)]):
            rise, said = (np.clip(np.sin((frames - delay) / 60 * np.pi), 0, 1) for delay in (0, late))
            takes.append(rise * (pure + random.normal(0, 0.7) * habit) + said * amount * spoken)
        talk = _pair(takes, plain_field(), 0.05)[1]
        found.append(talk @ spoken / (np.linalg.norm(talk) * np.linalg.norm(spoken)))
    assert found[0] > 0.999
    assert found[1] < 0.99  # said and shown at the same times: nothing tells


def test_what_faces_show_in_talk_is_some_of_what_they_show_in_expressions(tiny_face, motion):
    """Talk that says little of it by itself borrows from the labels; the lips part by the same share as the rest."""
    field = Field.build(tiny_face, motion)
    jaw, smile = (
        coordinates(motion, tiny_face.shape(n).reshape(1, -1).astype(np.float64))[0]
        for n in ("jawOpen", "mouthSmileLeft")
    )
    anything = 0.04 * (smile @ smile) * np.eye(len(jaw)) / len(jaw)  # as large as a fifth of a smile
    talk = Talk(np.outer(jaw, jaw) + anything, anything)
    pairs = {"happy": (smile, jaw)}

    def kept(shape, labels):
        return shape - shape @ expression_in_talk(labels, field, talk)

    told, blind = (np.linalg.norm(kept(smile, Labels(p, 1.0))) / np.linalg.norm(smile) for p in (pairs, {}))
    assert told < 0.3
    assert blind > 0.4
    parting = smile + 0.3 * jaw  # a smile that parts the lips
    sealed_by = [
        field.parted(kept(parting, Labels({"grin": (parting, jaw)}, within))) / field.parted(parting)
        for within in (0.01, 100.0)
    ]
    assert sealed_by[0] > 0.9  # it is speech, where expressions part no lips
    assert sealed_by[1] < 0.5


def test_takes_tell_a_way_of_speaking_as_far_as_they_differ_more_than_people_do():
    smile, none = np.array([3.0, 4.0]), np.zeros(2)
    assert certainty(smile, none) == 0  # a single take, or takes all alike
    assert certainty(smile, 0.03**0.5 * smile[::-1]) == pytest.approx(0.5)
    assert 0.97 < certainty(smile, smile) < 1
    assert certainty(none, none) == 0  # a neutral face


def smooth_by_loops(field, energy, length):
    count, size = len(field.points), field.axes.shape[2]
    kernel = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            apart = sum((field.points[i, k] - field.points[j, k]) ** 2 for k in range(3))
            kernel[i, j] = (energy[i] * energy[j]) ** 0.5 * np.exp(-apart / (2 * length**2)) + 0.05**2 * (i == j)
    precision = np.zeros((size, size))
    for axis in field.axes:
        precision += axis.T @ np.linalg.inv(kernel) @ axis
    return np.linalg.inv(precision)


def test_people_differ_smoothly_and_where_a_shape_is(tiny_face, motion):
    field = Field.build(tiny_face, motion)
    energy = np.random.default_rng(8).uniform(0.1, 2, len(field.points))
    np.testing.assert_allclose(field.smooth(energy, 12.0), smooth_by_loops(field, energy, 12.0), rtol=1e-6, atol=1e-9)
    brow = coordinates(motion, tiny_face.shape("browInnerUp").reshape(1, -1).astype(np.float64))[0]
    differ = field.energy(variety(brow, field))
    own = field.energy(np.outer(brow, brow))
    moved = own > 0.5 * own.max()
    assert differ[own < 1e-3 * own.max()].mean() < 0.3 * differ[moved].mean()
    assert differ[moved].mean() < 0.03 * own[moved].mean()


def test_how_far_expressions_part_the_lips_is_read_from_the_cleanest_takes(tiny_face, shapes, takes, motion):
    """The same opening is the expression's where a label's cleanest takes have it, and speech's where they do not."""
    field, random = Field.build(tiny_face, motion), np.random.default_rng(9)
    speech = [coordinates(motion, sum(take)) for take in takes[0]]
    jaw, brow = (coordinates(motion, shapes[name][None])[0] for name in ("jawOpen", "browInnerUp"))
    rise = np.sin(np.linspace(0, np.pi, 60))[:, None]
    amounts = np.concatenate([np.zeros(4), random.uniform(0.2, 1, 26)])
    kept = []
    for opening, count in ((0.0, 30), (0.5, 30), (0.5, 4)):
        own = [rise * (2 * brow + (opening + 0.5 * amount) * jaw) for amount in amounts[:count]]
        split = closed_form_split(
            tiny_face, motion, Group(speech, ["a"] * len(speech)), Group(own, ["gasp"] * len(own))
        )
        clean = 2 * brow + 0.5 * jaw
        kept.append(field.parted(clean - clean @ split.speech_of("gasp").double().numpy()) / field.parted(clean))
    assert kept[0] < 0.02
    assert kept[1] > 0.5
    assert kept[2] < 0.02  # four takes, all clean, might as well all be spoken


def test_a_label_that_never_moves_has_no_shape_and_spoils_none(takes, motion, tiny_face):
    speech, expression = ([coordinates(motion, sum(take)) for take in group] for group in takes)
    still = [np.zeros_like(take) for take in expression[:2]]
    names = ["neutral"] * 2 + ["smile", "brow"] * (len(expression) // 2)
    split = closed_form_split(tiny_face, motion, Group(speech, ["a"] * len(speech)), Group(still + expression, names))
    assert all(torch.isfinite(matrix).all() for matrix in (split.slow, *split.spoken.values()))


def test_a_face_without_lips_is_refused(takes, motion, tiny_face):
    speech, expression = ([coordinates(motion, sum(take)) for take in group] for group in takes)
    blank = replace(tiny_face, regions={"eyes": tiny_face.regions["eyes"]})
    with pytest.raises(VisemoError, match="face tiny: got regions eyes, expected lips too"):
        closed_form_split(blank, motion, Group(speech, ["a"] * 24), Group(expression, ["b"] * 24))


def test_what_is_known_of_the_lips_is_taken_from_a_covariance(tiny_face, motion):
    """Sealed, a covariance is what is left of a Gaussian once the parting of the lips has been measured as nothing."""
    field = Field.build(tiny_face, motion)
    count = field.parting.shape[1]
    mixed = np.random.default_rng(2).standard_normal((len(field.parting), len(field.parting)))
    covariance = mixed @ mixed.T
    kept = sealed(covariance, field, 0.2)
    precision = np.linalg.inv(covariance) + field.parting @ field.parting.T * count / 0.2**2
    np.testing.assert_allclose(kept, np.linalg.inv(precision), rtol=1e-6, atol=1e-9)
    apart = [np.trace(field.parting.T @ c @ field.parting) ** 0.5 for c in (covariance, kept)]
    assert apart[1] < 0.2 < apart[0]


def test_labels_have_maps_of_their_own_and_strangers_share_one(takes, motion, tiny_face):
    split = closed_form_split(tiny_face, motion, *groups(takes, motion))
    field = Field.build(tiny_face, motion)
    label = next(iter(set(split.spoken) - {""}))
    assert not torch.equal(split.speech_of(label), split.speech_of(""))
    assert torch.equal(split.speech_of("never met"), split.speech_of(""))
    jaw = coordinates(motion, tiny_face.shape("jawOpen").reshape(1, -1).astype(np.float64))[0]
    for name in split.spoken:
        kept = jaw - jaw @ split.speech_of(name).double().numpy()
        # a jaw that opens parts the lips: all but nothing of that stays with the expression
        assert np.linalg.norm(kept @ field.parting) < 0.1 * np.linalg.norm(jaw @ field.parting)


def test_takes_without_both_kinds_of_motion_are_refused(takes, motion, tiny_face):
    speech, expression = groups(takes, motion)
    still = Group([np.repeat(take[:1], 120, axis=0) for take in speech.takes], speech.names)
    with pytest.raises(VisemoError, match="got speech takes without fast or without lasting motion"):
        closed_form_split(tiny_face, motion, still, expression, SplitConfig())


def test_a_store_without_one_kind_of_takes_is_refused(tiny_face, tmp_path):
    from visemo.data.dataset import StoreWriter, Take
    from visemo.training.corpus import Corpus

    with StoreWriter(tmp_path / "s", tiny_face, source="none", fps=30.0, licence="CC0-1.0") as writer:
        writer.add_subject("S", tiny_face.template)
        writer.add_take(Take("S_1", "S", "expression", 4, 30.0, label="happy"), np.zeros((4, 532, 3), np.float32))
        writer.add_split("one", {"train": ("S_1",), "val": (), "test": ()})
    corpus = Corpus([tmp_path / "s"], tiny_face, "one")
    assert len(corpus.takes("train", "expression")) == 1
    with pytest.raises(VisemoError, match="got no speech takes to train with, expected some"):
        corpus.takes("train", "speech")
