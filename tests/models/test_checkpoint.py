"""Model folders: what is written comes back, and what does not fit is refused in one line."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from visemo.face import maps
from visemo.face.maps import geometry_map
from visemo.models import checkpoint
from visemo.models.checkpoint import MAP, load_model, load_parts, save_model
from visemo.types import VisemoError


@pytest.fixture(scope="module")
def folder(tiny_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny"
    m = tiny_model
    save_model(path, m.face, m.speech, m.fusion, m.expressions, training={"licence": "CC0-1.0", "steps": 3})
    return path


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_a_model_comes_back_as_it_was(folder, tiny_model):
    model = load_model(folder)
    assert model.name == "tiny" and model.face.topology_hash == tiny_model.face.topology_hash
    assert model.config["training"] == {"licence": "CC0-1.0", "steps": 3}
    assert model.speech.config == tiny_model.speech.config and model.fusion.config == tiny_model.fusion.config
    for own, loaded in ((tiny_model.speech, model.speech), (tiny_model.fusion, model.fusion)):
        assert not loaded.training
        for key, value in own.state_dict().items():
            assert torch.equal(value, loaded.state_dict()[key]), key
    before, after = (m.expressions.sample("happy", 40, seed=1) for m in (tiny_model, model))
    for own, loaded in zip(before, after):
        np.testing.assert_array_equal(own, loaded)


def test_a_model_brings_the_map_that_it_learned_on(folder, tiny_model, tmp_path, monkeypatch):
    own = tiny_model.fusion.geomap
    monkeypatch.setenv("VISEMO_CACHE", str(tmp_path / "cache"))
    maps._uv.cache_clear()
    monkeypatch.setattr(maps, "REGIONS", {"lips": 9.0})  # a flattening of today that differs
    assert not torch.equal(geometry_map(tiny_model.face, own.size).uv, own.uv)
    loaded = load_model(folder).fusion.geomap
    assert all(torch.equal(getattr(loaded, name), getattr(own, name)) for name in ("uv", "index", "weight"))
    maps._uv.cache_clear()


def test_half_precision_is_half_the_size_and_nearly_the_same(folder, tiny_model, tmp_path):
    m = tiny_model
    save_model(tmp_path / "half", m.face, m.speech, m.fusion, m.expressions, half=True)
    sizes = [(path / "model.safetensors").stat().st_size for path in (folder, tmp_path / "half")]
    assert sizes[1] < 0.6 * sizes[0]
    basis = load_model(tmp_path / "half").fusion.basis
    assert basis.dtype == torch.float32
    assert (basis - m.fusion.basis).abs().max() < 1e-5  # 0.01 mm


def test_the_hash_follows_weights_and_settings(folder, tiny_model, tmp_path):
    m = tiny_model
    again, other = tmp_path / "again", tmp_path / "other"
    save_model(again, m.face, m.speech, m.fusion, m.expressions, training={"licence": "CC0-1.0", "steps": 3})
    assert load_model(again).hash == load_model(folder).hash
    save_model(other, m.face, m.speech, m.fusion, m.expressions, training={"licence": "CC0-1.0", "steps": 4})
    assert load_model(other).hash != load_model(folder).hash
    weights = load_file(again / "model.safetensors")
    weights["speech.vertice_map.bias"][0] += 1e-3
    save_file(weights, again / "model.safetensors")
    assert load_model(again).hash != load_model(folder).hash


def test_saving_again_replaces_the_whole_folder(folder, tiny_model, tmp_path):
    path = tmp_path / "model"
    save_model(path, tiny_model.face, tiny_model.speech, tiny_model.fusion, tiny_model.expressions)
    save_model(path, tiny_model.face, speech=tiny_model.speech)
    parts = load_parts(path)
    assert parts.speech is not None and parts.fusion is None and parts.expressions is None
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    with pytest.raises(VisemoError, match="got a model without fusion, expressions, expected all"):
        load_model(path)


def test_a_failed_save_leaves_the_old_model(folder, tiny_model, tmp_path):
    path = tmp_path / "model"
    save_model(path, tiny_model.face, speech=tiny_model.speech)
    before = load_parts(path).hash
    with pytest.raises(TypeError):
        save_model(path, tiny_model.face, speech=tiny_model.speech, training={"not": object()})
    assert load_parts(path).hash == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_embedded_models_are_known_by_name(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "ASSETS", tmp_path)
    with pytest.raises(VisemoError, match="model: got 'default', expected a folder or one of no names"):
        load_model("default")
    shutil.copytree(folder, tmp_path / "default")
    assert load_model().hash == load_model(folder).hash
    with pytest.raises(VisemoError, match="model: got 'best', expected a folder or one of default"):
        load_model("best")


def test_what_half_cannot_hold_is_refused(tiny_model, tmp_path):
    import copy

    speech = copy.deepcopy(tiny_model.speech)
    with torch.no_grad():
        speech.vertice_map.bias[0] = 1e6
    with pytest.raises(VisemoError, match=r"speech.vertice_map.bias that torch.float16 cannot hold"):
        save_model(tmp_path / "m", tiny_model.face, speech=speech, half=True)
    with pytest.raises(VisemoError, match=r"got no folder .*missing, expected an existing one"):
        save_model(tmp_path / "missing" / "m", tiny_model.face, speech=speech)


def edit_config(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def edit_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


BREAKS = {
    "no config": (lambda d: (d / "config.json").unlink(), "got no config.json, expected a model folder"),
    "no weights": (lambda d: (d / "model.safetensors").unlink(), "got no model.safetensors, expected it beside"),
    "text": (lambda d: (d / "config.json").write_text("hello"), "damaged or foreign file"),
    "binary": (lambda d: (d / "config.json").write_bytes(b"\xff\xfe\x00"), "damaged or foreign file"),
    "list": (lambda d: (d / "config.json").write_text("[]"), "damaged or foreign file"),
    "foreign": (lambda d: edit_config(d, lambda c: c.update(schema="other/9")), "got schema other/9, expected visemo"),
    "cut": (lambda d: (d / "model.safetensors").write_bytes(b"\x10\x00"), "got a damaged file"),
    "setting": (lambda d: edit_config(d, lambda c: c["fusion"].update(heads=3)), "got an unknown setting heads"),
    "missing": (lambda d: edit_config(d, lambda c: c["fusion"].pop("vertices")), "got settings that do not fit"),
    "nested": (lambda d: edit_config(d, lambda c: c["speech"]["audio"].update(x=1)), "speech.audio: got an unknown"),
    "type": (lambda d: edit_config(d, lambda c: c.update(fusion=3)), "fusion: got int, expected settings by name"),
    "topology": (lambda d: edit_config(d, lambda c: c["face"].update(topology="0" * 16)), "trained on another head"),
    "shape": (
        lambda d: edit_weights(d, lambda w: w.update({"speech.vertice_map.bias": torch.zeros(3)})),
        r"got shape \(3,\) for speech.vertice_map.bias, expected shape",
    ),
    "absent": (lambda d: edit_weights(d, lambda w: w.pop("fusion.decoder.weight")), "got nothing for fusion.decoder"),
    "no map": (lambda d: edit_weights(d, lambda w: w.pop(MAP)), "got nothing for geometry_map.uv, expected float64"),
    "half map": (
        lambda d: edit_weights(d, lambda w: w.update({MAP: w[MAP].half()})),
        r"got torch.float16 of shape \(\d+, 2\) for geometry_map.uv",
    ),
    "extra": (lambda d: edit_weights(d, lambda w: w.update(spy=torch.zeros(1))), "got an unknown tensor spy"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_damaged_and_foreign_folders_are_refused_in_one_line(copy, name):
    breaks, message = BREAKS[name]
    breaks(copy)
    with pytest.raises(VisemoError, match=message) as caught:
        load_model(copy)
    assert "\n" not in str(caught.value)
