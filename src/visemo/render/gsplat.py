"""Gaussian splats drawn on a GPU by gsplat (Ye et al., JMLR 2025), as `draw_splats` draws them on the CPU.

Its projection, widening, faint ends and harmonics are those of `visemo.render.splat`. Three things differ: its camera
looks along +z with y downwards; a Gaussian may hide 0.999 of what lies behind it, where here it is 0.99; and it leaves
out the Gaussian that would let less than 1e-4 through, so that a hundredth of the background may show behind two solid
ones. What is agreed upon is set here, so that both pictures are the same within rounding nearly everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visemo.avatar.rig import Splats
from visemo.render.camera import Camera
from visemo.render.splat import LOW_PASS, NEAR, SOLID, backdrop, draw_splats
from visemo.types import VisemoError

Device = Literal["auto", "cpu", "cuda"]
Draw = Callable[[Splats, Camera, tuple[int, int], NDArray | None], NDArray[np.uint8]]

INSTALL = "pip install visemo[gpu]"


def drawing_on(device: Device = "auto") -> Draw:
    """The function that draws splats on a device: `draw_splats`, or its like on CUDA; auto takes CUDA where it works.

    Raises VisemoError for CUDA where there is no GPU or no gsplat that works, and for another device.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise VisemoError(f"device: got {device!r}, expected auto, cpu or cuda")
    if device == "cpu" or (device == "auto" and find_spec("gsplat") is None):
        return draw_splats
    lack = _lack()
    if lack and device == "cuda":
        raise VisemoError(f"device: got cuda, expected a GPU and gsplat to draw splats; {lack}, or use cpu")
    return draw_splats if lack else draw_with_gsplat


def draw_with_gsplat(
    splats: Splats,
    camera: Camera,
    size: tuple[int, int] = (512, 512),
    background: NDArray | None = None,
    device: str = "cuda",
) -> NDArray[np.uint8]:
    """As `draw_splats`, on a device of PyTorch that gsplat knows. Raises VisemoError as it does."""
    import torch

    def there(array: NDArray) -> torch.Tensor:
        return torch.tensor(np.asarray(array, np.float32), device=device)

    behind = there(backdrop(size, background))
    to_camera, lens = pinhole(camera, size)
    with torch.inference_mode():
        light, hidden, _ = import_module("gsplat").rasterization(
            there(splats.centres), there(splats.rotations), there(splats.scales),
            there(splats.opacity).clamp(max=SOLID), there(splats.sh), there(to_camera[None]), there(lens[None]),
            *size, near_plane=NEAR, eps2d=LOW_PASS, sh_degree=3, packed=False, rasterize_mode="classic",
        )  # fmt: skip
        picture = light[0] + (1 - hidden[0]) * behind
        return (picture.clamp(max=1) * 255 + 0.5).to(torch.uint8).cpu().numpy()


def pinhole(camera: Camera, size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A camera as OpenCV has it: (4, 4) from the world to its frame, x to the right, y downwards and z forwards, and
    its matrix (3, 3) onto pixels of a picture of that width and height."""
    width, height = size
    turn = np.diag([1.0, -1.0, -1.0]) @ camera.rotation
    to_camera = np.eye(4)
    to_camera[:3, :3], to_camera[:3, 3] = turn, -turn @ camera.position
    focal = 0.5 * height / np.tan(np.radians(camera.field_of_view) / 2)
    return to_camera, np.array([[focal, 0, 0.5 * width], [0, focal, 0.5 * height], [0, 0, 1]])


def _lack() -> str:
    """What CUDA lacks here, and what to do; empty where it draws."""
    import torch

    if not torch.cuda.is_available():
        return "PyTorch sees no GPU: take a machine with one"
    if find_spec("gsplat") is None:
        return f"gsplat is not installed: {INSTALL}"
    return _trial()


@cache
def _trial() -> str:
    """Draw one Gaussian: gsplat compiles its kernels at the first call, which needs the CUDA toolkit."""
    one = Splats(
        np.zeros((1, 3), np.float32), np.full((1, 3), 0.1, np.float32), np.array([[1, 0, 0, 0]], np.float32),
        np.ones(1, np.float32), np.zeros((1, 16, 3), np.float32),
    )  # fmt: skip
    try:
        draw_with_gsplat(one, Camera((0.0, 0.0, 1.0)), (16, 16))
    except Exception as error:  # whatever a compiler or a driver says
        why = (str(error) or type(error).__name__).splitlines()[0]
        return f"gsplat fails here ({why}): give it the CUDA toolkit of your PyTorch"
    return ""
