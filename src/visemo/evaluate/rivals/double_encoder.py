"""A double encoder with a shared decoder: one network joins the latents of talk and of expression.

Source: EmoVOCA (Nocentini et al. 2024), whose generator learns every data set with the other latent at its neutral and
is then given both. There the layers are spiral convolutions, here they are dense, on coordinates of a motion basis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from visemo.evaluate.rivals.lessons import Lessons
from visemo.evaluate.rivals.rival import Setting
from visemo.models.fusion import FusionConfig, MapEncoder
from visemo.training.recipes import FusionRecipe
from visemo.types import FloatArray, VisemoError

RATES, LATENTS = (3e-4, 1e-3), (8, 16, 32, 64)
BATCH = 128  # frames of each kind


class DoubleEncoder(nn.Module):
    """Coordinates (T, P) of talk and of expression, of unit size -> coordinates of the face that has both."""

    def __init__(self, size: int, latent: int, width: int) -> None:
        super().__init__()
        self.talk_encoder, self.face_encoder = (
            nn.Sequential(nn.Linear(size, width), nn.ELU(), nn.Linear(width, latent)) for _ in range(2)
        )
        self.decoder = nn.Sequential(nn.Linear(2 * latent, width), nn.ELU(), nn.Linear(width, size))

    def forward(self, talk: Tensor, face: Tensor) -> Tensor:
        return self.decoder(torch.cat([self.talk_encoder(talk), self.face_encoder(face)], dim=1))

    def alone(self, talk: Tensor, face: Tensor) -> Tensor:
        """Rows of talk (B, P) with a neutral expression, then rows of expression (B, P) with nothing said."""
        rest = torch.zeros_like(talk[:1])
        shown, said = self.face_encoder(rest).expand(len(talk), -1), self.talk_encoder(rest).expand(len(face), -1)
        both = torch.cat([self.talk_encoder(talk), said]), torch.cat([shown, self.face_encoder(face)])
        return self.decoder(torch.cat(both, dim=1))


def width_for(parameters: int, size: int, latent: int) -> int:
    """Hidden units that give a `DoubleEncoder` so many parameters. Raises VisemoError when that is too few for one."""
    each, rest = 3 * size + 4 * latent + 3, 2 * latent + size
    width = round((parameters - rest) / each)
    if width < 1:
        raise VisemoError(f"double encoder: got {parameters} parameters, expected at least {each + rest}")
    return width


def encoder_parameters() -> int:
    """How many the two encoders of the default fusion module have; its blendshapes match the motion basis."""
    return 2 * sum(p.numel() for p in MapEncoder(FusionConfig.default(1)).parameters())


@dataclass(frozen=True, eq=False)
class Joined:
    """A trained network, with the root mean square (mm) that its coordinates are divided by."""

    lessons: Lessons
    network: DoubleEncoder
    scale: float

    @torch.inference_mode()
    def fuse(self, talk: FloatArray, face: FloatArray, label: str) -> FloatArray:
        rows = (torch.from_numpy(self.lessons.coordinates(motion) / self.scale) for motion in (talk, face))
        return self.lessons.displacements(self.network(*rows).numpy() * self.scale)


@dataclass(frozen=True)
class DoubleEncoders:
    """Adam on the mean square error of random frames of both kinds; as many steps as the fusion module gets."""

    steps: int = FusionRecipe.default().steps
    parameters: int = encoder_parameters()
    seed: int = 0
    name: str = "double encoder"
    settings: tuple[Setting, ...] = tuple({"rate": r, "latent": n} for r in RATES for n in LATENTS)

    def fit(self, lessons: Lessons, setting: Setting) -> Joined:
        frames = [group.frames.astype(np.float32) for group in (lessons.talks, lessons.faces)]
        scale = float(np.sqrt(np.mean([np.square(rows).mean() for rows in frames])))
        talks, faces = (torch.from_numpy(rows / scale) for rows in frames)
        random = torch.Generator().manual_seed(self.seed)
        latent, size = int(setting["latent"]), talks.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = DoubleEncoder(size, latent, width_for(self.parameters, size, latent))
        optimizer = torch.optim.Adam(network.parameters(), lr=setting["rate"], fused=True)
        for _ in range(self.steps):
            talk, face = (rows[torch.randint(len(rows), (BATCH,), generator=random)] for rows in (talks, faces))
            loss = nn.functional.mse_loss(network.alone(talk, face), torch.cat([talk, face]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return Joined(lessons, network.eval(), scale)
