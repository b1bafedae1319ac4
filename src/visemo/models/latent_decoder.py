"""The decoding loop of FaceFormer, one compiled pass over time without a vertex in it.

With the diagonal memory mask cross-attention is a linear map of each audio frame, and `vertice_map`
after `vertice_map_r` is one D x D matrix: what is left per step is a cached self-attention, a small
feed-forward network and three norms, all in the D-dimensional latent space.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

from visemo.types import FloatArray

NORM_EPS = 1e-5  # of torch's LayerNorm


class DecoderWeights(NamedTuple):
    """Matrices map rows: y = x @ w + b. D features, H heads, N frames of memory, p the period."""

    in_w: FloatArray  # (D, 3D) query, key, value
    in_b: FloatArray  # (3D,)
    out_w: FloatArray  # (D, D)
    out_b: FloatArray
    norm1_w: FloatArray  # (D,)
    norm1_b: FloatArray
    norm2_w: FloatArray
    norm2_b: FloatArray
    linear1_w: FloatArray  # (D, 2D)
    linear1_b: FloatArray
    linear2_w: FloatArray  # (2D, D)
    linear2_b: FloatArray
    norm3_w: FloatArray
    norm3_b: FloatArray
    feedback_w: FloatArray  # (D, D) a latent to the next step's token
    feedback_b: FloatArray  # (D,) with the style in it
    positions: FloatArray  # (p, D)
    bias: FloatArray  # (H, N) of attention, oldest frame first: -slope_h * floor(age / p)


class DecoderState(NamedTuple):
    """What one step leaves to the next; arrays are changed in place."""

    token: FloatArray  # (D,)
    keys: FloatArray  # (D, 2N), a column per remembered frame
    values: FloatArray  # (D, 2N)
    clock: np.ndarray  # (2,) int64: frames decoded so far, columns of `keys` in use


def first_state(style: FloatArray, memory: int) -> DecoderState:
    """The state before frame 0: the style (D,) is the first token."""
    size = len(style)
    keys, values = np.zeros((2, size, 2 * memory), np.float32)
    return DecoderState(style.copy(), keys, values, np.zeros(2, np.int64))


@numba.njit(cache=True, nogil=True)
def _affine(x, weight, bias, out):
    """out = x @ weight + bias, row by row: adds along `out`, which vectorises without reordering sums."""
    for j in range(out.size):
        out[j] = bias[j]
    for i in range(x.size):
        scale = x[i]
        for j in range(out.size):
            out[j] += scale * weight[i, j]


@numba.njit(cache=True, nogil=True)
def _add_norm(x, added, weight, bias):
    """x = LayerNorm(x + added)."""
    size = x.size
    mean = np.float32(0)
    for i in range(size):
        x[i] += added[i]
        mean += x[i]
    mean /= np.float32(size)
    variance = np.float32(0)
    for i in range(size):
        x[i] -= mean
        variance += x[i] * x[i]
    scale = np.float32(1) / np.sqrt(variance / np.float32(size) + np.float32(NORM_EPS))
    for i in range(size):
        x[i] = x[i] * scale * weight[i] + bias[i]


@numba.njit(cache=True, nogil=True)
def _score(query, keys, scores):
    """scores (n,) += query (d,) @ keys (d, n); four rows at a time keep `scores` in registers."""
    for d in range(0, query.size, 4):
        q0, q1, q2, q3 = query[d], query[d + 1], query[d + 2], query[d + 3]
        k0, k1, k2, k3 = keys[d], keys[d + 1], keys[d + 2], keys[d + 3]
        for j in range(scores.size):
            scores[j] += q0 * k0[j] + q1 * k1[j] + q2 * k2[j] + q3 * k3[j]


@numba.njit(cache=True, nogil=True)
def _blend(shares, values, total, out):
    """out (d,) = values (d, n) @ shares (n,) / total; four sums at a time hide the latency of adding."""
    for d in range(0, out.size, 4):
        v0, v1, v2, v3 = values[d], values[d + 1], values[d + 2], values[d + 3]
        o0 = o1 = o2 = o3 = np.float32(0)
        for j in range(shares.size):
            share = shares[j]
            o0 += share * v0[j]
            o1 += share * v1[j]
            o2 += share * v2[j]
            o3 += share * v3[j]
        out[d], out[d + 1], out[d + 2], out[d + 3] = o0 / total, o1 / total, o2 / total, o3 / total


@numba.njit(cache=True, nogil=True)
def _attend(query, keys, values, bias, out):
    """Softmax attention of one frame (D,) over remembered frames (D, n), every head; bias (H, n)."""
    heads, count = bias.shape
    width = query.size // heads
    scale = np.float32(1) / np.sqrt(np.float32(width))
    for h in range(heads):
        own = slice(h * width, (h + 1) * width)
        scores = bias[h].copy()
        _score(query[own] * scale, keys[own], scores)
        top = scores[0]
        for j in range(1, count):
            top = max(top, scores[j])
        total = np.float32(0)
        for j in range(count):
            scores[j] = np.exp(scores[j] - top)
        for j in range(count):
            total += scores[j]
        _blend(scores, values[own], total, out[own])


@numba.njit(cache=True, nogil=True)
def decode(crossed, state, weights, latents):
    """Fill `latents` (n, D) for the next n frames and leave `state` ready for the one after.

    `crossed` (n, D) is what cross-attention adds at each frame.
    """
    token, keys, values, clock = state
    first, filled = clock
    size = token.size
    memory = weights.bias.shape[1]
    period = len(weights.positions)
    x = np.empty(size, np.float32)
    attended = np.empty(size, np.float32)
    added = np.empty(size, np.float32)
    projected = np.empty(3 * size, np.float32)
    hidden = np.empty(weights.linear1_b.size, np.float32)
    for t in range(len(crossed)):
        if filled == 2 * memory:  # room is out: the frames still remembered move to the front
            filled = memory - 1
            for d in range(size):
                for j in range(filled):
                    keys[d, j] = keys[d, j + memory + 1]
                    values[d, j] = values[d, j + memory + 1]
        position = weights.positions[(first + t) % period]
        for d in range(size):
            x[d] = token[d] + position[d]
        _affine(x, weights.in_w, weights.in_b, projected)
        for d in range(size):
            keys[d, filled] = projected[size + d]
            values[d, filled] = projected[2 * size + d]
        filled += 1
        past = slice(max(0, filled - memory), filled)
        recent = weights.bias[:, memory - (past.stop - past.start) :]
        _attend(projected[:size], keys[:, past], values[:, past], recent, attended)
        _affine(attended, weights.out_w, weights.out_b, added)
        _add_norm(x, added, weights.norm1_w, weights.norm1_b)
        _add_norm(x, crossed[t], weights.norm2_w, weights.norm2_b)
        _affine(x, weights.linear1_w, weights.linear1_b, hidden)
        for d in range(hidden.size):
            hidden[d] = max(hidden[d], np.float32(0))
        _affine(hidden, weights.linear2_w, weights.linear2_b, added)
        _add_norm(x, added, weights.norm3_w, weights.norm3_b)
        latents[t] = x
        _affine(x, weights.feedback_w, weights.feedback_b, token)
    clock[0] = first + len(crossed)
    clock[1] = filled


def attention_bias(heads: int, memory: int, period: int) -> FloatArray:
    """(H, N) float32, oldest first: -slope_h * floor(age / period), slopes 2^(-8 h / H) (ALiBi)."""
    age = np.arange(memory)[::-1]
    slopes = 2.0 ** (-8.0 * np.arange(1, heads + 1) / heads)
    return np.ascontiguousarray(-slopes[:, None] * (age // period), dtype=np.float32)


def periodic_positions(period: int, size: int) -> FloatArray:
    """(p, D) float32 sines and cosines (FaceFormer's periodic positional encoding)."""
    rate = np.exp(np.arange(0, size, 2) * (-math.log(10_000.0) / size))
    angle = np.arange(period)[:, None] * rate
    table = np.empty((period, size), np.float32)
    table[:, 0::2] = np.sin(angle)
    table[:, 1::2] = np.cos(angle)
    return table
