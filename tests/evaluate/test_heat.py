"""Heat: colours that grow with the error, on the face alone."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from visemo.evaluate.heat import COLOURS, Portraits, colours_of, data_uri


@pytest.fixture(scope="module")
def portraits(tiny_face):
    return Portraits(tiny_face, np.stack([np.zeros_like(tiny_face.template), 2 * tiny_face.shape("jawOpen")]))


def test_the_scale_begins_and_ends_where_it_says():
    colours = colours_of(np.array([-1.0, 0.0, 0.5, 1.0, 7.0]))
    srgb = np.where(colours <= 0.0031308, 12.92 * colours, 1.055 * colours ** (1 / 2.4) - 0.055)
    ends = ["#" + "".join(f"{round(255 * channel):02x}" for channel in colour) for colour in srgb]
    assert ends[0] == ends[1] == COLOURS[0] and ends[3] == ends[4] == COLOURS[-1]
    steps = colours_of(np.linspace(0, 1, 30)).sum(axis=1)
    assert (np.diff(steps) < 0).all()  # darker and darker: it reads without colour too


def test_an_error_is_seen_where_it_is(portraits, tiny_face):
    errors = np.zeros(len(tiny_face.template))
    plain = portraits.heat(0, tiny_face.template, errors, 2.0).astype(int)
    errors[tiny_face.template[:, 1] > 0.05] = 2.0
    hot = portraits.heat(0, tiny_face.template, errors, 2.0).astype(int)
    rows = np.abs(hot - plain).sum(axis=(1, 2))
    third = len(rows) // 3
    assert rows[:third].sum() > 20 * max(1, rows[-third:].sum())


def test_a_displacement_moves_what_is_drawn(portraits, tiny_face):
    rest, opened = (portraits.look(number, tiny_face.template).astype(int) for number in (0, 1))
    assert rest.shape == opened.shape and rest.shape[1] < 480 and np.abs(rest - opened).sum() > 0


def test_a_picture_comes_back_from_its_address(portraits, tiny_face):
    picture = portraits.look(0, tiny_face.template)
    head, data = data_uri(picture).split(",")
    assert head == "data:image/png;base64"
    assert np.array_equal(np.array(Image.open(io.BytesIO(base64.b64decode(data)))), picture)
