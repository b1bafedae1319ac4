"""The report: what is planted comes back as numbers."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from toy_corpus import make_toy_store
from visemo.data.dataset import open_store
from visemo.evaluate.metrics import lve, mean_vertex_error
from visemo.evaluate.report import evaluate, likeness
from visemo.models.checkpoint import Model
from visemo.models.expressions import ExpressionLibrary
from visemo.models.fusion import Fusion
from visemo.models.speech_motion import SpeechMotion
from visemo.training.fusion import FusionTask
from visemo.training.recipes import FusionRecipe
from visemo.types import VisemoError


@pytest.fixture(scope="module")
def store(tiny_face, tmp_path_factory):
    return make_toy_store(tmp_path_factory.mktemp("toy") / "store", tiny_face)


@pytest.fixture(scope="module")
def model(store, tiny_face, tiny_model) -> Model:
    """A speech model that says nothing, and a fusion module at its closed-form start."""
    from visemo.training.corpus import Corpus

    recipe = replace(FusionRecipe.default(1), speech_shapes=8, expression_shapes=8, pool=300)
    torch.manual_seed(0)
    fusion = FusionTask(recipe, Corpus([store], tiny_face, "faceformer"), torch.device("cpu")).model.eval()
    assert isinstance(fusion, Fusion)
    torch.manual_seed(0)
    silent = SpeechMotion(tiny_model.speech.config).eval()  # its last layer starts at zero
    library = ExpressionLibrary({}, (8, 8))
    return replace(tiny_model, name="toy", speech=silent, fusion=fusion, expressions=library)


@pytest.fixture(scope="module")
def rows(model, store, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "out"
    shares = []
    found = evaluate(model, [store], out, progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0
    return {(row.name, row.mode): row for row in found}, out


def test_errors_of_a_silent_model_are_those_of_a_face_at_rest(rows, store, model):
    table, _ = rows
    opened, lips = open_store(store), model.face.regions["lips"]
    talks = [id for id in opened.split("faceformer")["test"] if opened.sequence(id).kind == "speech"]
    rest = [lve(np.zeros_like(m), m, lips) for m in (np.asarray(opened.motion(id), np.float32) for id in talks)]
    row = table["lve", "speech"]
    assert row.value == pytest.approx(np.mean(rest), rel=1e-5) and row.n == len(talks) == 4
    assert row.low <= row.value <= row.high
    assert table["lve through the fusion module", "speech"].value == pytest.approx(row.value, rel=1e-4)
    assert table["lve change by the fusion module", "speech"].value == pytest.approx(0, abs=1e-4)
    # the loudness of the voice is the opening of the jaw: that baseline has to find it
    loud, mean = table["lve energy jaw", "speech"].value, table["lve mean face", "speech"].value
    assert loud < 0.9 * mean < row.value
    assert table["lve below mean face", "speech"].value == pytest.approx(100 * (1 - row.value / mean), rel=1e-4)


def test_an_expression_that_is_kept_or_half_lost_is_measured(rows):
    table, _ = rows
    row = table["emotion kept beside the lips, amplitude", "fused"]
    assert 0.7 < row.value < 1.3  # the split of the toy corpus is good
    assert table["emotion kept beside the lips, cosine", "fused"].value > 0.9
    assert sum("of the worst emotion, " in name for name, _ in table) == 2
    pure = np.random.default_rng(0).normal(size=(5, 7, 3)).astype(np.float32)
    assert likeness(0.5 * pure, pure) == pytest.approx((0.5, 1.0), rel=1e-5)
    assert likeness(0 * pure, pure) == (0, 0)


def test_reconstruction_is_measured_on_recordings(rows, store, model):
    table, _ = rows
    opened, lips = open_store(store), model.face.regions["lips"]
    errors = []
    for id in opened.split("faceformer")["test"]:
        if opened.sequence(id).kind == "expression":
            motion = torch.from_numpy(np.array(opened.motion(id))).float()
            with torch.no_grad():
                back = model.fusion.decode(torch.cat(model.fusion.encode_expression(motion), dim=1))
            errors.append(mean_vertex_error(back.numpy(), motion.numpy(), lips))
    row = table["reconstruction error of expression, lips", "expression"]
    assert row.value == pytest.approx(np.mean(errors), rel=1e-3) and row.n == len(errors)


def test_separation_is_measured_against_planted_truth(rows, store):
    table, _ = rows
    fused, naive = (table["fused face error, all vertices", mode] for mode in ("fused", "naive"))
    ratio = table["ratio to the naive sum, all vertices", "fused"]
    assert ratio.value == pytest.approx(fused.value / naive.value, rel=1e-6)
    assert ratio.value < 0.6 and ratio.low <= ratio.value <= ratio.high
    assert ratio.n == len(open_store(store).pairs)
    assert table["ratio to the naive sum, worst lip vertex", "fused"].value < 0.8


def test_the_numbers_are_written_for_machines_and_for_people(rows, model):
    table, out = rows
    content = json.loads((out / "metrics.json").read_text())
    assert set(content) == {"model", "data", "split", "rows"} and content["model"] == model.hash
    assert len(content["rows"]) == len(table)
    assert all(set(row) == {"name", "value", "unit", "low", "high", "n", "mode"} for row in content["rows"])
    lines = (out / "report.md").read_text().splitlines()
    assert lines[0] == "# toy" and sum(line.startswith("| ") for line in lines) == len(table) + 1


def test_what_cannot_be_measured_is_refused(model, store, tmp_path):
    with pytest.raises(VisemoError, match="cannot make this folder"):
        evaluate(model, [store], tmp_path / "no" / "such")
    with pytest.raises(VisemoError, match="got split 'none'"):
        evaluate(model, [store], tmp_path / "out", split="none")
