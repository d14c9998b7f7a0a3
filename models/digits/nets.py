"""The small convolutional nets of digits-slow: trained with numpy alone, written as ONNX nodes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

EPOCHS = 150
BATCH = 32
LEARNING_RATE = 2e-3
DROPOUT = 0.4
CHANNELS = (24, 48)
HIDDEN = 96
"""The size of each net: two 3 x 3 convolutions, one maximum pool, one hidden layer."""

Floats = NDArray[np.float32]
Weights = list[Floats]
Constants = dict[str, NDArray[Any]]


def warped(images: Floats, rng: np.random.Generator) -> Floats:
    """Images [n, 8, 8], each through its own small affine map, with a zero border."""
    n = len(images)
    turn, shear = rng.uniform(-0.2, 0.2, n), rng.uniform(-0.15, 0.15, n)
    scale = rng.uniform(0.88, 1.12, (n, 2))
    shift = rng.uniform(-1.0, 1.0, (n, 2))
    cos, sin = np.cos(turn), np.sin(turn)
    rows = [np.stack([cos, -sin + shear], -1), np.stack([sin, cos], -1)]
    maps = np.stack(rows, 1) / scale[:, None]
    grid = np.argwhere(np.ones((8, 8))) - 3.5
    at = np.einsum("nij,pj->npi", maps, grid) + 3.5 + shift[:, None]
    at = np.clip(at, -1.0, 7.999)
    low = np.floor(at).astype(int)
    part = (at - low).astype(np.float32)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    row, column, who = low[..., 0] + 1, low[..., 1] + 1, np.arange(n)[:, None]
    down, right = part[..., 0], part[..., 1]
    top = padded[who, row, column] * (1 - right) + padded[who, row, column + 1] * right
    bottom = padded[who, row + 1, column] * (1 - right) + padded[who, row + 1, column + 1] * right
    read: Floats = top * (1 - down) + bottom * down
    return read.reshape(n, 8, 8)


def patches(x: Floats) -> Floats:
    """The 3 x 3 neighbourhoods of [n, 8, 8, c] as rows [n * 64, 9 * c], with a zero border."""
    n, _, _, c = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    parts = [padded[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    return np.concatenate(parts, axis=-1).reshape(n * 64, 9 * c)


def fresh(rng: np.random.Generator) -> Weights:
    """Weights by He's rule and zero biases: two convolutions [9 * in, out], two dense layers."""
    first, second = CHANNELS
    shapes = [(9, first), (9 * first, second), (16 * second, HIDDEN), (HIDDEN, 10)]
    drawn = [(rng.normal(0, np.sqrt(2 / s[0]), s), np.zeros(s[1])) for s in shapes]
    return [part.astype(np.float32) for pair in drawn for part in pair]


def gradients(w: Weights, images: Floats, digits: NDArray[np.int64], keep: Floats) -> Weights:
    """Of the cross-entropy with smoothed labels; `keep` is the dropout mask [n, HIDDEN]."""
    n, (first, second) = len(images), CHANNELS
    p1 = patches(images[..., None])
    a1 = np.maximum(p1 @ w[0] + w[1], 0)
    p2 = patches(a1.reshape(n, 8, 8, first))
    a2 = np.maximum(p2 @ w[2] + w[3], 0)
    cells = a2.reshape(n, 4, 2, 4, 2, second).transpose(0, 1, 3, 5, 2, 4).reshape(n, 16 * second, 4)
    pooled = cells.max(-1)
    hidden = np.maximum(pooled @ w[4] + w[5], 0)
    dropped = hidden * keep
    logits = dropped @ w[6] + w[7]

    e = np.exp(logits - logits.max(1, keepdims=True))
    d = (e / e.sum(1, keepdims=True) - (0.95 * np.eye(10, dtype=np.float32)[digits] + 0.005)) / n
    d_hidden = (d @ w[6].T) * keep * (hidden > 0)
    d_cells = np.zeros_like(cells)
    np.put_along_axis(d_cells, cells.argmax(-1)[..., None], (d_hidden @ w[4].T)[..., None], -1)
    d2 = d_cells.reshape(n, 4, 4, second, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(n * 64, second)
    d2 = d2 * (a2 > 0)
    flipped = w[2].reshape(9, first, second)[::-1].transpose(0, 2, 1).reshape(9 * second, first)
    d1 = (patches(d2.reshape(n, 8, 8, second)) @ flipped) * (a1 > 0)
    pairs = [(p1, d1), (p2, d2), (pooled, d_hidden), (dropped, d)]
    return [part for x, dy in pairs for part in (x.T @ dy, dy.sum(0))]


def trained(pixels: Floats, digits: NDArray[np.int64], rng: np.random.Generator) -> Weights:
    """One net, by Adam with a step size that falls to zero along a cosine."""
    w = fresh(rng)
    mean, square = [np.zeros_like(p) for p in w], [np.zeros_like(p) for p in w]
    images = pixels.reshape(-1, 8, 8) / np.float32(16)
    steps = EPOCHS * -(-len(images) // BATCH)
    for step, (batch, shown) in enumerate(epochs(images, rng), start=1):
        rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
        kept = rng.random((len(batch), HIDDEN)) >= DROPOUT
        keep = (kept / (1 - DROPOUT)).astype(np.float32)
        for p, g, m, v in zip(
            w, gradients(w, shown, digits[batch], keep), mean, square, strict=True
        ):
            m[...] += 0.1 * (g - m)
            v[...] += 0.001 * (g * g - v)
            p[...] -= rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    return w


def epochs(images: Floats, rng: np.random.Generator) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """Batches of rows and their images, warped and shuffled anew in each epoch."""
    for _ in range(EPOCHS):
        shown = warped(images, rng)
        order = rng.permutation(len(images))
        for start in range(0, len(images), BATCH):
            batch = order[start : start + BATCH]
            yield batch, shown[batch]


def member(i: int, w: Weights) -> tuple[list[NodeProto], Constants]:
    """One net of the committee, from `x` to `l_i`."""
    first, second = CHANNELS
    # numpy keeps channels last, and so flattens cells before channels; ONNX the other way round.
    w1 = w[0].reshape(3, 3, 1, first).transpose(3, 2, 0, 1)
    w2 = w[2].reshape(3, 3, first, second).transpose(3, 2, 0, 1)
    w3 = w[4].reshape(16, second, HIDDEN).transpose(1, 0, 2).reshape(-1, HIDDEN)
    parts = {"w1": w1, "b1": w[1], "w2": w2, "b2": w[3], "w3": w3, "b3": w[5]}
    constants = {f"{k}_{i}": v.copy() for k, v in (parts | {"w4": w[6], "b4": w[7]}).items()}

    def node(kind: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
        names = [name if name == "x" else f"{name}_{i}" for name in inputs.split()]
        return helper.make_node(kind, names, [f"{output}_{i}"], **attributes)

    return [
        node("Conv", "x w1 b1", "c1", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", "c1", "a1"),
        node("Conv", "a1 w2 b2", "c2", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", "c2", "a2"),
        node("MaxPool", "a2", "m", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "m", "f"),
        node("Gemm", "f w3 b3", "h"),
        node("Relu", "h", "r"),
        node("Gemm", "r w4 b4", "l"),
    ], constants
