"""The README's commands and code, run as they stand there, on a tiny model in place of the default one."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import visemo
from tiny import tone
from visemo.cli.entry import main, parse
from visemo.media import save_wav

REPOSITORY = Path(__file__).resolve().parent.parent
TEXT = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def commands() -> list[list[str]]:
    """Every `visemo ...` of the README's code, in order, without where the program lies."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    lines += re.findall(r"`(visemo [^`]+)`", TEXT)
    return [words[1:] for line in lines if Path((words := shlex.split(line))[0]).name == "visemo"]


# what the user has to have: see test_runs.py
ELSEWHERE = {
    "downloads/VOCASET",
    "downloads/Florence4D",
    "vocaset",
    "florence4d",
    "ict",
    "scan.ply",
    "flame2023.pkl",
    "flame_run",
    "emote.pkl",
}
SLOW = ("prepare", "train", "assemble", "evaluate", "benchmark")


@pytest.fixture
def desk(tmp_path, tiny_folder, monkeypatch) -> Path:
    """A working folder with what the README takes for granted, and a tiny model where it says none."""
    from visemo.models import checkpoint

    load = checkpoint.load_model
    monkeypatch.setattr(
        checkpoint, "load_model", lambda name="default": load(tiny_folder if name == "default" else name)
    )
    monkeypatch.chdir(tmp_path)
    for name in ("speech.wav", "one.wav"):
        save_wav(tone(0.3), tmp_path / name)
    save_wav(tone(0.2), tmp_path / "two.mp3")  # the content decides, not the name
    (timeline,) = blocks("json")
    assert json.loads(timeline)
    (tmp_path / "feelings.json").write_text(timeline)
    return tmp_path


def test_every_command_parses():
    said = commands()
    assert {words[0] for words in said} >= {
        "animate",
        "edit",
        "render",
        "info",
        "prepare",
        "train",
        "assemble",
        "benchmark",
    }
    for words in said:
        if words != ["--help"]:
            assert parse(words) is not None


def test_commands_that_take_seconds_run_in_order(desk, capsys):
    for words in commands():
        if words[0] in SLOW or "mine" in words or words == ["info"] or ELSEWHERE & set(words):
            continue
        assert main(words) == 0, (words, capsys.readouterr().err)
    made = {path.name for path in desk.iterdir()}
    assert {"take.npz", "take.mp4", "take.glb", "take.csv", "sad.mp4", "sad.glb", "lively.mp4", "sheet.png"} <= made
    assert (desk / "takes" / "two.npz").is_file()


@pytest.mark.slow
def test_commands_that_train_run_in_order(desk, monkeypatch):
    for words in commands():
        if ELSEWHERE & set(words):
            continue
        if words[0] == "prepare":
            words = [*words, "--tiny"]  # noqa: PLW2901
        if words[0] == "train":
            words = [*words, "--steps", "2", "--validate-every", "2", "--batch", "2"]  # noqa: PLW2901
        if words[0] in SLOW[:4] or "mine" in words:
            assert main(words) == 0, words
    assert (desk / "mine" / "config.json").is_file()


def test_the_python_runs(desk):
    (code,) = blocks("python")
    scope: dict = {}
    exec(compile(code, "README.md", "exec"), scope)
    assert (desk / "take.glb").is_file() and scope["sad"].meta["expression"] == "sad"
    clip = scope["clip"]
    assert clip.vertices.shape[0] == clip.frames == len(clip.speech_weights) == len(clip.expression_weights)
    assert sum(len(block) for block in clip.blocks()) == clip.frames


def test_make_knows_its_targets():
    def plan(target: str) -> str:
        # --always-make: the plan must not depend on what is already built here
        command = ["make", "--dry-run", "--always-make", target]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout

    for target in ("venv", "demo", "test", "lint"):
        assert "-m venv .venv" in plan(target)
    assert ".venv/bin/visemo demo -o out/demo" in plan("demo")


def test_the_version_is_the_package_s():
    assert (
        f"visemo {visemo.__version__}"
        in subprocess.run(
            [sys.executable, "-m", "visemo", "--version"], capture_output=True, text=True, check=True
        ).stdout
    )


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)h#][^)]*)\)", TEXT):
        assert (REPOSITORY / link).exists(), link


@pytest.mark.parametrize("page", sorted(REPOSITORY.glob("*.md")) + sorted((REPOSITORY / "docs").glob("*.md")))
def test_every_picture_and_link_is_there(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing
