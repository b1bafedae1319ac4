"""The deformation fusion module (DFM): two encoders, one linear decoder, no bias (Eq. 3-8, 13).

dV = B_A w_A + B_E w_E. Each encoder gives all K = K_A + K_E weights of its input; the half that
belongs to the other factor is the leak: E_a(dV_A) = [w_A, eps_A], E_e(dV_E) = [eps_E, w_E].
Fusion drops both leaks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visemo.geometry.geomap import GeometryMap
from visemo.types import MODES, Mode, VisemoError
from visemo.units import M_PER_CM, MM_PER_M

# Instance norm divides by sqrt(variance + epsilon). With these two a signal far smaller than a face in motion
# passes all blocks with a gain near one, so noise at rest stays noise, and size is not forgotten.
FIRST_EPS = 1e-5  # of displacements in metres
DEEP_EPS = 0.1  # of what the first block made of them
FIRST_SHAPES = 5e-3  # cm, standard deviation of random blendshapes: larger ones have to be unlearned first


@dataclass(frozen=True)
class FusionConfig:
    """What a DFM is made of; `paper()` and `default()` are the two presets.

    vertices : V of the face
    speech_shapes, expression_shapes : K_A, K_E
    map_size : side of the square geometry map, pixels
    channels : output channels of the convolution blocks (3x3, stride 2)
    instance_norm : affine instance norm and biases, as published. Without it nothing in the network
        has an offset, so f(k x) = k f(x) for k > 0 and rest stays exactly at rest.
    linear_pool : side of the average-pooled map that also reaches the weights through one linear
        layer, so that the network contains the linear encoders; 0 leaves it out
    geometry_map : False replaces convolutions by an MLP on the flattened displacements with as many
        parameters (an ablation of the paper)
    block : frames per pass when nothing is learned: small blocks stay in the processor's cache
    """

    vertices: int
    speech_shapes: int = 32
    expression_shapes: int = 32
    map_size: int = 128
    channels: tuple[int, ...] = (32, 64, 128, 128, 256, 256)
    instance_norm: bool = True
    linear_pool: int = 0
    geometry_map: bool = True
    block: int = 8

    def __post_init__(self) -> None:
        if min(self.vertices, self.speech_shapes, self.expression_shapes, self.block) < 1:
            raise VisemoError(f"fusion: got {self}, expected at least one vertex, shape and frame per block")
        if self.map_size % 2 ** len(self.channels):
            raise VisemoError(
                f"map_size: got {self.map_size}, expected a multiple of {2 ** len(self.channels)} "
                f"for {len(self.channels)} blocks"
            )
        if self.linear_pool and self.map_size % self.linear_pool:
            raise VisemoError(f"linear_pool: got {self.linear_pool}, expected a divisor of {self.map_size}")

    @classmethod
    def paper(cls, vertices: int) -> FusionConfig:
        """The published size: 17.89 MB of float32 for 10857 vertices."""
        return cls(vertices)

    @classmethod
    def default(cls, vertices: int) -> FusionConfig:
        """Lean and exactly homogeneous."""
        return cls(vertices, map_size=64, channels=(16, 32, 64, 64), instance_norm=False, linear_pool=32, block=16)

    @property
    def shapes(self) -> int:
        """K = K_A + K_E."""
        return self.speech_shapes + self.expression_shapes


def fuse(speech: tuple[Tensor, Tensor], expression: tuple[Tensor, Tensor], mode: Mode = "fused") -> Tensor:
    """Eq. 13 and what it is compared with: weights (T, K) of one take.

    Parameters
    ----------
    speech : w_A (T, K_A), eps_A (T, K_E)
    expression : eps_E (T, K_A), w_E (T, K_E)
    mode : "fused" drops both leaks; "speech" and "expression" keep one factor; "naive" adds the two
        inputs as they are, [w_A + eps_E | w_E + eps_A]

    Raises
    ------
    VisemoError
        for an unknown mode, with the list
    """
    w_a, eps_a = speech
    eps_e, w_e = expression
    if mode == "fused":
        return torch.cat([w_a, w_e], dim=1)
    if mode == "speech":
        return torch.cat([w_a, torch.zeros_like(w_e)], dim=1)
    if mode == "expression":
        return torch.cat([torch.zeros_like(w_a), w_e], dim=1)
    if mode == "naive":
        return torch.cat([w_a + eps_e, w_e + eps_a], dim=1)
    raise VisemoError(f"mode: got {mode!r}, expected one of {', '.join(MODES)}")


def _input_unit(config: FusionConfig) -> float:
    """What metres are multiplied by: nothing before instance norm, whose epsilon is meant for metres; without
    the norm millimetres suit the optimiser."""
    return 1.0 if config.instance_norm else MM_PER_M


class MapEncoder(nn.Module):
    """Weights (B, K) from a geometry map (B, 3, H, W) in metres."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.pool = config.linear_pool
        self.unit = _input_unit(config)
        self.blocks = nn.Sequential()
        channels = (3, *config.channels)
        for n_in, n_out in pairwise(channels):
            self.blocks.append(nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=config.instance_norm))
            if config.instance_norm:
                eps = DEEP_EPS if len(self.blocks) > 1 else FIRST_EPS
                # instance norm: group norm with a group per channel is the same and takes half the time
                self.blocks.append(nn.GroupNorm(n_out, n_out, eps))
            self.blocks.append(nn.ReLU())
        side = config.map_size // 2 ** len(config.channels)
        self.head = nn.Linear(channels[-1] * side * side, config.shapes, bias=config.instance_norm)
        self.linear = nn.Linear(3 * self.pool**2, config.shapes, bias=False) if self.pool else None

    def pooled(self, maps: Tensor) -> Tensor:
        """Input of the linear path: (B, 3 * pool^2), in the unit of the input."""
        return F.avg_pool2d(maps * self.unit, maps.shape[-1] // self.pool).flatten(1)

    def forward(self, maps: Tensor) -> Tensor:
        weights = self.head(self.blocks(maps * self.unit).flatten(1))
        return weights if self.linear is None else weights + self.linear(self.pooled(maps))

    def output_layers(self) -> list[nn.Linear]:
        """Layers whose sum is the weights: blendshapes are rescaled there."""
        return [self.head] if self.linear is None else [self.head, self.linear]


class VertexEncoder(nn.Module):
    """Weights (B, K) from displacements (B, V, 3) in metres: an MLP of a given number of parameters."""

    def __init__(self, config: FusionConfig, parameters: int) -> None:
        super().__init__()
        bias = config.instance_norm
        self.unit = _input_unit(config)
        width = max(1, round((parameters - bias * config.shapes) / (3 * config.vertices + config.shapes + bias)))
        self.hidden = nn.Linear(3 * config.vertices, width, bias=bias)
        self.head = nn.Linear(width, config.shapes, bias=bias)

    def forward(self, displacements: Tensor) -> Tensor:
        return self.head(F.relu(self.hidden(self.unit * displacements.flatten(1))))

    def output_layers(self) -> list[nn.Linear]:
        return [self.head]


def _encoder(config: FusionConfig) -> MapEncoder | VertexEncoder:
    encoder = MapEncoder(config)
    if config.geometry_map:
        return encoder
    return VertexEncoder(config, sum(p.numel() for p in encoder.parameters()))


class Fusion(nn.Module):
    """The DFM on one face.

    Parameters
    ----------
    config : FusionConfig
    geomap : GeometryMap of the face, `config.map_size` pixels wide

    Raises
    ------
    VisemoError
        when the geometry map has another size than the config says
    """

    def __init__(self, config: FusionConfig, geomap: GeometryMap) -> None:
        super().__init__()
        if geomap.size != config.map_size:
            raise VisemoError(f"geometry map: got {geomap.size} pixels, expected {config.map_size}")
        self.config = config
        self.geomap = geomap
        self.speech_encoder = _encoder(config)
        self.expression_encoder = _encoder(config)
        # in centimetres: a blendshape is about that long, which suits the optimiser's step
        self.decoder = nn.Linear(config.shapes, 3 * config.vertices, bias=False)
        nn.init.normal_(self.decoder.weight, std=FIRST_SHAPES)

    @property
    def basis(self) -> Tensor:
        """(K, V, 3) m, the blendshapes [B_A | B_E]."""
        return self.decoder.weight.T.reshape(self.config.shapes, -1, 3) * M_PER_CM

    def set_basis(self, basis: Tensor) -> None:
        """Replace the blendshapes by (K, V, 3) m."""
        with torch.no_grad():
            self.decoder.weight.copy_(basis.reshape(self.config.shapes, -1).T / M_PER_CM)

    def decode(self, weights: Tensor) -> Tensor:
        """Eq. 6: displacements (B, V, 3) m of weights (B, K)."""
        return self.decoder(weights).view(len(weights), -1, 3) * M_PER_CM

    def encode_speech_map(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 3 on what E_a reads, geometry maps (B, 3, H, W) m (displacements where the configuration has no
        geometry map): w_A (B, K_A) and eps_A (B, K_E)."""
        return self._halves(self.speech_encoder, maps)

    def encode_expression_map(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 4 on what E_e reads, as `encode_speech_map`: eps_E (B, K_A) and w_E (B, K_E)."""
        return self._halves(self.expression_encoder, maps)

    def encode_speech(self, displacements: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 3 on displacements (B, V, 3) m: w_A (B, K_A) and eps_A (B, K_E)."""
        return self._halves(self._after_map(self.speech_encoder), displacements)

    def encode_expression(self, displacements: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 4 on displacements (B, V, 3) m: eps_E (B, K_A) and w_E (B, K_E)."""
        return self._halves(self._after_map(self.expression_encoder), displacements)

    def _after_map(self, encoder: nn.Module) -> Callable[[Tensor], Tensor]:
        if not self.config.geometry_map:
            return encoder
        return lambda displacements: encoder(self.geomap.to_map(displacements))

    def _halves(self, encoder: Callable[[Tensor], Tensor], batch: Tensor) -> tuple[Tensor, Tensor]:
        """Encode, in small blocks unless gradients are wanted, and cut the weights at K_A."""
        if torch.is_grad_enabled():
            weights = encoder(batch)
        else:
            weights = torch.cat([encoder(block) for block in batch.split(self.config.block)])
        speech, expression = weights.split([self.config.speech_shapes, self.config.expression_shapes], dim=1)
        return speech, expression

    def rescale(self, scale: Tensor) -> None:
        """Multiply blendshape k by scale[k] (K,) and divide its weight by it: the same faces."""
        with torch.no_grad():
            self.decoder.weight.mul_(scale)
            for encoder in (self.speech_encoder, self.expression_encoder):
                for layer in encoder.output_layers():
                    layer.weight.div_(scale[:, None])
                    if layer.bias is not None:
                        layer.bias.div_(scale)

    fuse = staticmethod(fuse)

    def fuse_residual(
        self,
        dv_speech: Tensor,
        dv_expression: Tensor,
        speech: tuple[Tensor, Tensor],
        expression: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Eq. 8: (dV_A - B_E eps_A) + (dV_E - B_A eps_E), which keeps what K shapes cannot express.

        Parameters
        ----------
        dv_speech, dv_expression : (T, V, 3) m
        speech : (w_A, eps_A) of `dv_speech`
        expression : (eps_E, w_E) of `dv_expression`

        Returns
        -------
        (T, V, 3) m
        """
        return dv_speech + dv_expression - self.decode(torch.cat([expression[0], speech[1]], dim=1))
