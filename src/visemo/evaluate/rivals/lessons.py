"""What rivals learn from: the training takes of a corpus, some thousand frames of each kind, in one motion basis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from visemo.training.corpus import Corpus, Recording
from visemo.training.group import Group
from visemo.training.pca import MotionBasis, principal_motion
from visemo.types import FloatArray
from visemo.units import M_PER_MM, MM_PER_M

FRAMES = 20_000  # of each kind, at most
COMPONENTS = 64  # of the motion basis: as many numbers for a frame as the fusion module has blendshapes
SPARSE = 2  # every so many frames shape the basis


class Lessons:
    """Whole training takes, evenly picked, of about `frames` frames of each kind; read when first asked for.

    `talks`, named by speaker, and `faces`, by label, are coordinates (T, P) mm of `motion`.

    Raises VisemoError for a corpus without training takes of one kind.
    """

    def __init__(self, corpus: Corpus, frames: int = FRAMES, components: int = COMPONENTS, seed: int = 0) -> None:
        self.face, self._components, self._seed = corpus.face, components, seed
        self._talks, self._faces = (_some(corpus.takes("train", kind), frames) for kind in ("speech", "expression"))

    @cached_property
    def motion(self) -> MotionBasis:
        """Of all frames of both kinds, every vertex weighing the same."""
        takes = (*self._talks, *self._faces)
        everywhere = torch.ones(len(self.face.template))
        return principal_motion(
            lambda: (block for take in takes for block in take.blocks(SPARSE)), self._components, everywhere, self._seed
        )

    @cached_property
    def talks(self) -> Group:
        return Group([self._read(r) for r in self._talks], [r.speaker for r in self._talks])

    @cached_property
    def faces(self) -> Group:
        return Group([self._read(r) for r in self._faces], [r.take.label for r in self._faces])

    def coordinates(self, displacements: FloatArray) -> FloatArray:
        """(T, V, 3) m -> (T, P) mm; a squared coordinate is a mean square displacement."""
        return self.motion.coordinates(torch.from_numpy(displacements)).numpy() * np.float32(MM_PER_M)

    def displacements(self, coordinates: np.ndarray) -> FloatArray:
        """(T, P) mm -> (T, V, 3) m."""
        rows = torch.from_numpy(np.asarray(coordinates, np.float32)) * M_PER_MM
        return self.motion.displacements(rows).numpy()

    def _read(self, recording: Recording) -> FloatArray:
        rows = [self.motion.coordinates(block) for block in recording.blocks()]
        return torch.cat(rows).numpy() * np.float32(MM_PER_M)


def _some(recordings: Sequence[Recording], frames: int) -> list[Recording]:
    """Takes from the first to the last that have about so many frames."""
    total = sum(r.frames for r in recordings)
    count = min(len(recordings), max(1, round(len(recordings) * frames / total)))
    return [recordings[k] for k in np.linspace(0, len(recordings) - 1, count).round().astype(int)]
