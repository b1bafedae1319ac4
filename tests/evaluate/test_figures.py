"""The paper's figures on the tiny face: what is shown is what moves, and nothing is shown that is not there."""

import numpy as np
import pytest
import torch
from PIL import Image

from tiny import K_A, make_tiny_model
from toy_corpus import make_toy_store
from visemo.evaluate.figures import ablation_figure, blendshape_figure, methods_figure, mouth_of, strongest
from visemo.evaluate.rivals.showcase import Showcase
from visemo.training.corpus import Corpus
from visemo.types import VisemoError


@pytest.fixture(scope="module")
def recordings(tiny_face, tmp_path_factory):
    store = make_toy_store(tmp_path_factory.mktemp("figures") / "toy", tiny_face, subjects=3, takes=1)
    corpus = Corpus([store], tiny_face, "faceformer")
    return [*corpus.takes("test", "speech"), *corpus.takes("test", "expression")]


@pytest.fixture()
def shown(tiny_face):
    jaw = np.stack([tiny_face.shape("jawOpen"), 0.5 * tiny_face.shape("jawOpen")])
    motion = {"truth": jaw, "ours": 0.9 * jaw, "naive sum": 1.5 * jaw}
    return Showcase("pair", "happy", ("/m/", "/aa/"), (3, 9), tiny_face.template, motion, "tiny")


def test_the_shapes_that_move_most_come_first(tiny_face, recordings, monkeypatch):
    fusion = make_tiny_model(tiny_face).fusion
    planted = torch.tensor([0.1, -3.0, 0.0, 2.0])

    def encode(block):
        return planted.repeat(len(block), 1), torch.zeros(len(block), 3)

    monkeypatch.setattr(fusion, "encode_speech", encode)
    fusion.set_basis(torch.ones_like(fusion.basis) * 1e-3)
    rows, signs = strongest(fusion, recordings[:1], 2)
    assert rows.tolist() == [1, 3] and signs.tolist() == [-1, 1]
    monkeypatch.setattr(
        fusion, "encode_expression", lambda block: (planted.repeat(len(block), 1), planted[:3].repeat(len(block), 1))
    )
    rows, signs = strongest(fusion, recordings[-1:], 1)
    assert rows.tolist() == [K_A + 1] and signs.tolist() == [-1], "rows of the whole basis"


def test_figures_are_written(tiny_face, recordings, shown, tmp_path):
    blendshape_figure(tiny_face, make_tiny_model(tiny_face).fusion, recordings, tmp_path / "4.png")
    methods_figure(shown, tiny_face, ["naive sum", "ours"], tmp_path / "5.png")
    ablation_figure(shown, tiny_face, ["naive sum", "ours"], ("/w/", "/m/"), tmp_path / "6.png")
    five, six = (np.asarray(Image.open(tmp_path / f"{n}.png").convert("L"), float) for n in (5, 6))
    assert Image.open(tmp_path / "4.png").size[0] > 400 and five.std() > 10 and six.std() > 10
    assert six.shape[1] > five.shape[1], "a face, a mouth and its errors of the one sound that there is"
    with pytest.raises(VisemoError, match="got no expression takes, expected some of both kinds"):
        blendshape_figure(tiny_face, make_tiny_model(tiny_face).fusion, recordings[:1], tmp_path / "4.png")
    with pytest.raises(VisemoError, match="got method 'best', expected one of truth, ours"):
        methods_figure(shown, tiny_face, ["best"], tmp_path / "5.png")


def test_the_mouth_is_where_the_lips_are(tiny_face):
    up = tiny_face.template[:, 1]
    height = 200
    lips = round(float((up.max() - up[tiny_face.region("lips")].mean()) / (up.max() - up.min())) * height)
    picture = np.zeros((height, 160, 3), np.uint8)
    picture[lips - 2 : lips + 2] = 255
    bright = np.flatnonzero(mouth_of(picture, tiny_face)[:, 80, 0] > 128)
    assert bright.size > 6 and abs(bright.mean() - height / 2) < height / 5
