"""The toy corpus, a model of it, and its report: made once for all tests of this folder."""

from dataclasses import replace

import pytest
import torch

from toy_corpus import make_toy_store
from visemo.evaluate.report import evaluate
from visemo.models.checkpoint import Model
from visemo.models.expressions import ExpressionLibrary
from visemo.models.fusion import Fusion
from visemo.models.speech_motion import SpeechMotion
from visemo.training.fusion import FusionTask
from visemo.training.recipes import FusionRecipe


@pytest.fixture(scope="session")
def store(tiny_face, tmp_path_factory):
    return make_toy_store(tmp_path_factory.mktemp("toy") / "store", tiny_face)


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def rows(model, store, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "out"
    shares = []
    found = evaluate(model, [store], out, progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0
    return {(row.name, row.mode): row for row in found}, out
