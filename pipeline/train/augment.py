"""The batches of an epoch: gathered from memory-mapped arrays and augmented while the previous step runs.

NumPy on bytes, in a thread of its own: a batch of 250 images takes 4 ms, beside a step of 31 ms. Every random choice is a
function of (seed, epoch, step), so training can resume anywhere.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Split
from pipeline.params import Recipe

Images = NDArray[np.uint8]


def steps_per_epoch(split: Split, recipe: Recipe) -> int:
    """Return the number of whole batches; each epoch skips other images. A last batch of a few would spoil batch norm."""
    return len(split) // recipe.batch_size


def batches(split: Split, recipe: Recipe, seed: int, epoch: int) -> Iterator[tuple[Images, NDArray[np.int32]]]:
    """Yield images uint8 `(batch, h, w, c)` and labels int32 `(batch,)` of one epoch (from 0) of the training split."""
    order = np.random.default_rng((seed, epoch)).permutation(len(split))
    border = _border(split.images) if recipe.shift else None

    def gather(step: int) -> tuple[Images, NDArray[np.int32]]:
        rows = np.sort(order[step * recipe.batch_size : (step + 1) * recipe.batch_size])  # so that the disk reads forwards
        images = augment(split.images[rows], rows, recipe, seed, epoch, step, border)
        return np.ascontiguousarray(images), split.labels[rows]

    steps = steps_per_epoch(split, recipe)
    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(gather, 0)
        for step in range(steps):
            batch = upcoming.result()
            if step + 1 < steps:
                upcoming = ahead.submit(gather, step + 1)
            yield batch


def augment(
    images: Images,
    rows: NDArray[np.int64],
    recipe: Recipe,
    seed: int,
    epoch: int,
    step: int,
    border: NDArray[np.uint8] | None = None,
) -> Images:
    """Return the images of one step, uint8 `(n, h, w, c)`, flipped, shifted and erased as the recipe says.

    `rows` `(n,)` are the images' positions in the training split; `epoch` and `step` (of the epoch) count from 0; `border`
    `(c,)` is the colour behind shifted images (default: black).
    """
    random = np.random.default_rng((seed, epoch, step))
    if recipe.flip != "none":
        which = random.random(len(images)) < 0.5 if recipe.flip == "random" else _first_flips(rows, seed) ^ bool(epoch % 2)
        images = np.where(which[:, None, None, None], images[:, :, ::-1], images)
    if recipe.shift:
        images = _shifted(images, recipe.shift, random, border)
    side = round(recipe.erase * min(images.shape[1:3]))
    return _erased(images, side, random) if side else images


def _first_flips(rows: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Return which images the first epoch flips, by a hash of (seed, row); later epochs alternate.

    So each pair of epochs shows every image both ways (Jordan 2024, https://arxiv.org/abs/2404.00498).
    """
    with np.errstate(over="ignore"):  # splitmix64 works modulo 2**64
        mixed = rows.astype(np.uint64) + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed >> np.uint64(63)).astype(bool)


def _border(images: Images) -> NDArray[np.uint8]:
    """Return the median colour of the corners of up to 1,000 images: black, white, or what is usual around these."""
    some = images[:: max(1, len(images) // 1000)]
    colour: NDArray[np.uint8] = np.median(some[:, [0, 0, -1, -1], [0, -1, 0, -1]], axis=(0, 1)).astype(np.uint8)
    return colour


def _shifted(images: Images, most: int, random: np.random.Generator, border: NDArray[np.uint8] | None) -> Images:
    """Move each image by up to `most` pixels either way, in front of the colour `border`."""
    count, height, width, channels = images.shape
    padded = np.empty((count, height + 2 * most, width + 2 * most, channels), np.uint8)
    padded[...] = 0 if border is None else border
    padded[:, most:-most, most:-most] = images
    down, right = random.integers(0, 2 * most + 1, (2, count))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    moved: Images = windows[np.arange(count), down, right].transpose(0, 2, 3, 1)
    return moved


def _erased(images: Images, side: int, random: np.random.Generator) -> Images:
    """Hide a square of `side` pixels, possibly partly outside, under noise (Zhong et al. 2017, arxiv.org/abs/1708.04896)."""
    count, height, width, _ = images.shape
    rows, columns = (_within(size, side, random.integers(1 - side // 2, size - side // 2, count)) for size in (height, width))
    hidden = rows[:, :, None, None] & columns[:, None, :, None]
    return np.where(hidden, random.integers(0, 256, images.shape, dtype=np.uint8), images)


def _within(size: int, length: int, start: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of `size` positions lie within `length` of each start, `(n, size)`."""
    positions = np.arange(size)
    return np.logical_and(positions >= start[:, None], positions < start[:, None] + length)
