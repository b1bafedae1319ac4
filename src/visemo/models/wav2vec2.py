"""wav2vec 2.0 as FaceFormer uses it: convolutions over the clip, features brought to the mesh frame
rate, then the transformer. Composed of the modules of transformers' Wav2Vec2Model under their own
names, so that every published wav2vec2-base fits (Baevski et al. 2020).

Memory does not grow with the clip beyond its features: the convolutions run in exact blocks, and
beyond `window` frames the transformer's attention runs in overlapping windows that are cross-faded.
Against the whole clip at once (65 s, random wav2vec2-base, whose attention is as flat as can be and so
misses the far sound most) the features differ by 3 % rms; the change from frame to frame across a seam
differs by 1 % of a usual change.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, Wav2Vec2Config, Wav2Vec2Model
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

from visemo.models.audio_encoder import AudioEncoder, AudioEncoderConfig, Progress
from visemo.types import VisemoError

CONV_BLOCK = 100  # feature frames (2 s) convolved at a time: what a level-3 cache holds
POSITION_BLOCK = 600  # mesh frames given their positions at a time
CONV_SHARE = 0.4  # of the time of a clip goes into the convolutions


class Wav2Vec2Encoder(AudioEncoder):
    """wav2vec 2.0 with the feature extractor frozen, as in FaceFormer.

    Raises VisemoError for the layouts that FaceFormer never used: layer-normed convolutions and
    pre-norm transformers (wav2vec2-large).
    """

    look_ahead = math.inf

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.hf_config = Wav2Vec2Config(**config.sizes)
        if self.hf_config.feat_extract_norm != "group" or self.hf_config.do_stable_layer_norm:
            raise VisemoError(
                "wav2vec 2.0: got a layer-normed or pre-norm layout, expected that of wav2vec2-base; use a base model"
            )
        model = AutoModel.from_config(self.hf_config, attn_implementation="sdpa")
        self.width = self.hf_config.hidden_size
        self.masked_spec_embed = model.masked_spec_embed
        self.feature_extractor = model.feature_extractor.requires_grad_(False)
        self.feature_projection = model.feature_projection
        self.encoder = model.encoder

    def normalise(self, samples: Tensor) -> Tensor:
        """Zero mean, unit variance over the whole clip, as the published processor does."""
        variance, mean = torch.var_mean(samples, dim=1, keepdim=True, correction=0)
        return (samples - mean) / torch.sqrt(variance + 1e-7)

    def encode(self, samples: Tensor, frames: int, progress: Progress | None = None) -> Tensor:
        """(B, S) normalised -> (B, T, width): features are interpolated before the transformer."""
        features = convolve(self.feature_extractor, samples, _part(progress, 0.0, CONV_SHARE))
        features = F.interpolate(features.transpose(1, 2), size=frames, mode="linear", align_corners=True)
        hidden, _ = self.feature_projection(features.transpose(1, 2))
        if self.training:
            return self.encoder(self._mask(hidden)).last_hidden_state
        return self._transform(hidden, _part(progress, CONV_SHARE, 1.0))

    def _mask(self, hidden: Tensor) -> Tensor:
        """SpecAugment along time: spans of frames become the learned mask embedding."""
        config = self.hf_config
        if hidden.shape[1] <= config.mask_time_length:
            return hidden
        spans = _compute_mask_indices(
            (hidden.shape[0], hidden.shape[1]),
            mask_prob=config.mask_time_prob,
            mask_length=config.mask_time_length,
            min_masks=config.mask_time_min_masks,
        )
        masked = torch.as_tensor(spans, dtype=torch.bool, device=hidden.device)
        return torch.where(masked[:, :, None], self.masked_spec_embed, hidden)

    def _transform(self, hidden: Tensor, progress: Progress | None) -> Tensor:
        """(B, T, width) through the transformer: positions over the whole clip, attention in windows."""
        hidden = self.encoder.layer_norm(hidden + self._positions(hidden))
        if hidden.shape[1] <= self.config.window:
            return self._layers(hidden)
        out, done = torch.empty_like(hidden), 0
        for start, stop in windows(hidden.shape[1], self.config.window, self.config.overlap):
            window = self._layers(hidden[:, start:stop])
            shared = done - start
            if shared > 0:  # fade from the window before to this one: each is least sure at its own end
                fade = (torch.arange(shared, device=hidden.device, dtype=hidden.dtype) + 0.5) / shared
                window[:, :shared] = torch.lerp(out[:, start:done], window[:, :shared], fade[:, None])
            out[:, start:stop] = window
            done = stop
            if progress is not None:
                progress(done / hidden.shape[1])
        return out

    def _positions(self, hidden: Tensor) -> Tensor:
        """The convolutional position embedding, in exact blocks: over a long clip at once it takes gigabytes."""
        embed = self.encoder.pos_conv_embed
        reach, frames = embed.conv.padding[0], hidden.shape[1]
        blocks = []
        for start in range(0, frames, POSITION_BLOCK):
            stop, first = min(start + POSITION_BLOCK, frames), max(0, start - reach)
            blocks.append(embed(hidden[:, first : stop + reach])[:, start - first : stop - first])
        return torch.cat(blocks, dim=1)

    def _layers(self, hidden: Tensor) -> Tensor:
        for layer in self.encoder.layers:
            hidden = layer(hidden)
        return hidden


@torch.no_grad()
def convolve(extractor: Any, samples: Tensor, progress: Progress | None = None) -> Tensor:
    """The convolutional feature extractor over whole clips (B, S) -> (B, n, channels), in blocks.

    Equal to running `extractor` at once, up to rounding: blocks overlap by the field of view, and the
    first layer's normalisation over all time is known beforehand from the clip's own statistics. Each
    convolution is a few matrix products over views of its time-major input. Clips shorter than the
    field of view are padded with silence.
    """
    layers = list(extractor.conv_layers)
    spans = [(layer.conv.kernel_size[0], layer.conv.stride[0]) for layer in layers]
    samples = F.pad(samples, (0, max(0, _field(spans, 0, 1)[1] - samples.shape[1])))
    count = samples.shape[1]
    for kernel, stride in spans:
        count = (count - kernel) // stride + 1
    taps = [layer.conv.weight.permute(2, 1, 0).contiguous() for layer in layers]  # (kernel, in, out)
    # written into one array: small results kept between large passing ones would scatter the memory
    out = samples.new_empty(len(samples), count, taps[-1].shape[-1])
    for row, clip in enumerate(samples):
        taps[0], offset = _fold_norm(layers[0], clip)
        for start in range(0, count, CONV_BLOCK):
            stop = min(start + CONV_BLOCK, count)
            first, last = _field(spans, start, stop)
            x = clip[first:last, None]
            for weight, (_, stride) in zip(taps, spans):
                x = _strided(x, weight, stride)
                x = F.gelu(x.add_(offset) if weight is taps[0] else x)
            out[row, start:stop] = x
            if progress is not None:
                progress((row + stop / count) / len(samples))
    return out


def _field(spans: list[tuple[int, int]], start: int, stop: int) -> tuple[int, int]:
    """The samples first..last-1 that outputs start..stop-1 depend on."""
    first, last = start, stop - 1
    for kernel, stride in reversed(spans):
        first, last = first * stride, last * stride + kernel - 1
    return first, last + 1


def _strided(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Convolve (n, in) by weight (kernel, in, out): one product per `stride` taps, without copies."""
    kernel, channels, _ = weight.shape
    count = (len(x) - kernel) // stride + 1
    out = None
    for tap in range(0, kernel, stride):
        some = weight[tap : tap + stride].flatten(0, 1)
        rows = x[tap:].as_strided((count, len(some)), (stride * channels, 1))
        out = rows @ some if out is None else out.addmm_(rows, some)
    assert out is not None
    return out


def _fold_norm(layer: Any, clip: Tensor) -> tuple[Tensor, Tensor]:
    """The first convolution with its group norm (one group per channel) folded in: taps and offset.

    A channel's mean and variance over all time follow from the first two moments of the clip's
    frames, because the convolution is linear.
    """
    weight, norm = layer.conv.weight[:, 0].double(), layer.layer_norm
    frames = clip.unfold(0, layer.conv.kernel_size[0], layer.conv.stride[0])
    mean = frames.mean(dim=0, dtype=torch.float64)
    second = sum(block.double().T @ block.double() for block in frames.split(1 << 16)) / len(frames)
    variance = ((weight @ (second - mean[:, None] * mean)) * weight).sum(dim=1).clamp(min=0)
    scale = norm.weight.double() * (variance + norm.eps).rsqrt()
    offset = norm.bias.double() - scale * (weight @ mean)
    return (weight * scale[:, None]).T[:, None].to(clip).contiguous(), offset.to(clip)


def windows(frames: int, size: int, overlap: int) -> list[tuple[int, int]]:
    """Even windows (start, stop) of at most `size` frames that cover `frames`, neighbours sharing at
    least `overlap`."""
    if frames <= size:
        return [(0, frames)]
    count = math.ceil((frames - overlap) / (size - overlap))
    length = math.ceil((frames + (count - 1) * overlap) / count)
    return [(start, start + length) for start in (round(i * (frames - length) / (count - 1)) for i in range(count))]


def _part(progress: Progress | None, first: float, last: float) -> Progress | None:
    """A progress that reports its 0..1 as first..last of the whole."""
    return None if progress is None else lambda done: progress(first + (last - first) * done)


def load_pretrained(encoder: Wav2Vec2Encoder, source: str, local_files_only: bool = False) -> None:
    """Take the weights of a published wav2vec 2.0: a folder, or a Hugging Face name when online.

    Raises VisemoError when `source` cannot be read or has other sizes.
    """
    try:
        model = Wav2Vec2Model.from_pretrained(source, local_files_only=local_files_only)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise VisemoError(f"{source}: cannot read wav2vec 2.0 ({reason}); give a folder with its files") from error
    try:
        encoder.load_state_dict(model.state_dict(), strict=True)
    except RuntimeError as error:
        raise VisemoError(f"{source}: got a wav2vec 2.0 of other sizes, expected those of the model") from error
