"""What the closed-form split makes of a planted corpus, before any network learns it.

    .venv/bin/python runs/split.py STORE [COMPONENTS [TRUST [LENGTH]]]

For every label of the test part, beside the lips: how much of the pure expression is left (amplitude, cosine), and how
far apart its lips are (mm); then the error at the lips of both kinds of takes.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from visemo.evaluate.metrics import lip_gap
from visemo.evaluate.report import SHOWING, likeness
from visemo.face.library import load_face
from visemo.training.corpus import Corpus, Recording, thin
from visemo.training.pca import principal_motion
from visemo.training.split import Group, Split, SplitConfig, closed_form_split
from visemo.units import MM_PER_M

FRAMES = 5000  # of each kind, for the motion basis
say = sys.stdout.write


def divided(corpus: Corpus, config: SplitConfig) -> Split:
    """The split of the training part."""
    kinds = [corpus.takes("train", kind) for kind in ("speech", "expression")]
    everything = [(r, thin(takes, FRAMES)) for takes in kinds for r in takes]
    motion = principal_motion(
        lambda: (b for recording, stride in everything for b in recording.blocks(stride)),
        config.components, torch.ones(len(corpus.face.template)),
    )  # fmt: skip

    def coordinates(recording: Recording) -> np.ndarray:
        return torch.cat([motion.coordinates(b) for b in recording.blocks()]).double().numpy() * MM_PER_M

    speech, expression = ([coordinates(r) for r in takes] for takes in kinds)
    return closed_form_split(
        corpus.face, motion, Group(speech, [r.speaker for r in kinds[0]]),
        Group(expression, [r.take.label for r in kinds[1]]), config,
    )  # fmt: skip


def main(store: Path, config: SplitConfig) -> None:
    face = load_face("builtin")
    corpus = Corpus([store], face, "faceformer")
    split = divided(corpus, config)
    lips = face.regions["lips"]
    beside = np.setdiff1d(np.concatenate([face.regions[name] for name in SHOWING]), lips)
    found: dict[str, list[tuple[float, float, float]]] = {}
    errors: dict[str, list[float]] = {"speech": [], "expression": []}
    for kind, values in errors.items():
        for recording in corpus.takes("test", kind):
            moved = torch.cat(list(recording.blocks()))
            pure = recording.truth(f"{kind}_pure")
            if kind == "speech":
                own = (moved - split.expression_in_speech(moved)).numpy()
            else:
                own = (moved - split.speech_in_expression(moved, recording.take.label)).numpy()
                gap = lip_gap(face.template + own, face.lip_pairs).max()
                found.setdefault(recording.take.label, []).append((*likeness(own[:, beside], pure[:, beside]), gap))
            values.append(MM_PER_M * np.linalg.norm(own[:, lips] - pure[:, lips], axis=2).mean())
    for label, rows in found.items():
        say("{:12} amplitude {:.3f} cosine {:.3f} lips {:.2f} mm apart\n".format(label, *np.mean(rows, axis=0)))
    for kind, values in errors.items():
        say(f"lips of {kind} takes: {np.mean(values):.3f} mm off\n")


if __name__ == "__main__":
    default = SplitConfig()
    given = [float(word) for word in sys.argv[2:]]
    values = [*given, *(default.components, default.trust, default.length)[len(given) :]]
    main(Path(sys.argv[1]), SplitConfig(int(values[0]), trust=values[1], length=values[2]))
