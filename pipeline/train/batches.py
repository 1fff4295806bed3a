"""The batches of an epoch, gathered from the memory-mapped arrays while the step before them runs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Split
from pipeline.params import Recipe
from pipeline.train.augment import augment

Batch = tuple[NDArray[np.uint8], NDArray[np.int32]]


def count(split: Split, recipe: Recipe) -> int:
    """Steps per epoch: whole batches only, each epoch leaves others out. A rest of a few pictures would spoil batch norm."""
    return len(split) // recipe.batch_size


def epoch_of(split: Split, recipe: Recipe, seed: int, epoch: int) -> Iterator[Batch]:
    """Images uint8 `(batch, h, w, c)` and labels int32 `(batch,)`; (seed, epoch) determines all of them.

    Args:
        split: The training split.
        recipe: Batch size and augmentation.
        seed: Of the training.
        epoch: From 0.
    """
    order = np.random.default_rng((seed, epoch)).permutation(len(split))

    def gather(step: int) -> Batch:
        rows = np.sort(order[step * recipe.batch_size : (step + 1) * recipe.batch_size])  # the disk reads forwards
        images = augment(split.images[rows], rows, recipe, seed, epoch, step)
        return np.ascontiguousarray(images), split.labels[rows]

    steps = count(split, recipe)
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(gather, 0)
        for step in range(steps):
            batch = coming.result()
            if step + 1 < steps:
                coming = ahead.submit(gather, step + 1)
            yield batch
