"""A speech model on a head that was sculpted anew: what it says stays, how the face shows it is fitted again.

    .venv/bin/python runs/carry_over.py MODEL FUSION_RUN STORE OUT

MODEL is a model folder of the head before, in the same topology. Its network predicts coordinates of a motion basis;
that basis is fitted by least squares so that the coordinates, predicted from the sound of training takes of STORE, show
the motion of these takes. FUSION_RUN was trained on the new head, and OUT becomes the model.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from visemo.face.library import load_face
from visemo.models.checkpoint import load_parts, save_model
from visemo.training.corpus import Corpus
from visemo.training.loop import MODEL

TAKES = 260
RIDGE = 1e-4  # of the mean energy of a coordinate


@torch.no_grad()
def main(model: Path, fusion_run: Path, store: Path, out: Path) -> None:
    face, parts, fusion = load_face("builtin"), load_parts(model), load_parts(fusion_run / MODEL)
    speech = parts.speech
    assert speech is not None and speech.config.basis_size
    takes = Corpus([store], face, "faceformer").takes("train", "speech")
    size = speech.config.basis_size
    inner = torch.zeros(size, size, dtype=torch.float64)
    outer = torch.zeros(size, 3 * len(face.template), dtype=torch.float64)
    for k in np.random.default_rng(0).choice(len(takes), min(TAKES, len(takes)), replace=False):
        take = takes[k]
        samples = torch.from_numpy(take.audio().samples)
        latents = speech.eval().latents(samples, speech.style_of(take.take.subject), take.frames)
        coordinates = speech.vertice_map_r(latents).double()
        moved = torch.cat([block.flatten(1) for block in take.blocks()]).double()
        inner += coordinates.T @ coordinates
        outer += coordinates.T @ moved
    ridge = RIDGE * torch.trace(inner) / size * torch.eye(size, dtype=torch.float64)
    speech.motion_basis.copy_(torch.linalg.solve(inner + ridge, outer))
    carried = {"carried_over": {"head": face.hash, "takes": min(TAKES, len(takes))}}
    training = {**parts.config["training"], **carried, **fusion.config["training"]}
    training = {name: training[name] for name in ("speech", "carried_over", "fusion")}
    save_model(
        out, face, speech=speech, fusion=fusion.fusion, expressions=fusion.expressions, training=training, half=True
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
