import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny import K_E, make_takes
from visemo.animation.timeline import DEFAULT_FADE, Key, Timeline
from visemo.models.expressions import ExpressionLibrary
from visemo.types import VisemoError

FPS = 30


@pytest.fixture(scope="module")
def library() -> ExpressionLibrary:
    return ExpressionLibrary.from_takes(make_takes())


def line(*keys: tuple, mix: str = "replace") -> Timeline:
    return Timeline(tuple(Key(*key) for key in keys), mix)  # type: ignore[arg-type]


def test_a_key_fades_in_over_its_time_and_stays():
    seconds = np.arange(0, 3, 0.1)
    level = line((1.0, "happy", 0.8, 0.5)).levels(seconds)["happy"]
    assert not level[seconds <= 1.0].any()
    assert np.isclose(level[np.isclose(seconds, 1.2)], 0.8 * 0.352).all()  # smoothstep(0.4)
    assert np.allclose(level[seconds >= 1.5], 0.8)


def test_replace_fades_the_last_one_out_as_the_new_one_comes():
    seconds = np.linspace(0, 4, 401)
    levels = line((0.0, "happy", 1.0, 0.5), (2.0, "sad", 1.0, 1.0)).levels(seconds)
    assert np.allclose((levels["happy"] + levels["sad"])[seconds >= 0.5], 1.0)
    assert levels["happy"][-1] == 0 and levels["sad"][-1] == 1


def test_a_key_may_interrupt_a_fade_without_a_jump():
    seconds = np.linspace(0, 3, 3001)
    levels = line((0.0, "happy", 1.5, 1.0), (0.4, "sad", 1.0, 1.0), (0.6, "happy", 0.5, 0.4)).levels(seconds)
    assert max(np.abs(np.diff(level)).max() for level in levels.values()) < 0.01
    assert np.isclose(levels["happy"][-1], 0.5) and np.isclose(levels["sad"][-1], 0)


def test_add_keeps_layers_and_neutral_clears_them():
    keys = ((0.0, "happy", 0.5, 0.1), (1.0, "sad", 0.4, 0.1), (2.0, "happy", 0.0, 0.1), (3.0, "neutral", 1.0, 0.1))
    levels = line(*keys, mix="add").levels(np.array([0.5, 1.5, 2.5, 3.5]))
    assert np.allclose(levels["happy"], [0.5, 0.5, 0, 0]) and np.allclose(levels["sad"], [0, 0.4, 0.4, 0])


def test_no_fade_is_a_step():
    level = line((1.0, "happy", 1.0, 0.0)).levels(np.array([0.99, 1.0, 1.01]))["happy"]
    assert level.tolist() == [0, 1, 1]


def test_sampled_weights_are_the_held_take_at_its_level(library):
    timeline = line((0.5, "joy", 0.7, 0.2))  # an alias is understood
    w_e, eps_e = timeline.sample(library, 60, FPS, seed=3)
    seconds = np.arange(60) / FPS
    held, leak = library.hold("happy", seconds, seed=3)
    level = timeline.levels(seconds)["joy"][:, None].astype(np.float32)
    assert w_e.shape == (60, K_E) and w_e.dtype == np.float32 and not w_e[:15].any()
    assert np.allclose(w_e, level * held, atol=1e-6) and np.allclose(eps_e, level * leak, atol=1e-6)


def test_an_alias_and_its_name_are_one_layer(library):
    both = line((0.0, "happy", 0.5, 0.0), (0.0, "joy", 0.5, 0.0), mix="add").sample(library, 3)[0]
    assert np.allclose(both, line((0.0, "happy", 0.5, 0.0)).sample(library, 3)[0], atol=1e-6)


def test_unknown_expression_is_answered_with_the_list(library):
    with pytest.raises(VisemoError, match="'smug', expected one of neutral, Afraid"):
        line((0.0, "smug")).sample(library, 10)


def test_read_from_a_file(tmp_path):
    path = tmp_path / "line.json"
    path.write_text('{"keys": [{"t": 0.5, "expression": "happy"}, {"t": 2, "expression": "sad", "intensity": 0.3}]}')
    timeline = Timeline.read(path)
    assert timeline == line((0.5, "happy", 1.0, DEFAULT_FADE), (2, "sad", 0.3, DEFAULT_FADE))
    assert Timeline.from_dict(timeline.to_dict()) == timeline


BAD = {
    "no list": ("[]", r"timeline: got \[\], expected an object"),
    "unknown field": ('{"keys": [{"t": 0, "expression": "happy"}], "loop": 1}', "got field 'loop', expected keys, mix"),
    "no keys field": ('{"mix": "add"}', "got no 'keys'"),
    "keys of another type": ('{"keys": {}}', "expected a list"),
    "no keys": ('{"keys": []}', "no keys"),
    "mix": ('{"keys": [{"t": 0, "expression": "happy"}], "mix": "blend"}', "got mix 'blend'"),
    "key of another type": ('{"keys": [3]}', "timeline key: got 3"),
    "unknown field of a key": ('{"keys": [{"t": 0, "expression": "happy", "easing": 1}]}', "got field 'easing'"),
    "no time": ('{"keys": [{"expression": "happy"}]}', "got no 't'"),
    "time as text": ('{"keys": [{"t": "0", "expression": "happy"}]}', "got t '0'"),
    "time as bool": ('{"keys": [{"t": true, "expression": "happy"}]}', "got t True"),
    "negative time": ('{"keys": [{"t": -1, "expression": "happy"}]}', "got t -1"),
    "NaN": ('{"keys": [{"t": NaN, "expression": "happy"}]}', "got t nan"),
    "negative fade": ('{"keys": [{"t": 0, "expression": "happy", "fade": -1}]}', "got fade -1"),
    "expression of another type": ('{"keys": [{"t": 0, "expression": 3}]}', "got expression 3"),
    "intensity": ('{"keys": [{"t": 0, "expression": "happy", "intensity": 2}]}', "intensity: got 2"),
    "unsorted": ('{"keys": [{"t": 1, "expression": "happy"}, {"t": 0, "expression": "sad"}]}', "sorted by time"),
    "twice": ('{"keys": [{"t": 0, "t": 1, "expression": "happy"}]}', "'t' twice"),
    "no JSON": ("hello", "expected JSON text"),
    "too deep": ("[" * 100_000, "expected JSON text"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_a_timeline_is_refused_in_one_line(name, tmp_path):
    text, match = BAD[name]
    path = tmp_path / "line.json"
    path.write_text(text)
    with pytest.raises(VisemoError, match=match) as caught:
        Timeline.read(path)
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(VisemoError, match="No such file"):
        Timeline.read(tmp_path / "none.json")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(VisemoError, match="expected JSON text"):
        Timeline.read(tmp_path / "bytes")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["keys", "mix", "t", "expression", "intensity", "fade", "x"]), inner, max_size=4
        )
    ),
)


@given(JSON)
@settings(max_examples=200, deadline=None)
def test_any_json_is_a_timeline_or_refused(data):
    try:
        timeline = Timeline.from_dict(json.loads(json.dumps(data)))
    except VisemoError as error:
        assert "\n" not in str(error)
    else:
        assert Timeline.from_dict(timeline.to_dict()) == timeline


KEYS = st.tuples(st.floats(0, 5), st.sampled_from("abc"), st.floats(0, 1.5), st.floats(0, 2))


@given(st.lists(KEYS, min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_levels_stay_within_what_the_keys_say(keys):
    levels = line(*sorted(keys, key=lambda key: key[0])).levels(np.linspace(0, 8, 200))
    total = sum(levels.values())
    assert (total >= -1e-9).all() and (total <= max(key[2] for key in keys) + 1e-9).all()
