"""The loop on a task of two numbers: resuming, stopping, keeping, refusing."""

import json

import pytest
import torch

from visemo.training import loop
from visemo.training.loop import Plan, choose_device, cosine, fit, open_run
from visemo.types import VisemoError

SETTINGS = {"kind": "line", "recipe": {"steps": 10, "rate": 0.1}, "data": ["none"]}


class Line:
    """Learns y = 2 x from noisy points, with dropout; `scores` overrides what validation says."""

    def __init__(self, scores=()):
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.1)
        self.scores = list(scores)
        self.written = None

    def rate(self, step):
        return 0.1 * cosine(step, 20)

    def losses(self, step):
        x = torch.randn(16, 1, generator=torch.Generator().manual_seed(step))
        error = (self.model(x) - 2 * x).square().mean()
        return {"loss": error, "error": error.sqrt()}

    def validate(self):
        assert not self.model.training
        torch.rand(3)  # must not disturb training
        x = torch.linspace(-1, 1, 9)[:, None]
        return {"score": self.scores.pop(0) if self.scores else (self.model(x) - 2 * x).square().mean().item()}

    def write(self, folder, facts):
        folder.mkdir(exist_ok=True)
        torch.save(self.model.state_dict(), folder / "weights.pt")
        self.written = dict(facts)


def run_line(tmp_path, name, steps, resume=False, scores=(), **plan):
    task = Line(scores)
    run = open_run(tmp_path / name, {**SETTINGS, "recipe": {"steps": steps, "rate": 0.1}}, resume)
    result = fit(task, run, Plan(steps, **{"validate_every": 4, "save_every": 3, **plan}))
    return task, run, result


def rows(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_resuming_gives_the_same_bits_as_never_stopping(tmp_path):
    whole, run, result = run_line(tmp_path, "whole", 20)
    run_line(tmp_path, "parts", 10)
    parts, again, same = run_line(tmp_path, "parts", 20, resume=True)
    assert result == same and whole.written == parts.written
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, parts.model.state_dict()[key])
    first, second = (torch.load(r / "checkpoint.pt", weights_only=True) for r in (run, again))
    assert first["optimizer"]["state"][0]["exp_avg"].equal(second["optimizer"]["state"][0]["exp_avg"])
    strip = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in rows(r) if row["step"] != 10] for r in (run, again)
    ]
    assert strip[0] == strip[1]
    assert (run / "model" / "weights.pt").read_bytes() == (again / "model" / "weights.pt").read_bytes()


def test_a_run_killed_after_its_last_checkpoint_makes_those_steps_again(tmp_path, monkeypatch):
    whole, run, _ = run_line(tmp_path, "whole", 10)
    task = Line()
    killed = open_run(tmp_path / "killed", {**SETTINGS, "recipe": {"steps": 10, "rate": 0.1}}, False)
    steps = task.losses
    monkeypatch.setattr(
        task, "losses", lambda step: (_ for _ in ()).throw(KeyboardInterrupt) if step == 8 else steps(step)
    )
    with pytest.raises(KeyboardInterrupt):
        fit(task, killed, Plan(10, validate_every=4, save_every=3))
    with (killed / "log.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')  # a torn line
    again, _, _ = run_line(tmp_path, "killed", 10, resume=True)
    assert all(torch.equal(v, again.model.state_dict()[k]) for k, v in whole.model.state_dict().items())
    assert [row["step"] for row in rows(killed)] == [row["step"] for row in rows(run)]


def test_the_best_weights_are_kept_and_a_stale_run_stops(tmp_path):
    task, run, result = run_line(tmp_path, "stale", 40, scores=[5.0, 3.0, 1.0, 2.0, float("nan"), 0.1], patience=2)
    assert result == {"score": 1.0, "step": 8.0}
    assert rows(run)[-1]["step"] == 16
    best = torch.load(run / "checkpoint.pt", weights_only=True)["best"]
    assert all(torch.equal(v, task.model.state_dict()[k]) for k, v in best.items())
    assert task.written["kept_step"] == 8


def test_a_run_folder_says_what_was_run(tmp_path):
    _, run, _ = run_line(tmp_path, "said", 4)
    config = json.loads((run / "config.json").read_text())
    assert config["recipe"] == {"steps": 4, "rate": 0.1} and config["versions"]["torch"] == torch.__version__
    assert set(config["source"]) in (set(), {"commit", "diff"})
    assert {"loss", "error", "rate", "seconds"} <= set(rows(run)[1])


def test_other_runs_are_never_overwritten(tmp_path):
    run_line(tmp_path, "mine", 4)
    with pytest.raises(VisemoError, match="got something that is not an empty folder"):
        open_run(tmp_path / "mine", SETTINGS, False)
    with pytest.raises(VisemoError, match="cannot make this folder"):
        open_run(tmp_path / "no" / "such", SETTINGS, False)
    with pytest.raises(VisemoError, match="got no run to resume"):
        open_run(tmp_path / "absent", SETTINGS, True)
    with pytest.raises(VisemoError, match=r"got rate 0\.5, expected 0\.1 as this run began"):
        open_run(tmp_path / "mine", {**SETTINGS, "recipe": {"steps": 4, "rate": 0.5}}, True)
    with pytest.raises(VisemoError, match=r"got data \['other'\], expected \['none'\]"):
        open_run(tmp_path / "mine", {**SETTINGS, "data": ["other"]}, True)
    with pytest.raises(VisemoError, match="got kind circle, expected line"):
        open_run(tmp_path / "mine", {**SETTINGS, "kind": "circle"}, True)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_damaged_checkpoints_are_refused(tmp_path, content):
    _, run, _ = run_line(tmp_path, "damaged", 4)
    if content is None:
        torch.save({"model": {}}, run / "checkpoint.pt")
    else:
        (run / "checkpoint.pt").write_bytes(content)
    with pytest.raises(VisemoError, match="damaged or foreign checkpoint") as caught:
        run_line(tmp_path, "damaged", 8, resume=True)
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(Line, "losses", lambda self, step: {"loss": self.model(torch.full((1, 1), torch.nan)).sum()})
    with pytest.raises(VisemoError, match="got a loss of nan at step 0"):
        run_line(tmp_path, "nan", 4)


def test_gradients_are_clipped(tmp_path):
    task, _, _ = run_line(tmp_path, "clipped", 1, clip=1e-3)
    norm = torch.stack([p.grad.norm() for p in task.model.parameters()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)


def test_tensorboard_is_asked_for_only_when_wanted(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(VisemoError, match="tensorboard: got no such package"):
        run_line(tmp_path, "events", 2, tensorboard=True)


def test_devices(monkeypatch):
    assert choose_device("cpu").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device().type == "cpu"
    with pytest.raises(VisemoError, match="device: got cuda, expected one that this machine has"):
        choose_device("cuda")
    with pytest.raises(VisemoError, match="device: got 'tpu', expected auto, cpu or cuda"):
        choose_device("tpu")


def test_rate_rises_falls_and_stays():
    assert [cosine(s, 100, warmup=4) for s in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert cosine(52, 100, warmup=4, floor=0) == pytest.approx(0.5)
    assert cosine(100, 100) == cosine(10_000, 100) == pytest.approx(0.02)


@pytest.mark.parametrize("name", ["steps", "validate_every", "save_every"])
def test_empty_plans_are_refused(name):
    with pytest.raises(VisemoError, match=f"{name}: got 0, expected 1 or more"):
        Plan(**{"steps": 1, name: 0})


def test_a_checkout_without_git_has_no_source_state(monkeypatch):
    monkeypatch.setattr(loop.subprocess, "run", lambda *a, **k: (_ for _ in ()).throw(FileNotFoundError))
    assert loop._source_state() == {}
