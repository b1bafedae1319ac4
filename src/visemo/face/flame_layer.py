"""FLAME's mesh from its parameters: linear shape, pose correctives, and blended rotations of five joints.

Source: Li, Bolkart, Black, Li, Romero, "Learning a model of facial shape and expression from 4D scans", SIGGRAPH Asia
2017, equations 1 to 4; the joints and their order as in the published files.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from visemo.face.flame import FlameModel
from visemo.types import VisemoError

WIDTHS = {"rotation": 3, "neck": 3, "jaw": 3, "eyes": 6, "translation": 3}
PARAMETERS = ("shape", "expression", *WIDTHS, "static_offset")
SMALL = 1e-2  # squared angle (rad^2) below which the series is as good as the sine


class Posed(NamedTuple):
    """What `FlameLayer.posed` returns."""

    vertices: Tensor  # (B, 5023, 3) m
    joints: Tensor  # (B, 5, 3) m: root, neck, jaw, left eye, right eye


class FlameLayer(nn.Module):
    """FLAME as a differentiable function of its parameters, batched, on any device, in the layer's own dtype.

    Rotations are carried as their difference from the identity, so that the rest pose is `v_template` to the last bit
    and small rotations lose no digits. The model's arrays are buffers that no checkpoint stores: FLAME's licence does
    not go with weights.

    Parameters
    ----------
    model : whose arrays are used; the layer's components are all of its components.
    """

    v_template: Tensor
    identity: Tensor
    expression: Tensor
    posedirs: Tensor
    weights: Tensor
    joint_regressor: Tensor

    def __init__(self, model: FlameModel) -> None:
        super().__init__()
        count = len(model.v_template)
        identity, expression = model.shapedirs[..., : model.n_shape], model.shapedirs[..., model.n_shape :]
        arrays = {
            "v_template": model.v_template,
            "identity": identity.reshape(count * 3, -1).T,  # (n_shape, 5023 * 3)
            "expression": expression.reshape(count * 3, -1).T,
            "posedirs": model.posedirs.reshape(count * 3, -1).T,  # (36, 5023 * 3)
            "weights": model.weights,
            "joint_regressor": model.joint_regressor,
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.tensor(array).contiguous(), persistent=False)
        self.parents = [int(parent) for parent in model.parents]
        self.source = model.source

    def forward(
        self,
        shape: Tensor | None = None,
        expression: Tensor | None = None,
        rotation: Tensor | None = None,
        neck: Tensor | None = None,
        jaw: Tensor | None = None,
        *,
        eyes: Tensor | None = None,
        translation: Tensor | None = None,
        static_offset: Tensor | None = None,
    ) -> Tensor:
        """Vertices (B, 5023, 3) m. What is not given is zero; a batch of one goes with any other.

        Parameters
        ----------
        shape, expression : (B, n) identity and expression coefficients in standard deviations; fewer than the model
            has are its first ones.
        rotation, neck, jaw : (B, 3) axis-angle, rad; rotation turns the head about its root joint. A positive turn
            about +x opens the jaw.
        eyes : (B, 6) axis-angle of the left, then the right eye.
        translation : (B, 3) m, last of all.
        static_offset : (5023, 3) or (B, 5023, 3) m, added to the shaped vertices before they are posed.

        Raises
        ------
        VisemoError
            For other widths, more coefficients than the model has, and batches that differ.
        """
        return self.posed(
            shape=shape, expression=expression, rotation=rotation, neck=neck, jaw=jaw, eyes=eyes,
            translation=translation, static_offset=static_offset,
        ).vertices  # fmt: skip

    def posed(self, **given: Tensor | None) -> Posed:
        """As `forward`, whose arguments it takes by name, with the places of the joints."""
        given = dict.fromkeys(PARAMETERS) | given
        batch = self._batch(given)
        shaped = self._shaped(given, batch)
        joints = self.joint_regressor @ shaped
        turns = rotations_minus_identity(self._pose(given, batch))
        corrected = shaped + (turns[:, 1:].flatten(1) @ self.posedirs).view_as(shaped)
        turned, shifts = self._chain(turns, joints)
        # sum over joints of w (G v + shift), less v: nothing where nothing turns
        moves = torch.cat([turned, (shifts - (turned @ joints[..., None]).squeeze(-1))[..., None]], dim=-1)
        blended = (self.weights @ moves.flatten(2)).unflatten(-1, (3, 4))  # (B, V, 3, 4)
        moved = (blended[..., :3] @ corrected[..., None]).squeeze(-1) + blended[..., 3]
        places = joints + shifts
        offset = self._zero_or(given["translation"], 3, batch)[:, None]
        return Posed(corrected + moved + offset, places + offset)

    def _batch(self, given: dict[str, Tensor | None]) -> int:
        """The common length of the batches. Raises VisemoError for shapes that do not fit."""
        unknown = [name for name in given if name not in PARAMETERS]
        if unknown:
            raise VisemoError(f"FLAME: got parameters {', '.join(unknown)}, expected some of {', '.join(PARAMETERS)}")
        most = {"shape": len(self.identity), "expression": len(self.expression)}
        sizes = {1}
        for name, value in given.items():
            if value is None:
                continue
            if name == "static_offset":
                fits, wanted = (
                    value.shape[-2:] == self.v_template.shape and value.ndim in (2, 3),
                    f"{tuple(self.v_template.shape)}",
                )
            elif name in most:
                fits = value.ndim == 2 and value.shape[1] <= most[name]
                wanted = f"(B, at most {most[name]}), all that {self.source} has"
            else:
                fits, wanted = value.ndim == 2 and value.shape[1] == WIDTHS[name], f"(B, {WIDTHS[name]})"
            if not fits:
                raise VisemoError(f"FLAME {name}: got shape {tuple(value.shape)}, expected {wanted}")
            sizes.add(len(value) if value.ndim != 2 or name != "static_offset" else 1)
        if len(sizes - {1}) > 1:
            raise VisemoError(f"FLAME: got batches of {sorted(sizes - {1})}, expected one length for all, or 1")
        return max(sizes) if 0 not in sizes else 0

    def _zero_or(self, value: Tensor | None, width: int, batch: int) -> Tensor:
        """(B, width) in the layer's dtype, zeros where nothing is given."""
        if value is None:
            return self.v_template.new_zeros((batch, width))
        return value.to(self.v_template).expand(batch, width)

    def _shaped(self, given: dict[str, Tensor | None], batch: int) -> Tensor:
        """(B, V, 3): template, components and offset."""
        shaped = self.v_template.expand(batch, -1, -1)
        for name, basis in (("shape", self.identity), ("expression", self.expression)):
            value = given[name]
            if value is not None and value.shape[1]:
                moved = value.to(self.v_template) @ basis[: value.shape[1]]
                shaped = shaped + moved.view(len(value), -1, 3)
        offset = given["static_offset"]
        return shaped if offset is None else shaped + offset.to(self.v_template)

    def _pose(self, given: dict[str, Tensor | None], batch: int) -> Tensor:
        """(B, 5, 3) axis-angle by joint: root, neck, jaw, left eye, right eye."""
        parts = [self._zero_or(given[name], 3, batch) for name in ("rotation", "neck", "jaw")]
        return torch.cat([*parts, self._zero_or(given["eyes"], 6, batch)], dim=1).view(batch, len(self.parents), 3)

    def _chain(self, turns: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Along the parents: every joint's rotation minus the identity (B, 5, 3, 3) and its displacement (B, 5, 3)."""
        turned, shifts = [turns[:, 0]], [torch.zeros_like(joints[:, 0])]
        for joint, parent in enumerate(self.parents[1:], 1):
            above, bone = turned[parent], joints[:, joint] - joints[:, parent]
            turned.append(above + turns[:, joint] + above @ turns[:, joint])  # (1 + A)(1 + T) - 1
            shifts.append(shifts[parent] + (above @ bone[..., None]).squeeze(-1))
        return torch.stack(turned, dim=1), torch.stack(shifts, dim=1)


def rotations_minus_identity(axis_angle: Tensor) -> Tensor:
    """R - 1 (..., 3, 3) of axis-angle vectors (..., 3) rad, by Rodrigues' formula, smooth through zero."""
    squared = (axis_angle**2).sum(dim=-1)
    near = squared < SMALL
    safe = torch.where(near, torch.ones_like(squared), squared)  # so that no gradient divides by zero
    angle = safe.sqrt()
    small = torch.where(near, squared, torch.zeros_like(squared))
    sine_series = 1 - small / 6 * (1 - small / 20 * (1 - small / 42 * (1 - small / 72)))
    half_series = 0.5 * (1 - small / 12 * (1 - small / 30 * (1 - small / 56)))
    sine = torch.where(near, sine_series, angle.sin() / angle)  # sin(a) / a
    half = torch.where(near, half_series, 2 * (0.5 * angle).sin() ** 2 / safe)  # (1 - cos(a)) / a^2
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    return sine[..., None, None] * cross + half[..., None, None] * (cross @ cross)
