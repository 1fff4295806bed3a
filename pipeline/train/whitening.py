"""A first layer that is measured on the pictures instead of learned: filters that make their patches uncorrelated.

It saves the gradients of the most expensive resolution, and the layers behind it learn faster. Source: Jordan 2024,
https://arxiv.org/abs/2404.00498, section 3.2; as there, each filter comes with its negative, so that ReLU loses nothing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LAYER = "whitening"
_PICTURES = 5000  # that are measured; 845,000 patches at 28×28
_FLOOR = 1e-3  # of the largest variance: weaker directions are noise and are not blown up


def measure(model: Any, images: NDArray[np.uint8], seed: int) -> None:
    """Sets the layer LAYER of `model` (a `keras.Model`) from `images`, uint8 `(n, h, w, c)`, where it has one."""
    if LAYER not in [layer.name for layer in model.layers]:
        return
    layer = model.get_layer(LAYER)
    size, filters = layer.kernel_size[0], layer.filters
    rows = np.sort(np.random.default_rng(seed).permutation(len(images))[:_PICTURES])
    patches = _patches(images[rows], size, layer.strides[0])
    kernel, bias = _filters(patches, filters // 2)
    layer.set_weights([kernel.reshape(size, size, images.shape[3], filters), bias])


def _patches(images: NDArray[np.uint8], size: int, stride: int) -> NDArray[np.float32]:
    """float32 `(patches, size * size * c)`, 0-1; those inside the pictures."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    ordered = windows.transpose(0, 1, 2, 4, 5, 3)  # (n, rows, columns, size, size, c): as a kernel lies
    return ordered.reshape(-1, size * size * images.shape[3]).astype(np.float32) / np.float32(255)


def _filters(patches: NDArray[np.float32], count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`count` filters and their negatives, `(values, 2 * count)`, and biases that take the mean patch to zero."""
    mean = patches.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(np.cov(patches, rowvar=False))
    strongest = np.argsort(-variances)[:count]
    scale = np.sqrt(variances[strongest] + _FLOOR * variances[-1])
    half = np.zeros((len(mean), count))  # where the patch has fewer values than there are filters, the rest stays dark
    half[:, : len(strongest)] = directions[:, strongest] / scale
    both = np.concatenate([half, -half], axis=1)
    return both.astype(np.float32), (-mean @ both).astype(np.float32)
