"""The report: what is planted comes back as numbers."""

import json
import shutil

import numpy as np
import pytest
import torch

from visemo.data.dataset import open_store
from visemo.evaluate.metrics import jitter, lve, mean_vertex_error
from visemo.evaluate.module_measures import RECORDED
from visemo.evaluate.report import evaluate
from visemo.types import VisemoError


def takes(store, kind: str, part: str = "test") -> list[str]:
    return [id for id in store.split("faceformer")[part] if store.sequence(id).kind == kind]


def altered(store, folder, **changes):
    """A copy of a store without phones, its manifest changed."""
    shutil.copytree(store, folder, ignore=shutil.ignore_patterns("*.phones.json"))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))
    return folder


def test_errors_of_a_silent_model_are_those_of_a_face_at_rest(rows, store, model):
    table, _ = rows
    opened, lips = open_store(store), model.face.regions["lips"]
    motions = [np.asarray(opened.motion(id), np.float32) for id in takes(opened, "speech")]
    row = table["lve", "speech"]
    assert row.value == pytest.approx(np.mean([lve(np.zeros_like(m), m, lips) for m in motions]), rel=1e-5)
    assert row.n == 4 and row.low <= row.value <= row.high
    assert table["lve through the fusion module", "speech"].value == pytest.approx(row.value, rel=1e-4)
    assert table["lve change by the fusion module", "speech"].value == pytest.approx(0, abs=1e-4)
    # the loudness of the voice is the opening of the jaw: that baseline has to find it
    loud, mean = table["lve energy jaw", "speech"].value, table["lve mean face", "speech"].value
    assert loud < 0.9 * mean < row.value
    assert table["lve below mean face", "speech"].value == pytest.approx(100 * (1 - row.value / mean), rel=1e-4)
    everywhere = np.mean([1000 * np.linalg.norm(m, axis=2).mean() for m in motions])
    assert table["mean vertex error", "speech"].value == pytest.approx(everywhere, rel=1e-4)
    assert table["jitter of the lips", "speech"].value == pytest.approx(0, abs=1e-6)
    assert table["jitter of the lips", "truth"].value == pytest.approx(np.mean([jitter(m[:, lips]) for m in motions]))
    stiff = table["upper-face deviation", "speech"].value
    assert stiff > 0 and table["upper-face deviation, absolute", "speech"].value == pytest.approx(stiff)
    # lips that never move are in time with nothing
    assert ("lip-sync lag", "speech") not in table and table["mouth opening difference", "speech"].value > 0.5


def test_the_module_is_measured_on_both_of_its_inputs(rows):
    table, _ = rows
    # nothing was said: what E_a makes of that is as far from the pure speech as rest is
    said, heard = (table[f"lve{source} to pure speech, w_A alone", "speech"].value for source in ("", RECORDED))
    assert said == pytest.approx(table["lve to pure speech", "speech"].value, rel=1e-4) and heard < 0.6 * said
    gap = table["lve to pure speech, w_A alone, speech model over recorded take", "speech"].value
    assert gap == pytest.approx(said - heard, rel=1e-6)
    kept, alone = (
        table[f"lve{RECORDED} through the fusion module{end}", "speech"].value for end in ("", ", w_A alone")
    )
    assert kept < alone  # the recorded take has an expression in it, which w_A alone drops
    for kind in ("speech", "expression"):
        mean, worst = (table[f"deviation of the {kind} encoder from linear{end}", kind] for end in ("", ", worst take"))
        assert mean.value <= worst.value < 0.01 and mean.unit == "%"


def test_an_expression_that_is_kept_is_measured(rows):
    table, _ = rows
    row = table["emotion kept beside the lips, amplitude", "fused"]
    assert 0.7 < row.value < 1.3  # the split of the toy corpus is good
    assert table["emotion kept beside the lips, cosine", "fused"].value > 0.9
    assert sum("of the worst emotion, " in name for name, _ in table) == 2


def test_reconstruction_is_measured_on_recordings(rows, store, model):
    table, _ = rows
    opened, lips = open_store(store), model.face.regions["lips"]
    errors = []
    for id in takes(opened, "expression"):
        motion = torch.from_numpy(np.array(opened.motion(id))).float()
        with torch.no_grad():
            back = model.fusion.decode(torch.cat(model.fusion.encode_expression(motion), dim=1))
        errors.append(mean_vertex_error(back.numpy(), motion.numpy(), lips))
    row = table["reconstruction error of expression, lips", "expression"]
    assert row.value == pytest.approx(np.mean(errors), rel=1e-3) and row.n == len(errors)


def test_separation_is_measured_against_planted_truth(rows, store):
    table, _ = rows
    opened = open_store(store)
    fused, naive, residual = (table["fused face error, all vertices", mode] for mode in ("fused", "naive", "residual"))
    ratio = table["ratio to the naive sum, all vertices", "fused"]
    assert ratio.value == pytest.approx(fused.value / naive.value, rel=1e-6)
    assert ratio.value < 0.6 and ratio.low <= ratio.value <= ratio.high and residual.value < 0.6 * naive.value
    assert ratio.n == len(opened.pairs)
    assert table["ratio to the naive sum, worst lip vertex", "fused"].value < 0.8
    # one part alone, beside the recording as it is
    off = [opened.motion(id) - opened.truth(id, "speech_pure") for id in takes(opened, "speech")]
    plain = np.mean([1000 * np.linalg.norm(d.astype(np.float32), axis=2).mean() for d in off])
    assert table["speech part error, all vertices", "naive"].value == pytest.approx(plain, rel=1e-3)
    assert table["speech part error, all vertices", "speech"].value < 0.8 * plain
    assert table["expression part ratio to the recording, all vertices", "expression"].value < 0.8


def test_leaks_are_measured_beside_what_the_truth_moves_there(rows, store, model):
    table, _ = rows
    opened, face = open_store(store), model.face
    upper = np.unique(np.concatenate([face.regions["brows"], face.regions["eyes"]]))
    pure = [opened.truth(id, "speech_pure")[:, upper] for id in takes(opened, "speech")]
    moved = np.mean([1000 * np.square(d).sum(axis=2).mean() ** 0.5 for d in pure])
    assert table["upper face moved by speech, rms", "truth"].value == pytest.approx(moved, rel=1e-4)
    assert table["upper face moved by speech, of the rms of all", "speech"].unit == "%"
    for mode in ("expression", "truth"):
        assert table["lips parted by expression", mode].value < 0.3
    assert 0 < table["energy of eps", "speech"].value < 60 and table["energy of eps", "expression"].n == 12


def test_a_corpus_without_truth_is_measured_as_far_as_it_goes(model, store, tmp_path):
    manifest = json.loads((store / "manifest.json").read_text())
    plain = [take | {"truth": []} for take in manifest["sequences"]]
    bare = altered(store, tmp_path / "bare", sequences=plain, pairs=[])
    found = {(row.name, row.mode): row for row in evaluate(model, [bare], tmp_path / "out")}
    assert not any("pure" in name or "ratio" in name or mode == "residual" for name, mode in found)
    # its own closures: every speech take with two expressions, and the naive sum loses some of them
    kept = {mode: found["closure recall", mode] for mode in ("speech", "fused", "fused, guarded", "naive")}
    assert kept["fused"].n == kept["naive"].n == 2 * kept["speech"].n
    assert kept["speech"].value == 100.0  # lips that never open
    assert kept["naive"].value < kept["fused, guarded"].value


def test_speech_alone_is_measured(model, store, tmp_path):
    opened = open_store(store)
    spoken, shown = (
        {part: takes(opened, kind, part) for part in ("train", "val", "test")} for kind in ("speech", "expression")
    )
    alone = altered(store, tmp_path / "alone", splits={"faceformer": spoken}, pairs=[])
    found = {(row.name, row.mode): row for row in evaluate(model, [alone], tmp_path / "out")}
    assert found["lve", "speech"].n == 4 and not any(mode in ("expression", "fused") for _, mode in found)
    silent = altered(store, tmp_path / "silent", splits={"faceformer": shown}, pairs=[])
    found = {(row.name, row.mode): row for row in evaluate(model, [silent], tmp_path / "out", limit=3)}
    assert ("lve", "speech") not in found and found["energy of eps", "expression"].n == 3
    nothing = altered(store, tmp_path / "nothing", splits={"faceformer": spoken | {"test": []}}, pairs=[])
    with pytest.raises(VisemoError, match="got no speech takes to test with"):
        evaluate(model, [nothing], tmp_path / "out")


def test_the_numbers_are_written_for_machines_and_for_people(rows, model):
    table, out = rows
    content = json.loads((out / "metrics.json").read_text())
    assert content["model"] == model.hash and content["split"] == "faceformer" and content["limit"] is None
    assert len(content["rows"]) == len(table)
    assert all(set(row) == {"name", "value", "unit", "low", "high", "n", "mode"} for row in content["rows"])
    means = {(column["name"], column["mode"]): list(column["values"].values()) for column in content["sequences"]}
    assert np.mean(means["lve", "speech"]) == pytest.approx(table["lve", "speech"].value)
    assert {"name", "count", "hash"} == set(content["vertex_sets"][0])
    text = (out / "report.md").read_text()
    assert text.startswith("# toy\n") and all(f"| {name} | {mode} |" in text for name, mode in table)
    sets = content["vertex_sets"]
    assert [found["name"] for found in sets] == ["lips", "upper_face", "beside the lips", "lip pairs"]
    assert all(f"{found['name']} ({found['count']} vertices, {found['hash']}" in text for found in sets)


def test_a_quick_look_takes_a_few_and_repeats_to_the_byte(model, store, tmp_path):
    for name in ("one", "two"):
        found = evaluate(model, [store], tmp_path / name, limit=2)
    rows = {(row.name, row.mode): row for row in found}
    assert rows["lve", "speech"].n == rows["energy of eps", "expression"].n == 2
    assert rows["ratio to the naive sum, all vertices", "fused"].n == 2
    assert "at most 2 takes" in (tmp_path / "one" / "report.md").read_text()
    for file in ("metrics.json", "report.md", "report.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_what_cannot_be_measured_is_refused(model, store, tmp_path):
    with pytest.raises(VisemoError, match="cannot make this folder"):
        evaluate(model, [store], tmp_path / "no" / "such")
    with pytest.raises(VisemoError, match="got split 'none'"):
        evaluate(model, [store], tmp_path / "out", split="none")
    with pytest.raises(VisemoError, match="limit: got 0"):
        evaluate(model, [store], tmp_path / "out", limit=0)
