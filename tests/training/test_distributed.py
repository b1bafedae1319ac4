"""Two processes on two halves of a batch learn what one learns from all of it, and end together."""

import copy
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import companion
import numpy as np
import pytest
import torch
import torch.distributed as dist
from test_recipes import RECIPES

from toy_corpus import make_toy_store
from visemo.cli import main
from visemo.training import distributed
from visemo.training.corpus import Corpus
from visemo.training.distributed import World, join
from visemo.training.fusion import FusionTask
from visemo.training.loop import Plan, fit, open_run
from visemo.training.speech import SequenceTask, WindowTask
from visemo.types import VisemoError

CPU = torch.device("cpu")
ENVIRONMENT = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Half(World):
    """One of two that never meet: enough to draw a batch."""

    def once(self, work):
        return work()

    def hold(self, make):
        return make()

    def mean(self, tensor):
        return tensor


HALVES = Half(rank=0, size=2), Half(rank=1, size=2)


@contextmanager
def two_processes(folder: Path, *jobs: str):
    """Both, of each list of jobs; they have begun."""
    command = [sys.executable, companion.__file__, str(folder), *jobs]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


@pytest.fixture(scope="module")
def store(tiny_face, tmp_path_factory):
    return make_toy_store(tmp_path_factory.mktemp("two") / "store", tiny_face, subjects=3, takes=1)


@pytest.fixture(scope="module")
def runs(store, tiny_face):
    """The folder in which two processes have trained, and then failed; one has trained in FOLDER/alone meanwhile."""
    folder, before = store.parent, torch.get_num_threads()
    torch.set_num_threads(1)
    with two_processes(folder, "learn,meet,fail", "die") as started, pytest.MonkeyPatch.context() as patch:
        patch.setattr("visemo.training.speech.SpeechMotionConfig", companion.steady)
        (folder / "alone").mkdir()
        for name, (train, recipe) in companion.recipes(batch=8).items():
            train(recipe, [store], tiny_face, folder / "alone" / name, device="cpu")
        started.wait(timeout=200)
    torch.set_num_threads(before)
    return folder


def ended(folder: Path, job: str) -> tuple[list[int], list[str]]:
    """How both processes ended, and what they said."""
    codes = json.loads((folder / "codes.json").read_text())
    both = [f"{job}.{rank}" for rank in range(2)]
    return [codes[one] for one in both], [(folder / f"{one}.err").read_text() for one in both]


def rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["split", "published", "windows"])
def test_two_processes_learn_what_one_learns_from_the_doubled_batch(name, runs):
    assert (runs / name / "model").is_dir(), ended(runs, "fail")
    alone, together = rows(runs / "alone" / name), rows(runs / name)
    assert [row["step"] for row in alone] == [row["step"] for row in together]
    for one, two in zip(alone, together):
        assert list(one) == list(two)
        close = 1e-4 if one["step"] <= 6 else 1e-2
        for term in set(one) - {"seconds"}:
            assert two[term] == pytest.approx(one[term], rel=close, abs=1e-6), (one["step"], term)
    both = [json.loads((runs / f"learn.{rank}.json").read_text())[name] for rank in range(2)]
    best = min(row["val_score"] for row in alone if "val_score" in row)
    assert both[0] == both[1] and both[0]["score"] == pytest.approx(best, rel=1e-2)


def test_one_process_alone_writes_and_says_how_many_there_were(runs):
    for name in ("split", "windows"):
        assert {path.name for path in (runs / name).iterdir()} == {
            "config.json",
            "log.jsonl",
            "checkpoint.pt",
            "model",
        }
        assert json.loads((runs / name / "config.json").read_text())["processes"] == 2
        facts = json.loads((runs / name / "model" / "config.json").read_text())["training"]
        assert next(iter(facts.values()))["processes"] == 2
    alone = runs / "alone" / "split"
    assert json.loads((alone / "config.json").read_text())["processes"] == 1
    assert "processes" not in (alone / "model" / "config.json").read_text()


def test_two_processes_resume_to_the_bit(runs):
    whole, parts = (torch.load(runs / name / "checkpoint.pt", weights_only=True) for name in ("published", "parts"))
    for part in ("model", "best"):
        assert all(torch.equal(value, parts[part][key]) for key, value in whole[part].items())
    for key, state in whole["optimizer"]["state"].items():
        assert all(torch.equal(value, parts["optimizer"]["state"][key][n]) for n, value in state.items())
    weights = [(runs / name / "model" / "model.safetensors").read_bytes() for name in ("published", "parts")]
    assert weights[0] == weights[1]


def test_frames_are_read_once_per_machine(runs):
    drawn = [json.loads((runs / f"learn.{rank}.json").read_text())["pools drawn"] for rank in range(2)]
    assert drawn == [8, 0]  # speech and expression, to train and to validate, in two runs


def test_another_number_of_processes_does_not_resume(runs, store, tiny_face):
    train, recipe = companion.recipes(batch=4)["published"]
    with pytest.raises(VisemoError, match="got processes 1, expected 2 as this run began; resume it as it was"):
        train(recipe, [store], tiny_face, runs / "published", resume=True, device="cpu")
    config = runs / "alone" / "published" / "config.json"
    said = json.loads(config.read_text())
    del said["processes"]  # as runs were before there could be several
    config.write_text(json.dumps(said))
    train, recipe = companion.recipes(batch=8)["published"]
    train(recipe, [store], tiny_face, runs / "alone" / "published", resume=True, device="cpu")


def test_means_over_processes(runs):
    for rank in range(2):
        found = json.loads((runs / f"meet.{rank}.json").read_text())
        assert found["grads"] == [[2.0] * 6, [0.5] * 6, None, None]
        assert found["mean"] == [1.5] * 3 and found["x"] == [3.0] * 3
        assert found["told"] == [[0.5, 4.0], {"by": 0}, [0, 10]]


def test_a_process_that_fails_ends_both_with_one_line(runs):
    codes, said = ended(runs, "fail")
    assert codes == [2, 2]
    assert said == ["", "visemo: loss: got something odd, expected nothing of the kind; look at the data\n"]


def test_a_process_that_is_killed_ends_the_other_with_one_line(runs):
    codes, said = ended(runs, "die")
    assert codes == [2, -9]
    assert said[1] == "" and re.match(r"processes: got no answer from another one \([A-Z]", said[0])
    assert said[0].endswith("it was killed or hangs; resume the run\n") and said[0].count("\n") == 1


# --- what each draws -----------------------------------------------------------------------------------


def interleaved(halves):
    """Rows of two as they lie in the batch of both."""
    return [torch.stack(pair, dim=1).flatten(0, 1) for pair in zip(*halves)]


@pytest.mark.parametrize("name", ["speech default", "speech phonetic"])
def test_two_draw_the_windows_of_the_doubled_batch(name, store, tiny_face):
    _, recipe = RECIPES[name]
    recipe = replace(recipe, batch=4, window=20, phonetic_share=0.5, uniform_style=0.5)
    corpus = Corpus([store], tiny_face, "faceformer")
    torch.manual_seed(0)
    whole = WindowTask(replace(recipe, batch=8), corpus, CPU)
    halves = []
    for world in HALVES:
        half = copy.copy(whole)
        half.recipe, half.world = recipe, world
        halves.append(half)
    for step in (0, 5):
        drawn = interleaved([half._batch(step) for half in halves])
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(drawn, whole._batch(step)))


def test_two_draw_the_frames_of_the_doubled_batch(store, tiny_face):
    _, recipe = RECIPES["fusion default"]
    recipe = replace(recipe, batch=4, shrink=0.3, geometry_map=False)
    task = FusionTask(replace(recipe, batch=8), Corpus([store], tiny_face, "faceformer"), CPU)
    seen = []
    task._objective = lambda batches, *_: seen.append([b for batch in batches for b in vars(batch).values()])
    task.losses(3)
    task.recipe = recipe
    for task.world in HALVES:
        task.losses(3)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(interleaved(seen[1:]), seen[0]))


def test_two_go_through_an_epoch_of_sequences_together():
    task = object.__new__(SequenceTask)  # its network has no say in this
    task.recipe = RECIPES["speech paper"][1]

    class Recording:
        def __init__(self, name):
            self.name = name

        @property
        def frames(self):  # the first thing that is asked of a take
            raise LookupError(self.name)

    def heard(world, steps):
        task.world, names = world, []
        for step in range(steps):
            with pytest.raises(LookupError) as chosen:
                task.losses(step)
            names.append(chosen.value.args[0])
        return names

    task.recordings = tuple(Recording(n) for n in range(5))
    alone, halves = heard(World(), 10), [heard(world, 5) for world in HALVES]
    assert [name for pair in zip(*halves) for name in pair] == alone
    assert sorted(alone[:5]) == sorted(alone[5:]) == [0, 1, 2, 3, 4]


# --- what is refused -----------------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch):
    """Sets what torchrun would; nothing is left of it."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    distributed._store.cache_clear()

    def told(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))

    return told


def test_one_process_is_alone(environment):
    with join(CPU) as world:
        assert world == World() and world.is_writer
    environment(WORLD_SIZE=1, RANK=0)
    with join(CPU) as world:
        assert world.size == 1 and not dist.is_initialized()
    grad = torch.nn.Parameter(torch.ones(2))
    assert world.mean(grad) is grad and world.gather(3) == [3] and world.once(lambda: 4) == 4
    world.barrier()


@pytest.mark.parametrize("told", [{"RANK": 0}, {"RANK": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}, {"RANK": "x"}])
def test_half_an_environment_is_refused(told, environment):
    environment(WORLD_SIZE=2, **told)
    with pytest.raises(VisemoError, match=r"processes: got RANK .*RANK below WORLD_SIZE; start them with torchrun"):
        with join(CPU):
            pass


def test_nowhere_to_meet_is_refused(environment):
    environment(WORLD_SIZE=2, RANK=1, LOCAL_RANK=1, LOCAL_WORLD_SIZE=2)
    with pytest.raises(VisemoError, match=r"processes: got no meeting of 2 \(.*MASTER_ADDR"):
        with join(CPU):
            pass


def test_more_processes_than_gpus_are_refused(environment, monkeypatch):
    environment(WORLD_SIZE=2, RANK=0, LOCAL_RANK=0, LOCAL_WORLD_SIZE=2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        VisemoError, match="device: got 2 processes on a machine with 1 GPUs, expected one GPU for each"
    ):
        with join(torch.device("cuda")):
            pass


def test_each_process_takes_the_gpu_of_its_own(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert distributed._own_device(torch.device("cuda"), 3, 4) == torch.device("cuda", 3) and taken == [3]
    assert distributed._own_device(CPU, 3, 4) == CPU and taken == [3]


def test_a_mistake_of_all_is_said_once(environment, monkeypatch, capsys):
    words = ["train", "fusion", "--data", "none", "-o", "run", "--stepz", "1"]
    board = dist.HashStore()
    monkeypatch.setattr(distributed, "_store", lambda timeout: board)
    for rank in (1, 0):
        environment(WORLD_SIZE=2, RANK=rank)
        assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "--stepz" in said


@pytest.mark.parametrize("rank", [0, 1])
def test_without_a_place_to_meet_the_first_says_it(rank, environment, capsys):
    environment(WORLD_SIZE=2, RANK=rank)
    assert main(["train", "fusion", "--data", "none", "-o", "run"]) == 2
    assert capsys.readouterr().err.count("\n") == (rank == 0)


def test_a_run_that_not_all_see_is_refused(tmp_path):
    from test_loop import Line

    world = World()
    object.__setattr__(world, "gather", lambda step: [step, 4])
    run = open_run(tmp_path / "run", {"kind": "line"}, False)
    with pytest.raises(
        VisemoError, match=r"got steps \[0, 4\] in 1 processes, expected one; put the run where all see"
    ):
        fit(Line(), run, Plan(4), world)


# --- on GPUs ---------------------------------------------------------------------------------------------


@pytest.mark.gpu
def test_two_gpus_learn_what_one_learns_from_the_doubled_batch(store, tiny_face, tmp_path, monkeypatch):
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU, or none: two processes need two")
    (tmp_path / "store").symlink_to(store)
    with two_processes(tmp_path, "learn_on_gpus") as started:
        started.wait(timeout=300)
    assert ended(tmp_path, "learn_on_gpus") == ([0, 0], ["", ""])
    monkeypatch.setattr("visemo.training.speech.SpeechMotionConfig", companion.steady)
    (tmp_path / "alone").mkdir()
    for name, (train, recipe) in companion.recipes(batch=8).items():
        train(recipe, [store], tiny_face, tmp_path / "alone" / name, device="cuda")
        ends = [
            np.mean([row["loss"] for row in rows(run / name) if "loss" in row][-3:])
            for run in (tmp_path, tmp_path / "alone")
        ]
        assert ends[0] == pytest.approx(ends[1], rel=0.02)  # products are of half precision
