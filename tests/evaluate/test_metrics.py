"""Each measure against a number worked out by hand."""

import numpy as np
import pytest

from visemo.evaluate import metrics
from visemo.types import VisemoError

LIPS = np.array([0, 1], np.int32)
PAIRS = np.array([[0, 1], [2, 3]], np.int32)


def off(*distances: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and truth (T, V, 3) m that lie `distances` (T, V) mm apart, each along its own direction."""
    wanted = 0.001 * np.array(distances)
    way = np.random.default_rng(2).normal(size=(*wanted.shape, 3))
    way /= np.linalg.norm(way, axis=2, keepdims=True)
    truth = np.random.default_rng(3).uniform(-0.1, 0.1, way.shape)
    return (truth + wanted[..., None] * way).astype(np.float32), truth.astype(np.float32)


def close(number: float):
    return pytest.approx(number, abs=2e-4)  # float32 vertices of 0.1 m: 1e-5 mm each


# ---------------------------------------------------------------- lips


def test_lip_gap_is_the_mean_distance():
    face = np.zeros((2, 4, 3), np.float32)
    face[0, 0] = (0.003, 0.004, 0)  # 5 mm, the other pair touches
    face[1, 2] = (0, -0.001, 0)  # a crossing is a distance too
    np.testing.assert_allclose(metrics.lip_gap(face, PAIRS), [2.5, 0.5], atol=1e-6)


def test_crossing_counts_only_lips_in_the_wrong_order():
    face = np.zeros((3, 4, 3), np.float32)
    face[0, 0, 1] = 0.004  # open
    face[1, 0, 1], face[1, 2, 1] = -0.003, 0.010  # one pair passed, one open: no credit for it
    face[2, [1, 3], 1] = 0.002  # both passed
    np.testing.assert_allclose(metrics.crossing(face, PAIRS), [0, 1.5, 2], atol=1e-6)


def test_mouth_opening_difference_of_one_pair_and_of_all():
    truth = np.zeros((2, 4, 3), np.float32)
    pred = truth.copy()
    truth[:, 0, 1] = 0.004, 0.008  # first pair: 4, 8 mm; the other touches
    pred[:, 0, 1], pred[:, 2, 1] = (0.002, 0.010), (0.002, 0.004)
    assert metrics.mouth_opening_difference(pred, truth, PAIRS[:1]) == pytest.approx((2 + 2) / 2, abs=1e-5)
    assert metrics.mouth_opening_difference(pred, truth, PAIRS) == pytest.approx((0 + 3) / 2, abs=1e-5)
    with pytest.raises(VisemoError, match=r"mouth opening: got shapes \(1, 4, 3\) and \(2, 4, 3\)"):
        metrics.mouth_opening_difference(pred[:1], truth, PAIRS)


def test_closure_recall_counts_the_moments_at_which_lips_meet():
    gaps = np.array([5, 5, 0.9, 5, 5, 5, 1.1, 5, 5, 0, 5.0])  # frames 2 and 9 shut, 6 all but
    assert metrics.closure_recall(gaps, [0.2, 0.6, 0.9], fps=10, reach=0) == pytest.approx(2 / 3)
    assert metrics.closure_recall(gaps, [0.2, 0.6, 0.9], fps=10, within=1.1, reach=0) == 1
    assert metrics.closure_recall(gaps, [0.1, 0.3], fps=10, reach=0.1) == 1, "a frame beside"
    assert metrics.closure_recall(gaps, [0.0, 0.4], fps=10, reach=0.1) == 0, "two frames beside"
    assert metrics.closure_recall(gaps, [1.1], fps=10, reach=0.1) == 0, "the last frame lasts until then"


@pytest.mark.parametrize("times", [[], [-0.1], [1.0, 1.3]])
def test_closures_outside_the_clip_are_refused(times):
    with pytest.raises(VisemoError, match=r"closure recall: got closure times .*, expected some within 0..1.2 s"):
        metrics.closure_recall(np.zeros(12), times, fps=10)


def test_around_rounds_outwards_and_keeps_a_frame():
    curve = np.arange(6)
    assert metrics.around(curve, 0.25, 0.35, fps=10).tolist() == [2, 3, 4]
    assert metrics.around(curve, 0.2, 0.3, fps=10).tolist() == [2, 3]
    assert metrics.around(curve, -1, 0, fps=10).tolist() == [0]
    assert metrics.around(curve, 7, 8, fps=10).tolist() == [5]


# ---------------------------------------------------------------- errors


def test_errors_of_planted_distances():
    pred, truth = off([1, 2, 9], [4, 3, 0])
    np.testing.assert_allclose(metrics.vertex_errors(pred, truth), [[1, 2, 9], [4, 3, 0]], atol=2e-4)
    assert metrics.mean_vertex_error(pred, truth) == close(19 / 6)
    assert metrics.mean_vertex_error(pred, truth, LIPS) == close(2.5)
    assert metrics.lve(pred, truth, LIPS) == close((2 + 4) / 2)
    assert metrics.lve_squared(pred, truth, LIPS) == pytest.approx((4 + 16) / 2, abs=1e-3)
    assert metrics.lve_rms(pred, truth, LIPS) == close(10**0.5)
    assert metrics.mean_max_squared_error(pred, truth) == pytest.approx((81 + 16) / 2, abs=4e-3)
    assert metrics.root_mean_squared_error(pred, truth) == close(((1 + 4 + 81 + 16 + 9 + 0) / 6) ** 0.5)
    assert metrics.root_mean_squared_error(pred, truth, LIPS) == close((30 / 4) ** 0.5)
    assert metrics.upper_face_error(pred, truth, np.array([1, 2], np.int32)) == close((9 + 3) / 2)
    assert metrics.worst_vertex_error(pred, truth, LIPS) == close((1 + 4) / 2)
    assert metrics.worst_vertex_error(pred, truth, np.arange(3)) == close(4.5)


def test_nothing_wrong_is_no_error():
    _, truth = off([1, 2], [3, 4])
    for measure in (metrics.lve, metrics.lve_squared, metrics.lve_rms, metrics.worst_vertex_error):
        assert measure(truth, truth, LIPS) == 0
    assert metrics.upper_face_deviation(truth, truth, LIPS) == 0


def test_unequal_shapes_are_refused():
    with pytest.raises(VisemoError, match=r"error: got shapes \(2, 3, 3\) and \(1, 3, 3\)"):
        metrics.vertex_errors(np.zeros((2, 3, 3), np.float32), np.zeros((1, 3, 3), np.float32))


def test_upper_face_deviation_is_signed():
    truth = np.zeros((2, 3, 3), np.float32)
    truth[1, 0, 1] = 0.002  # squared displacement 0, 4 mm^2: standard deviation 2
    truth[1, 1] = (0.001, 0, 0.001)  # 0, 2: 1
    truth[:, 2] = 1.0  # not asked for
    still = np.zeros_like(truth)
    assert metrics.upper_face_deviation(still, truth, LIPS) == pytest.approx(1.5, abs=1e-5)
    assert metrics.upper_face_deviation(truth, still, LIPS) == pytest.approx(-1.5, abs=1e-5)
    for pred, actual in ((still, truth), (truth, still)):
        assert metrics.upper_face_deviation_abs(pred, actual, LIPS) == pytest.approx(1.5, abs=1e-5)


def test_codetalkers_numbers_are_theirs():
    """Beside a twin that goes as cal_metric.py: raw units, squares, no root; frames pooled, sequences averaged."""
    random = np.random.default_rng(11)
    template = random.uniform(-0.1, 0.1, (7, 3))
    truths = [template + random.normal(0, 0.003, (frames, 7, 3)) for frames in (5, 9)]
    preds = [truth + random.normal(0, 0.002, truth.shape) for truth in truths]
    mouth, upper = [0, 3, 4], [1, 5]

    pooled = np.concatenate(truths) - np.concatenate(preds)
    their_lve = np.mean([max(sum(frame[v] ** 2) for v in mouth) for frame in pooled])
    stds = [
        [np.std(np.sum((m - template)[:, upper] ** 2, axis=2), axis=0).mean() for m in ms] for ms in (truths, preds)
    ]
    their_fdd = np.mean(np.array(stds[0]) - np.array(stds[1]))

    frames = [len(truth) for truth in truths]
    ours = np.average([metrics.lve_squared(p, t, mouth) for p, t in zip(preds, truths)], weights=frames)
    assert 1e-6 * ours == pytest.approx(their_lve, rel=1e-12)
    fdd = np.mean([metrics.upper_face_deviation(p - template, t - template, upper) for p, t in zip(preds, truths)])
    assert 1e-6 * fdd == pytest.approx(their_fdd, rel=1e-12)


# ---------------------------------------------------------------- against the naive sum


def test_ratios_to_the_naive_sum():
    truth = np.zeros((1, 3, 3), np.float32)
    fused, naive = truth.copy(), truth.copy()
    fused[0, :, 1] = 0.001, 0.002, 0.000
    naive[0, :, 2] = 0.004, 0.001, 0.001
    assert metrics.fused_ratio(fused, naive, truth) == pytest.approx(3 / 6)
    assert metrics.worst_lip_ratio(fused, naive, truth, LIPS) == pytest.approx(2 / 4)
    with pytest.raises(VisemoError, match="ratio: got a naive sum without error"):
        metrics.fused_ratio(fused, truth, truth)
    with pytest.raises(VisemoError, match="ratio: got a naive sum without error"):
        metrics.worst_lip_ratio(fused, truth, truth, LIPS)


# ---------------------------------------------------------------- expression


def test_retention_is_size_and_direction():
    pure = np.zeros((1, 2, 3), np.float32)
    pure[0, 0], pure[0, 1] = (3, 0, 0), (0, 4, 0)
    assert metrics.retention(0.5 * pure, pure) == pytest.approx((0.5, 1))
    assert metrics.retention(-pure, pure) == pytest.approx((-1, -1))
    beside = np.zeros_like(pure)
    beside[0, 0] = (3, 0, 4)  # 9 of 25 along, both of length 5
    assert metrics.retention(beside, pure) == pytest.approx((9 / 25, 9 / 25))
    assert metrics.retention(np.zeros_like(pure), pure) == (0, 0)


# ---------------------------------------------------------------- time


def test_jitter_is_the_mean_acceleration():
    time = np.arange(6) / 25
    fall = np.zeros((6, 2, 3))
    fall[:, 0, 1] = -0.5 * 9.81 * time**2
    fall[:, 1, 0] = 3 * time  # steady motion does not jitter
    assert metrics.jitter(fall, fps=25) == pytest.approx(9.81 / 2)
    with pytest.raises(VisemoError, match="jitter: got 2 frames"):
        metrics.jitter(fall[:2])


def test_velocity_error_forgives_what_stands_still():
    truth = np.zeros((3, 2, 3), np.float32)
    pred = truth + np.float32(0.01)
    assert metrics.velocity_error(pred, truth, fps=25) == 0
    pred[1:, 0] += np.array([0.003, 0.004, 0], np.float32)  # one step of 5 mm, one of none; the other vertex stays
    assert metrics.velocity_error(pred, truth, fps=25) == pytest.approx(5 * 25 / 4, rel=1e-5)
    assert metrics.velocity_error(pred, truth, LIPS[:1], fps=25) == pytest.approx(5 * 25 / 2, rel=1e-5)
    with pytest.raises(VisemoError, match="velocity: got 1 frames"):
        metrics.velocity_error(pred[:1], truth[:1])
    with pytest.raises(VisemoError, match="velocity: got shapes"):
        metrics.velocity_error(pred[:2], truth)


def test_correlation_finds_the_planted_lag():
    curve = np.random.default_rng(4).normal(size=80)
    reference, late = curve[5:75], curve[2:72]  # late[t] = reference[t - 3]
    assert metrics.correlation(2 * late + 7, reference, max_lag=5) == (pytest.approx(1), 3)
    assert metrics.correlation(reference, late, max_lag=5) == (pytest.approx(1), -3)
    assert metrics.correlation(-late, late) == (pytest.approx(-1), 0)
    x, y = np.array([1.0, 2, 3, 5]), np.array([2.0, 1, 4, 4])
    assert metrics.correlation(x, y) == (pytest.approx(np.corrcoef(x, y)[0, 1]), 0)


def test_curves_that_cannot_correlate_are_refused():
    curve = np.arange(4.0)
    for signal, reference, lag in ((curve, curve[:3], 0), (np.zeros((4, 2)), np.zeros((4, 2)), 0), (curve, curve, 3)):
        with pytest.raises(VisemoError, match="correlation: got shapes"):
            metrics.correlation(signal, reference, lag)
    with pytest.raises(VisemoError, match="does not vary"):
        metrics.correlation(curve, np.ones(4), 1)


# ---------------------------------------------------------------- certainty


def test_bootstrap_interval_of_known_samples():
    assert metrics.bootstrap_interval([3.0, 3, 3]) == (3, 3, 3)
    values = np.random.default_rng(6).normal(10, 2, 400)
    value, low, high = metrics.bootstrap_interval(values)
    error = values.std() / 20  # standard error of the mean of 400
    assert value == pytest.approx(values.mean())
    assert value - low == pytest.approx(1.96 * error, rel=0.1) and high - value == pytest.approx(1.96 * error, rel=0.1)
    assert metrics.bootstrap_interval(values) == (value, low, high)
    assert metrics.bootstrap_interval(values, level=0.5)[1] > low


def test_bootstrap_draws_whole_sequences():
    pairs = np.array([[1.0, 2], [2, 4], [5, 10]])  # the quotient is 0.5 in every draw that keeps rows whole
    quotient = lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum())  # noqa: E731
    assert metrics.bootstrap_interval(pairs, quotient) == (0.5, 0.5, 0.5)
    with pytest.raises(VisemoError, match="interval: got no sequences"):
        metrics.bootstrap_interval([])
