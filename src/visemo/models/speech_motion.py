"""Speech to motion: FaceFormer's autoregressive decoder, exactly, decoded without its vertices.

Equation 2 of the paper: dV_A(t) from the audio, the model's own past, and a speaker's style. One
post-norm transformer decoder layer with a periodic position, a biased causal mask and a diagonal
memory mask; the latter makes cross-attention one linear map of each audio frame. Module names are
those of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visemo.models import latent_decoder
from visemo.models.audio_encoder import AudioEncoder, AudioEncoderConfig, MelEncoder, Progress
from visemo.models.latent_decoder import DecoderWeights
from visemo.types import FloatArray, VisemoError

DECODE_BLOCK = 3000  # frames between two reports of progress


@dataclass(frozen=True)
class SpeechMotionConfig:
    """What rebuilds a SpeechMotion.

    basis_size 0: FaceFormer as published, which predicts 3 * vertices numbers per frame.
    basis_size P: the same network predicts P coordinates of a fixed linear basis.
    """

    vertices: int
    subjects: tuple[str, ...]  # the training speakers, in the order of the one-hot style
    audio: AudioEncoderConfig = field(default_factory=AudioEncoderConfig)
    feature_dim: int = 64
    period: int = 30  # frames
    heads: int = 4
    max_frames: int = 600  # how far self-attention looks back
    basis_size: int = 0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.vertices < 1 or not self.subjects or len(set(self.subjects)) != len(self.subjects):
            raise VisemoError(
                f"speech model: got {self.vertices} vertices and subjects {self.subjects}, "
                "expected at least one vertex and distinct subjects"
            )
        if self.heads < 1 or self.heads & (self.heads - 1) or self.feature_dim % (4 * self.heads):
            raise VisemoError(
                f"speech model: got {self.heads} heads for {self.feature_dim} features, "
                "expected a power of two that divides a quarter of the features"
            )
        if self.period < 1 or self.max_frames < 1 or self.basis_size < 0:
            raise VisemoError(
                f"speech model: got period {self.period}, max_frames {self.max_frames}, "
                f"basis_size {self.basis_size}, expected 1 or more, 1 or more, 0 or more"
            )

    @property
    def outputs(self) -> int:
        """Numbers per frame: the published `vertice_dim`."""
        return self.basis_size or 3 * self.vertices

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SpeechMotionConfig:
        """From `dataclasses.asdict`, through JSON or not.

        Raises VisemoError on unknown or missing names.
        """
        try:
            audio = dict(values["audio"])
            audio["dilations"] = tuple(audio["dilations"])
            given = {**values, "subjects": tuple(values["subjects"]), "audio": AudioEncoderConfig(**audio)}
            return cls(**given)
        except (KeyError, TypeError) as error:
            raise VisemoError(
                f"speech model: got a config that does not fit ({error}), expected one of this version"
            ) from error


def paper_config(vertices: int, subjects: tuple[str, ...]) -> SpeechMotionConfig:
    """FaceFormer as published for VOCASET, with wav2vec2-base."""
    return SpeechMotionConfig(vertices, subjects, AudioEncoderConfig(kind="wav2vec2"))


def default_config(vertices: int, subjects: tuple[str, ...]) -> SpeechMotionConfig:
    """The small preset: log-mel encoder, 48 coordinates of a motion basis."""
    return SpeechMotionConfig(vertices, subjects, AudioEncoderConfig(kind="mel"), basis_size=48)


def build_audio_encoder(config: AudioEncoderConfig) -> AudioEncoder:
    """The encoder that `config` describes, with random weights."""
    if config.kind == "mel":
        return MelEncoder(config)
    from visemo.models.wav2vec2 import Wav2Vec2Encoder  # brings transformers, which is slow to import

    return Wav2Vec2Encoder(config)


class SpeechMotion(nn.Module):
    """Audio (B, S) and style (B, n_subjects) to displacements of the face, frame by frame.

    Predictions are displacements in metres: 3V numbers (x, y, z of vertex 0, of vertex 1, ...), or
    with a basis P coordinates of `motion_basis` (P, 3V) metres per unit.
    """

    motion_basis: Tensor
    positions: Tensor
    attention_bias: Tensor

    def __init__(self, config: SpeechMotionConfig) -> None:
        super().__init__()
        self.config = config
        size, heads = config.feature_dim, config.heads
        self.audio_encoder = build_audio_encoder(config.audio)
        self.audio_feature_map = nn.Linear(self.audio_encoder.width, size)
        self.vertice_map = nn.Linear(config.outputs, size)
        layer = nn.TransformerDecoderLayer(size, heads, 2 * size, config.dropout, batch_first=True)
        self.transformer_decoder = nn.TransformerDecoder(layer, num_layers=1)
        self.vertice_map_r = nn.Linear(size, config.outputs)
        nn.init.zeros_(self.vertice_map_r.weight)
        nn.init.zeros_(self.vertice_map_r.bias)
        self.obj_vector = nn.Linear(len(config.subjects), size, bias=False)
        if config.basis_size:
            self.register_buffer("motion_basis", torch.zeros(config.basis_size, 3 * config.vertices))
        positions = latent_decoder.periodic_positions(config.period, size)
        self.register_buffer("positions", torch.from_numpy(positions), persistent=False)
        bias = latent_decoder.attention_bias(heads, config.max_frames, config.period)
        self.register_buffer("attention_bias", torch.from_numpy(bias), persistent=False)

    @property
    def layer(self) -> nn.TransformerDecoderLayer:
        layer = self.transformer_decoder.layers[0]
        assert isinstance(layer, nn.TransformerDecoderLayer)
        return layer

    def style_of(self, subject: str) -> Tensor:
        """One-hot style (n_subjects,) of a training subject.

        Raises VisemoError, with the list, when the subject is unknown.
        """
        subjects = self.config.subjects
        if subject not in subjects:
            raise VisemoError(f"subject: got {subject!r}, expected one of {', '.join(subjects)}")
        style = torch.zeros(len(subjects), device=self.vertice_map.weight.device)
        style[subjects.index(subject)] = 1
        return style

    # --- training: differentiable ---------------------------------------------------------------------

    def forward(self, samples: Tensor, style: Tensor, frames: int) -> Tensor:
        """Free-running prediction, differentiable through its own past.

        Parameters
        ----------
        samples : (B, S) float32, 16 kHz.
        style : (B, n_subjects) float32, one-hot or a mixture.
        frames : number T of frames wanted.

        Returns
        -------
        (B, T, C) float32; C = 3 * vertices in metres, or the basis coordinates.
        """
        return self.unroll(self.audio_encoder(samples, frames), style)

    def unroll(self, features: Tensor, style: Tensor) -> Tensor:
        """Encoder features (B, T, width) and style (B, n_subjects) -> (B, T, C), free-running.

        A frame's dropout is drawn once and kept for all later frames that look back at it; FaceFormer
        decodes the whole past anew at every step and draws again. Without dropout the two are equal.
        """
        crossed = self._crossed(features)
        style_token = self.obj_vector(style)
        feedback_w, feedback_b = self._feedback()
        token, keys, values, latents = style_token, [], [], []
        for t in range(features.shape[1]):
            latent = self._step(token, t, crossed[:, t], keys, values)
            latents.append(latent)
            token = torch.addmm(feedback_b, latent, feedback_w) + style_token
        return self.vertice_map_r(torch.stack(latents, dim=1))

    def _step(self, token: Tensor, t: int, crossed: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
        """One frame through the decoder layer: token (B, D) -> latent (B, D); appends to the cache."""
        layer = self.layer
        x = F.dropout(token + self.positions[t % self.config.period], self.config.dropout, self.training)
        x = layer.norm1(x + layer.dropout1(self._attend(x, keys, values)))
        x = layer.norm2(x + crossed)
        hidden = layer.dropout(F.relu(layer.linear1(x)))
        return layer.norm3(x + layer.dropout3(layer.linear2(hidden)))

    def _attend(self, x: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
        """Self-attention of the newest frame (B, D) over the last `max_frames`, itself included."""
        attention, heads = self.layer.self_attn, self.config.heads
        projected = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
        query, key, value = projected.view(len(x), 3, heads, -1).unbind(1)  # (B, H, D/H)
        keys.append(key)
        values.append(value)
        past = slice(-self.config.max_frames, None)
        remembered = torch.stack(keys[past], dim=3), torch.stack(values[past], dim=2)
        scale = query.shape[-1] ** -0.5
        scores = (query * scale).unsqueeze(2) @ remembered[0]  # (B, H, 1, n)
        scores = scores + self.attention_bias[:, None, -scores.shape[-1] :]
        shares = F.dropout(scores.softmax(dim=-1), attention.dropout, self.training)
        return attention.out_proj((shares @ remembered[1]).flatten(1))

    def _crossed(self, features: Tensor) -> Tensor:
        """What cross-attention adds at every frame: (B, T, width) -> (B, T, D).

        Each frame may attend to its own audio frame only, so its one weight is 1 and the attention is
        out_proj(V_proj(audio)); in training the published dropout still strikes that weight, per head.
        """
        attention, size = self.layer.multihead_attn, self.config.feature_dim
        audio = self.audio_feature_map(features)
        assert attention.in_proj_bias is not None
        value = F.linear(audio, attention.in_proj_weight[2 * size :], attention.in_proj_bias[2 * size :])
        if self.training:
            per_head = value.unflatten(-1, (self.config.heads, -1))
            value = (per_head * F.dropout(torch.ones_like(per_head[..., :1]), attention.dropout)).flatten(-2)
        return self.layer.dropout2(attention.out_proj(value))

    def _feedback(self) -> tuple[Tensor, Tensor]:
        """`vertice_map` after `vertice_map_r` as one map of a latent: weight (D, D), bias (D,)."""
        weight = self.vertice_map_r.weight.T @ self.vertice_map.weight.T
        bias = self.vertice_map(self.vertice_map_r.bias)
        return weight, bias

    # --- inference: incremental ------------------------------------------------------------------------

    @torch.no_grad()
    def latents(self, samples: Tensor, style: Tensor, frames: int, progress: Progress | None = None) -> Tensor:
        """Free-running latents of a clip of any length, decoded incrementally.

        Equal to `unroll` up to rounding. Self-attention looks back at most `max_frames`, beyond which
        FaceFormer itself is not defined; ages in its bias and positions in the period stay true.

        Parameters
        ----------
        samples : (S,) float32, 16 kHz.
        style : (n_subjects,) float32.
        frames : number T of frames wanted.
        progress : called with the fraction done, 0..1.

        Returns
        -------
        (T, D) float32 on the model's device; `output_basis` turns them into displacements.
        """
        if self.training:
            raise VisemoError("speech model: got a model in training mode, expected eval() before decoding")
        share = 0.9 if self.config.audio.kind == "wav2vec2" else 0.5  # of the time goes to the encoder
        scaled = None if progress is None else lambda done: progress(share * done)
        crossed = self._crossed(self.audio_encoder(samples[None], frames, scaled))[0].cpu().numpy()
        weights = self._decoder_weights(style)
        state = latent_decoder.first_state(self.obj_vector(style).cpu().numpy(), self.config.max_frames)
        latents = np.empty_like(crossed)
        for start in range(0, frames, DECODE_BLOCK):
            block = slice(start, min(start + DECODE_BLOCK, frames))
            latent_decoder.decode(crossed[block], state, weights, latents[block])
            if progress is not None:
                progress(share + (1 - share) * block.stop / frames)
        return torch.from_numpy(latents).to(samples.device)

    @torch.no_grad()
    def output_basis(self) -> tuple[Tensor, Tensor]:
        """Weight (D, V, 3) and bias (V, 3) in metres: dV = latents @ weight + bias."""
        weight, bias = self.vertice_map_r.weight.T, self.vertice_map_r.bias
        if self.config.basis_size:
            weight, bias = weight @ self.motion_basis, bias @ self.motion_basis
        return weight.reshape(len(weight), -1, 3), bias.reshape(-1, 3)

    @torch.no_grad()
    def generate(self, samples: Tensor, style: Tensor, frames: int) -> Tensor:
        """Displacements (T, V, 3) in metres of a clip: samples (S,), style (n_subjects,)."""
        weight, bias = self.output_basis()
        latents = self.latents(samples, style, frames)
        return torch.addmm(bias.flatten(), latents, weight.flatten(1)).view(frames, -1, 3)

    def _decoder_weights(self, style: Tensor) -> DecoderWeights:
        """The decoder layer as contiguous arrays that map rows."""
        layer = self.layer
        feedback_w, feedback_b = self._feedback()
        assert layer.self_attn.in_proj_bias is not None
        tensors = {
            "in_w": layer.self_attn.in_proj_weight.T,
            "in_b": layer.self_attn.in_proj_bias,
            "out_w": layer.self_attn.out_proj.weight.T,
            "out_b": layer.self_attn.out_proj.bias,
            "norm1_w": layer.norm1.weight,
            "norm1_b": layer.norm1.bias,
            "norm2_w": layer.norm2.weight,
            "norm2_b": layer.norm2.bias,
            "linear1_w": layer.linear1.weight.T,
            "linear1_b": layer.linear1.bias,
            "linear2_w": layer.linear2.weight.T,
            "linear2_b": layer.linear2.bias,
            "norm3_w": layer.norm3.weight,
            "norm3_b": layer.norm3.bias,
            "feedback_w": feedback_w,
            "feedback_b": feedback_b + self.obj_vector(style),
            "positions": self.positions,
            "bias": self.attention_bias,
        }
        return DecoderWeights(**{name: _array(tensor) for name, tensor in tensors.items()})


def _array(tensor: Tensor) -> FloatArray:
    return np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype=np.float32)
