"""How many closures of captured talk are left when a captured expression is put on it: fused, guarded, naive.

    .venv/bin/python runs/captured_closures.py MODEL TALK FACES

MODEL is a model folder, TALK and FACES stores of captures on its face (see runs/ict.sh). Every held-out speech take is
put together with every expression take, whatever part it is of: an expression adds the same to talk it was never with.
"""

import sys
from collections import defaultdict

import numpy as np
import torch

from visemo.evaluate.answers import Answers
from visemo.evaluate.pair_measures import Duet, PairMeasures
from visemo.evaluate.places import Places
from visemo.evaluate.sheet import Sheet
from visemo.models.checkpoint import load_model
from visemo.training.corpus import Corpus

say = sys.stdout.write


def main(model: str, talk: str, faces: str) -> None:
    made = load_model(model)
    corpus = Corpus([talk, faces], made.face, "faceformer")
    worn = [recording for part in ("train", "val", "test") for recording in corpus.takes(part, "expression")]
    found = defaultdict(list)
    for heard in corpus.takes("test", "speech"):
        for shown in worn:
            sheet = Sheet()
            PairMeasures(Answers(made, corpus), Places(made.face), sheet).pair(Duet(heard, shown))
            for column in sheet.lips.sequences:
                found[column["mode"]] += list(column["values"].values())
                say(f"{shown.take.id} {column['mode']}: {np.mean(list(column['values'].values())):.1f} %\n")
    for mode, values in found.items():
        say(f"all {len(values)} pairs, {mode}: {np.mean(values):.1f} %\n")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main(*sys.argv[1:])
