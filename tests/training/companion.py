"""Pairs of processes that train together, in the environment that torchrun would set.

`python companion.py FOLDER JOB,JOB... JOB,...` runs each list of jobs in two processes of its own. What a job has to
tell the test goes to FOLDER/JOB.RANK.json, what a process says to FOLDER/JOB.RANK.err of its last job, and how all
have ended to FOLDER/codes.json.
"""

import json
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from visemo.training.distributed import join


def steady(**settings):
    """A SpeechMotionConfig without dropout: two processes would drop other things than one does."""
    from visemo.models.speech_motion import SpeechMotionConfig

    return SpeechMotionConfig(**settings, dropout=0.0)


def recipes(batch: int) -> dict:
    """What one process learns with a batch of 8 and two with 4 each."""
    from test_recipes import RECIPES

    rhythm = {"batch": batch, "steps": 8, "validate_every": 3, "save_every": 3}
    train_fusion, split = RECIPES["fusion default"]
    train_speech, windows = RECIPES["speech default"]
    split = replace(split, **rhythm)
    published = replace(
        split, objective="paper", geometry_map=False, group=0.0, anchor=0.0, shrink=0.3, unit_norm=False, vertices=0
    )
    windows = replace(windows, **rhythm, validate_takes=1, encoder={**windows.encoder, "dropout": 0.0})
    return {
        "split": (train_fusion, split),
        "published": (train_fusion, published),
        "windows": (train_speech, windows),
    }


def learn(folder: Path, device: str = "cpu") -> dict:
    """Every recipe; one of them once more, in two parts."""
    from tiny import make_tiny_face
    from visemo.training import fusion, speech

    speech.SpeechMotionConfig = steady
    face, store = make_tiny_face(), folder / "store"
    results = {
        name: train(recipe, [store], face, folder / name, device=device)
        for name, (train, recipe) in recipes(batch=4).items()
    }
    drawn, draw = [], fusion.draw_pool
    fusion.draw_pool = lambda *known, **options: drawn.append(1) or draw(*known, **options)
    train, recipe = recipes(batch=4)["published"]
    for steps in (5, recipe.steps):
        train(replace(recipe, steps=steps), [store], face, folder / "parts", resume=steps > 5, device=device)
    return {**results, "pools drawn": len(drawn)}


def learn_on_gpus(folder: Path) -> dict:
    return learn(folder, "cuda")


def meet(folder: Path) -> dict:
    """Means of what some have and others have not."""
    with join(torch.device("cpu")) as world:
        weights = [torch.nn.Parameter(torch.ones(2, 3)) for _ in range(4)]
        weights[3].requires_grad_(False)
        weights[0].grad = torch.full((2, 3), 1.0 + 2 * rank())
        weights[1].grad = torch.ones(2, 3) if rank() else None
        world.average_gradients(weights)
        x = torch.full((3,), 1.0 + rank(), requires_grad=True)
        mean = world.mean(x)
        mean.square().sum().backward()
        told = [
            world.mean(torch.tensor([rank(), 4])).tolist(),
            world.once(lambda: {"by": rank()}),
            world.gather(10 * rank()),
        ]
    grads = [None if w.grad is None else w.grad.flatten().tolist() for w in weights]
    return {"grads": grads, "mean": mean.tolist(), "x": x.grad.tolist(), "told": told}


def fail(folder: Path) -> None:
    """The command line, where the second process alone finds something wrong in the middle of a run."""
    from tiny import make_tiny_face
    from visemo.cli import main
    from visemo.face import library
    from visemo.training.fusion import FusionTask
    from visemo.types import VisemoError

    library.load_face = lambda name: make_tiny_face()
    losses = FusionTask.losses

    def wrong(self, step):
        if rank() == 1 and step == 3:
            raise VisemoError("loss: got something odd,\nexpected nothing of the kind; look at the data")
        return losses(self, step)

    FusionTask.losses = wrong
    words = "--steps 9 --batch 4 --geometry-map False --speech-shapes 4 --expression-shapes 4 --device cpu"
    sys.exit(main(["train", "fusion", "--data", f"{folder}/store", "-o", f"{folder}/failed", *words.split()]))


def die(folder: Path) -> None:
    """The second process is killed while the first waits for it."""
    from visemo.types import VisemoError

    with join(torch.device("cpu")) as world:
        for step in range(9):
            if (rank(), step) == (1, 6):
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                world.mean(torch.ones(1))
            except VisemoError as error:
                sys.stderr.write(f"{error}\n")
                raise SystemExit(2) from error


def rank() -> int:
    return int(os.environ["RANK"])


def run(jobs: list[str], folder: Path) -> None:
    torch.set_num_threads(1)
    for job in jobs:
        result = globals()[job](folder)
        (folder / f"{job}.{rank()}.json").write_text(json.dumps(result))


def fork(number: int, port: int, jobs: list[str], folder: Path) -> int:
    """A child that knows what torchrun would have told it, and has read all modules; returns only in the parent."""
    child = os.fork()
    if not child:
        told = {"RANK": number, "WORLD_SIZE": 2, "LOCAL_RANK": number, "LOCAL_WORLD_SIZE": 2}
        told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in told.items()})
        os.dup2(os.open(folder / f"{jobs[-1]}.{number}.err", os.O_CREAT | os.O_WRONLY), 2)
        run(jobs, folder)
        sys.exit()
    return child


if __name__ == "__main__":
    import torch._dynamo  # which the first optimiser would ask for

    children, codes = {}, {}
    for jobs in (argument.split(",") for argument in sys.argv[2:]):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for number in range(2):
            children[fork(number, port, jobs, Path(sys.argv[1]))] = f"{jobs[-1]}.{number}"
    for _ in range(len(children)):
        child, status = os.wait()
        codes[children[child]] = os.waitstatus_to_exitcode(status)
    (Path(sys.argv[1]) / "codes.json").write_text(json.dumps(codes))
