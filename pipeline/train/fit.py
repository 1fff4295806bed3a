"""The training loop: one row of history per epoch; a checkpoint and a printed line per epoch too, but one per second at most.

Our own loop rather than Keras' `fit`: it can start at any epoch, an epoch depends on (seed, epoch) alone, several workers can
share a step, and batches come from memory-mapped arrays. benchmarks/RESULTS.md compares their speed.
"""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.dataset import Dataset, Split
from pipeline.errors import TrainingError
from pipeline.params import TrainParams
from pipeline.train import augment, checkpoint
from pipeline.train.checkpoint import Row
from pipeline.train.recipe import learning_rate, recipe_of
from pipeline.train.step import Average, Step

COLUMNS = (
    "epoch",
    "timestamp_ms",
    "train/loss",
    "train/accuracy",
    "validation/loss",
    "validation/accuracy",
    "train/learning_rate",
    "train/images_per_second",
    "train/seconds",
)
_VALIDATION_BATCH = 500  # images; changes no result, only time and memory: larger images are validated in smaller batches
_VALIDATION_PIXELS = 500 * 64 * 64  # 224×224 pixels would take 0.8 GB more than training does
_UNREAD = 50  # steps between two reads of the loss: each read waits for the GPU
_INTERVAL = 1.0  # seconds from one checkpoint, printed line and request to MLflow to the next: 1,000 epochs may take 20 s
_DIVERGED = 1e4  # mean loss per image; guessing has ln(classes), and a spike from which a training recovers some tens


def fit(
    model: Any, data: Dataset, params: TrainParams, checkpoints: Path, on_epochs: Callable[[Sequence[Row]], None]
) -> list[Row]:
    """Train `model` (`keras.Model`, uint8 images to logits) in place, from the last checkpoint on, to the averaged weights.

    Each epoch ends with a score on the validation split; the test split is not read. `on_epochs` is called with the rows of
    the history that a checkpoint holds, each once.

    Returns:
        One row per epoch, with the keys COLUMNS. `timestamp_ms` is Unix time; `train/seconds` includes validation.

    Raises:
        TrainingError: the batch is larger than the data, or training diverged.
    """
    recipe = recipe_of(params)
    if recipe.batch_size > len(data.train):
        raise TrainingError(
            f"train.recipes.{params.architecture}.batch_size {recipe.batch_size:,} exceeds the training split of "
            f"{len(data.train):,} images: lower it, or raise train.small_data.max_images, so that it is chosen for you"
        )
    average = Average(model, recipe.ema)
    step = Step(model, recipe, average)
    state = [*model.variables, *step.optimizer.variables, *average.variables]
    rows = checkpoint.restore(checkpoints, state)
    if rows:
        print(f"resumes after epoch {len(rows)}/{recipe.epochs}", flush=True)
        on_epochs(rows)
    saved, last = len(rows), -math.inf
    for epoch in range(len(rows), recipe.epochs):
        rows.append(_run_epoch(step, average, data, params, epoch))
        if epoch + 1 < recipe.epochs and time.monotonic() - last < _INTERVAL:
            continue
        checkpoint.save(checkpoints, state, rows)  # before it is logged: an epoch that is lost must not show in MLflow
        on_epochs(rows[saved:])
        _print_progress(rows, recipe.epochs, len(data.train))
        saved, last = len(rows), time.monotonic()
    average.apply()
    return rows


def _run_epoch(step: Step, average: Average, data: Dataset, params: TrainParams, epoch: int) -> Row:
    """Train one epoch (from 0), validate with the averaged weights, and return the row."""
    start = time.perf_counter()
    trained = _train(step, data.train, params, epoch)
    with average.in_place():
        validated = _validate(step, data.validation)
    seconds = time.perf_counter() - start
    rate = float(step.optimizer.learning_rate.numpy())
    values = [repr(float(value)) for value in (*trained, *validated, rate)]
    speed = [f"{len(data.train) / seconds:.1f}", f"{seconds:.3f}"]
    return dict(zip(COLUMNS, [str(epoch + 1), str(time.time_ns() // 1_000_000), *values, *speed], strict=True))


def _train(step: Step, split: Split, params: TrainParams, epoch: int) -> tuple[float, float]:
    """Train one pass and return mean loss and accuracy; raise TrainingError if it diverged."""
    recipe = recipe_of(params)
    steps = augment.steps_per_epoch(split, recipe)
    sums = np.zeros(2)
    unread = []
    for number, (images, labels) in enumerate(augment.batches(split, recipe, params.seed, epoch)):
        unread.append(step.train(images, labels, learning_rate(recipe, epoch * steps + number, recipe.epochs * steps)))
        if len(unread) == _UNREAD or number + 1 == steps:
            sums += np.sum(unread, axis=0, dtype=np.float64)
            unread.clear()
            loss = sums[0] / ((number + 1) * recipe.batch_size)
            if not loss < _DIVERGED:  # true for NaN, too
                raise TrainingError(
                    f"training diverged: the loss is {loss:.3g} in epoch {epoch + 1}, by step {number + 1}: "
                    f"lower train.recipes.{params.architecture}.learning_rate"
                )
    loss, accuracy = sums / (steps * recipe.batch_size)
    return loss, accuracy


def _validate(step: Step, split: Split) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy, without flip averaging."""
    sums = np.zeros(2)
    batch = min(_VALIDATION_BATCH, max(1, _VALIDATION_PIXELS // math.prod(split.images.shape[1:3])))
    for first in range(0, len(split), batch):
        rows = slice(first, first + batch)
        sums += step.validate(split.images[rows], split.labels[rows]).numpy()
    loss, accuracy = sums / len(split)
    return loss, accuracy


def _print_progress(rows: Sequence[Row], epochs: int, images: int) -> None:
    row, seconds = rows[-1], [float(row["train/seconds"]) for row in rows]
    loss, accuracy, validation_loss, validation_accuracy = (float(row[name]) for name in COLUMNS[2:6])
    print(
        f"epoch {len(rows):>{len(str(epochs))}}/{epochs}"
        f"  loss {loss:.4f}  accuracy {accuracy:.4f}"
        f"  validation loss {validation_loss:.4f}  accuracy {validation_accuracy:.4f}"
        f"  {images / seconds[-1]:,.0f} images/s  {sum(seconds) / len(seconds) * (epochs - len(rows)):,.0f} s left",
        flush=True,
    )
