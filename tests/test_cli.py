"""The command line, run in this process on a tiny random model on the built-in head."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import visemo
from tiny import tone
from visemo.cli.entry import VERBS, main, parse
from visemo.cli.train import with_settings
from visemo.cli.verb import expression_meshes, outputs_of, parse_expression, size_text
from visemo.geometry.mesh import write_mesh
from visemo.media import load_audio, save_wav
from visemo.types import Mesh, VisemoError


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_folder):
    """A folder with a sound and a take of it."""
    folder = tmp_path_factory.mktemp("place")
    save_wav(tone(0.4), folder / "hum.wav")
    save_wav(tone(0.3), folder / "other.wav")
    words = ["animate", str(folder / "hum.wav"), "--model", str(tiny_folder), "--expression", "happy:0.8"]
    assert main([*words, "-o", str(folder / "take.npz")]) == 0
    return folder


def test_help_and_version(capsys):
    assert main(["--help"]) == 0
    page = capsys.readouterr().out
    assert all(f"\n  {verb} " in page for verb in VERBS) and "examples:" in page
    assert main([]) == 0 and capsys.readouterr().out == page
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"visemo {visemo.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example_that_parses(verb, capsys):
    assert main([verb, "--help"]) == 0
    page, err = capsys.readouterr()
    assert f"visemo {verb}" in page and "example:" in page and not err
    for example in VERBS[verb].examples:
        words = example.split()
        assert words[:2] == ["visemo", verb]
        assert isinstance(parse(words[1:]), VERBS[verb])


def test_train_help_lists_the_settings_of_the_part(capsys):
    assert main(["train", "fusion", "--help"]) == 0
    page = capsys.readouterr().out
    assert "--sparsity" in page and "--anchor" in page and "weight of the split's targets" in page
    assert main(["train", "--help"]) == 0
    assert "--sparsity" not in capsys.readouterr().out


def test_one_sound_in_every_format(place, tiny_folder, tmp_path, capsys):
    names = ["t.npz", "t.glb", "t.mp4", "t.csv", "t.png", "meshes/"]
    outs = [word for name in names for word in ("-o", f"{tmp_path}/{name}")]
    words = ["animate", str(place / "hum.wav"), "--model", str(tiny_folder), "--lively", *outs]
    assert main([*words, "--expression", "sad:0.5", "--subject", "ben", "--guard", "0.5", "--fps", "25"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in names) and "mm of the take" in said
    clip = visemo.read(tmp_path / "t.npz")
    assert clip.frames == 10 and clip.fps == 25 and clip.head_pose is not None
    assert clip.meta["expression"] == "sad" and clip.meta["intensity"] == 0.5 and clip.meta["subject"] == "ben"
    assert clip.meta["guard"]["strength"] == 0.5
    with np.load(tmp_path / "t.npz") as take:
        assert np.abs(take["vertices"] - clip.vertices).max() < 1e-6
    assert len(list((tmp_path / "meshes").iterdir())) == 10
    assert load_audio(tmp_path / "t.mp4").seconds == pytest.approx(0.4, abs=0.05)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([n.rstrip("/") for n in names] + ["t.wav"])


def test_the_same_command_gives_the_same_bytes(place, tiny_folder, tmp_path):
    for name in ("a.npz", "b.npz"):
        words = ["animate", str(place / "hum.wav"), "--model", str(tiny_folder), "--lively", "--expression", "happy"]
        assert main([*words, "--no-vertices", "-o", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_several_sounds_become_a_file_set_each_and_a_bad_one_stops_nothing(place, tiny_folder, tmp_path, capsys):
    (tmp_path / "bad.wav").write_text("no sound")
    sounds = [place / "hum.wav", tmp_path / "bad.wav", place / "other.wav", tmp_path / "gone.wav"]
    assert main(["animate", *map(str, sounds), "--model", str(tiny_folder), "-o", f"{tmp_path}/takes/"]) == 1
    out, err = capsys.readouterr()
    assert "2 of 4 clips done" in out and "bad.wav" in out and "gone.wav" in out and not err
    made = sorted(path.name for path in (tmp_path / "takes").iterdir())
    assert made == sorted(f"{n}.{s}" for n in ("hum", "other") for s in ("npz", "glb", "mp4", "csv", "wav"))
    assert visemo.read(tmp_path / "takes" / "other.npz").frames == 9


def test_names_in_outputs(place, tiny_folder, tmp_path):
    sounds = [str(place / "hum.wav"), str(place / "other.wav")]
    assert main(["animate", *sounds, "--model", str(tiny_folder), "-o", f"{tmp_path}/x_{{name}}.csv"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x_hum.csv", "x_other.csv"]


def test_edit_re_emotes_and_converts(place, tiny_folder, tmp_path):
    take, model = str(place / "take.npz"), ["--model", str(tiny_folder)]
    assert main(["edit", take, *model, "--expression", "sad:0.6", "-o", f"{tmp_path}/sad.npz"]) == 0
    sad, happy = visemo.read(tmp_path / "sad.npz"), visemo.read(take)
    assert sad.meta["expression"] == "sad" and np.array_equal(sad.speech_weights, happy.speech_weights)
    fresh = visemo.load(tiny_folder, "cpu").animate(load_audio(place / "hum.wav"), "sad", 0.6)
    np.testing.assert_allclose(sad.expression_weights, fresh.expression_weights, atol=1e-6)  # sums in another order
    (tmp_path / "line.json").write_text('{"keys": [{"t": 0.1, "expression": "angry"}]}')
    timeline = ["--timeline", f"{tmp_path}/line.json", "--guard", "0", "-o", f"{tmp_path}/line.npz"]
    assert main(["edit", take, *model, *timeline]) == 0
    assert visemo.read(tmp_path / "line.npz").meta["guard"] == {"strength": 0.0}
    assert main(["edit", take, "-o", f"{tmp_path}/only.csv", "-o", f"{tmp_path}/same.npz"]) == 0
    assert (tmp_path / "same.npz").read_bytes() == (place / "take.npz").read_bytes()


def test_render_draws_films_and_sheets(place, tmp_path):
    assert main(["render", str(place / "take.npz"), "-o", f"{tmp_path}/t.mp4", "--size", "64"]) == 0
    assert main(["render", str(place / "take.npz"), "-o", f"{tmp_path}/t.png"]) == 0
    assert (tmp_path / "t.mp4").stat().st_size > 1000 and (tmp_path / "t.png").stat().st_size > 1000


def test_an_expression_from_meshes(place, tiny_folder, tmp_path):
    face = visemo.load(tiny_folder, "cpu").face
    apex = face.template + face.shape("mouthSmileLeft")
    write_mesh(tmp_path / "apex.obj", Mesh(apex, face.triangles))
    write_mesh(tmp_path / "rest.obj", Mesh(face.template, face.triangles))
    words = ["animate", str(place / "hum.wav"), "--model", str(tiny_folder), "--guard", "0"]
    asked = {"one": f"{tmp_path}/apex.obj:0.5", "two": f"{tmp_path}/rest.obj,{tmp_path}/apex.obj:0.5"}
    for name, expression in asked.items():
        assert main([*words, "--expression", expression, "-o", f"{tmp_path}/{name}.npz"]) == 0
    one, two = (visemo.read(tmp_path / f"{name}.npz") for name in asked)
    assert np.allclose(one.expression_weights, two.expression_weights, atol=1e-4) and one.expression_weights.any()
    (tmp_path / "sequence").mkdir()
    for n in range(3):
        part = face.template + 0.5 * n * face.shape("mouthSmileLeft")
        write_mesh(tmp_path / "sequence" / f"{n}.obj", Mesh(part.astype(np.float32), face.triangles))
    meshes = expression_meshes(str(tmp_path / "sequence"), face.template, face)
    assert isinstance(meshes, list) and len(meshes) == 3


def test_another_person_is_animated(place, tiny_folder, tmp_path):
    face = visemo.load(tiny_folder, "cpu").face
    person = (face.template * 1.05).astype(np.float32)
    write_mesh(tmp_path / "person.obj", Mesh(person, face.triangles))
    words = ["animate", str(place / "hum.wav"), "--model", str(tiny_folder), "--face", f"{tmp_path}/person.obj"]
    assert main([*words, "-o", f"{tmp_path}/t.npz"]) == 0
    assert np.allclose(visemo.read(tmp_path / "t.npz").template, person, atol=1e-6)
    assert main([*words[:-1], "builtin", "-o", f"{tmp_path}/b.npz"]) == 0


def test_info_on_everything(place, tiny_folder, tmp_path, capsys):
    assert main(["info", str(tiny_folder)]) == 0
    said = capsys.readouterr().out
    assert "4 speech + 3 expression" in said and "licence" in said and "happy" in said
    assert main(["info", str(place / "take.npz")]) == 0
    assert "12 frames at 30 fps" in capsys.readouterr().out
    assert main(["info", str(place / "hum.wav")]) == 0
    assert "0.40 s" in capsys.readouterr().out


def test_train_hands_the_recipe_on(tmp_path, monkeypatch, capsys):
    from visemo.training import recipes

    asked = {}

    def train(recipe, data, face, run, **options):
        asked.update(options, recipe=recipe, data=data, face=face.name, run=run)
        return {"score": 0.5, "step": 7}

    monkeypatch.setattr(recipes, "train_fusion", train)
    words = ["--data", "a", "--data", "b", "-o", f"{tmp_path}/run", "--preset", "paper", "--steps", "9", "--resume"]
    assert main(["train", "fusion", *words, "--rate", "1e-3", "--device", "cpu", "--validate-every", "3"]) == 0
    assert asked["recipe"] == replace(recipes.FusionRecipe.paper(), steps=9, rate=1e-3, validate_every=3)
    assert [str(path) for path in asked["data"]] == ["a", "b"] and asked["face"] == "builtin"
    assert asked["resume"] is True and asked["device"] == "cpu"
    assert "score 0.5 at step 7" in capsys.readouterr().out


def test_train_flame_map_hands_model_flame_and_recipe_on(tmp_path, tiny_folder, monkeypatch, capsys):
    from face.flame_models import random_arrays
    from visemo.training import recipes

    asked = {}

    def train(recipe, model, flame, run, **options):
        asked.update(options, recipe=recipe, face=model.face.name, flame=flame, run=run)
        row = {"vertices": 3, "map_mean": 0.25, "map_max": 2.0, "floor_mean": 0.125, "floor_max": 1.0}
        blink = {"name": "eyeBlinkLeft", "map_mean": 0.0625, "map_max": 3.0, "motion_max": 9.0}
        return {"regions": {"lips": row, "eyes and brows": {"vertices": 0}}, "lively": [blink]}

    monkeypatch.setattr(recipes, "train_flame_map", train)
    np.savez(tmp_path / "flame2023_Open.npz", **random_arrays())
    np.savez(tmp_path / "smiles.npz", deltas=np.zeros((7, 5023, 3), np.float32))
    words = ["--model", str(tiny_folder), "--flame", f"{tmp_path}/flame2023_Open.npz", "--data", "a"]
    options = ["--expressions", f"{tmp_path}/smiles.npz", "--steps", "3", "--preset", "paper", "--cost.prior", "0.5"]
    assert main(["train", "flame-map", *words, *options, "-o", f"{tmp_path}/run", "--device", "cpu"]) == 0
    paper = recipes.FlameMapRecipe.paper()
    assert asked["recipe"] == replace(paper, steps=3, cost=replace(paper.cost, prior=0.5))
    assert (asked["face"], asked["device"], [str(path) for path in asked["data"]]) == ("builtin", "cpu", ["a"])
    assert (asked["flame"].n_expr, asked["flame"].basis, asked["flame"].edition) == (7, "smiles shapes", "2023 Open")
    said = capsys.readouterr().out
    assert "lips            0.250 mm, largest 2.00  (FLAME's own best 0.125, 1.00)" in said
    assert "eyeBlinkLeft    0.062 mm, largest 3.00 of 9.00" in said
    assert f"{tmp_path}/run: L_G to FLAME 2023 Open with smiles shapes expressions" in said


@pytest.mark.slow
def test_prepare_train_and_assemble_a_model_that_animates(tmp_path, place, capsys):
    store = f"{tmp_path}/store"
    assert main(["prepare", "planted", "--tiny", "-o", store]) == 0
    assert main(["info", store]) == 0
    assert "minutes" in capsys.readouterr().out
    common = ["--data", store, "--steps", "2", "--validate-every", "2", "--save-every", "2", "--batch", "2"]
    assert main(["train", "speech", *common, "-o", f"{tmp_path}/speech", "--basis-size", "4"]) == 0
    assert main(["train", "fusion", *common, "-o", f"{tmp_path}/fusion"]) == 0
    assert main(["assemble", f"{tmp_path}/speech", f"{tmp_path}/fusion", "-o", f"{tmp_path}/mine"]) == 0
    words = ["animate", str(place / "hum.wav"), "--model", f"{tmp_path}/mine", "--expression", "happy"]
    assert main([*words, "-o", f"{tmp_path}/t.csv"]) == 0


def test_the_demo_makes_what_it_says(tiny_folder, tmp_path, monkeypatch, capsys):
    save_wav(tone(0.2), tmp_path / "hum.wav")
    monkeypatch.setattr("visemo.cli.animate.BUNDLED_SPEECH", tmp_path / "hum.wav")
    assert main(["demo", "-o", f"{tmp_path}/deep/demo", "--model", str(tiny_folder)]) == 0
    made = {path.name for path in (tmp_path / "deep" / "demo").iterdir()}
    wanted = {f"{name}{suffix}" for name in ("happy", "sad", "angry") for suffix in (".mp4", ".glb", ".npz")}
    assert wanted | {"sheet.png"} <= made and "watch" in capsys.readouterr().out


def test_the_bundled_speech_is_there():
    from visemo.cli.animate import BUNDLED_SPEECH

    sound = load_audio(BUNDLED_SPEECH)
    assert 3 < sound.seconds < 5 and np.abs(sound.samples).max() > 0.1


def test_evaluate_says_the_numbers(tiny_folder, tmp_path, monkeypatch, capsys):
    from visemo.evaluate import report

    def measured(model, data, out, split, *, progress, limit):
        assert (model.face.name, [str(path) for path in data], split, limit) == ("builtin", ["a", "b"], "paper", 3)
        return [report.Row("lve", 1.25, "mm", 1.0, 1.5, 9, "fused")]

    monkeypatch.setattr(report, "evaluate", measured)
    words = ["--data", "a", "--data", "b", "--split", "paper", "--limit", "3", "-o", f"{tmp_path}/report"]
    assert main(["evaluate", "--model", str(tiny_folder), *words]) == 0
    said = capsys.readouterr().out
    assert "lve  fused  1.250 mm  [1.000, 1.500]  n = 9" in said and "report.html" in said


def test_expression_syntax():
    assert parse_expression("happy") == ("happy", 1.0) and parse_expression("happy:0.25") == ("happy", 0.25)
    for wrong in ("happy:abc", "happy:-1", "happy:9", "happy:nan", "happy:"):
        with pytest.raises(VisemoError, match="intensity: got"):
            parse_expression(wrong)


def test_recipe_settings_keep_their_types():
    from visemo.training.recipes import FusionRecipe

    recipe = FusionRecipe.default()
    changed = with_settings(recipe, (("rate", "1"), ("pool", "50"), ("squared", "true"), ("network", "paper")))
    assert (changed.rate, changed.pool, changed.squared, changed.network) == (1.0, 50, True, "paper")
    for key, value, match in [("rat", "1", "unknown setting, expected one of steps"), ("pool", "x", "expected int"),
                              ("squared", "3", "expected bool")]:  # fmt: skip
        with pytest.raises(VisemoError, match=match):
            with_settings(recipe, ((key, value),))


def test_outputs_are_planned_before_anything_runs(tmp_path):
    one, two = tmp_path / "a.wav", tmp_path / "b.wav"
    assert outputs_of([f"{tmp_path}/{{name}}.csv"], [one]) == [[f"{tmp_path}/a.csv"]]
    assert outputs_of([f"{tmp_path}/x/"], [one, two])[1][0] == f"{tmp_path}/x/b.npz"
    for outs, clips, match in [
        ([], [one], "got no OUT"),
        ([f"{tmp_path}/t.npz"], [one, two], "for several clips"),
        ([f"{tmp_path}/t.npz"] * 2, [one], "for two outputs"),
        ([f"{tmp_path}/x/"], [one, tmp_path / "deep" / "a.wav"], "for two outputs"),
        ([f"{tmp_path}/none/t.npz"], [one], "got no folder"),
        ([f"{tmp_path}/t.gif"], [one], "got suffix '.gif'"),
    ]:
        with pytest.raises(VisemoError, match=match):
            outputs_of(outs, clips)


def test_sizes_for_people():
    assert size_text(12) == "12 bytes" and size_text(2.3e9) == "2.3 GB" and size_text(4.21e6) == "4.21 MB"


def test_import_is_fast_and_brings_no_torch():
    code = "import sys, visemo; print('torch' in sys.modules, 'numpy' in sys.modules, *dir(visemo))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", *sorted([*visemo.__all__, "__version__"])]


def test_public_names_lead_somewhere():
    assert all(getattr(visemo, name) is not None for name in visemo.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = visemo.nothing  # type: ignore[attr-defined]


def test_python_m_visemo():
    done = subprocess.run([sys.executable, "-m", "visemo", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("visemo ")


def test_benchmark_verb_writes_its_file(tmp_path, monkeypatch, capsys):
    from visemo import benchmark

    rows = [dict(zip(benchmark.COLUMNS, ("default", "speech", 1.0, 30, 99.0, 5.0, 1.0, 1.0)))]
    monkeypatch.setattr(benchmark, "benchmark_preset", lambda preset, seconds: iter(rows))
    assert main(["benchmark", "--preset", "default", "--seconds", "1", "--json", f"{tmp_path}/b.json"]) == 0
    assert json.loads((tmp_path / "b.json").read_text())["rows"] == rows and "speech" in capsys.readouterr().out
