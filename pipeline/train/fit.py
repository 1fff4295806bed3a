"""The training loop: one row of history, one checkpoint and one printed line per epoch.

Our own loop rather than Keras' `fit`: it can begin at any epoch, what it does in an epoch depends on (seed, epoch) alone, and
batches are gathered from the memory-mapped arrays. benchmarks/RESULTS.md compares their speed.
"""

import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.dataset import Dataset, Split
from pipeline.errors import TrainingError
from pipeline.params import TrainParams
from pipeline.train import batches, checkpoint, schedule
from pipeline.train.average import Average
from pipeline.train.checkpoint import Row
from pipeline.train.step import Step

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
_VALIDATION_BATCH = 500  # pictures; changes no result, only time
_UNREAD = 50  # steps between two looks at the loss: each look waits for the GPU
_HOPELESS = 1e4  # mean loss per picture; guessing has ln(classes), and a spike that a training outlives some tens


def fit(model: Any, data: Dataset, params: TrainParams, checkpoints: Path, on_epoch: Callable[[Row], None]) -> list[Row]:
    """Trains `model` in place by its recipe, from the last checkpoint on; it ends with the averaged weights.

    Args:
        model: A `keras.Model` from uint8 pictures to logits.
        data: Trained on its train split, watched on its validation split; the test split is not read.
        params: The recipe and the seed.
        checkpoints: This training's own folder.
        on_epoch: Called with each row of the history; those of a checkpoint first.

    Returns:
        One row per epoch, with the keys COLUMNS. `timestamp_ms` is Unix time, `train/seconds` counts validation too.

    Raises:
        TrainingError: the batch is larger than the data, or the loss is beyond hope or no number.
    """
    recipe = params.recipe
    if recipe.batch_size > len(data.train):
        raise TrainingError(
            f"train.recipes.{params.architecture}.batch_size {recipe.batch_size:,} exceeds the training split of "
            f"{len(data.train):,} pictures: lower it"
        )
    average = Average(model, recipe.ema)
    step = Step(model, recipe, average)
    state = [*model.variables, *step.optimizer.variables, *average.variables]
    rows = checkpoint.restore(checkpoints, state)
    if rows:
        print(f"going on after epoch {len(rows)}/{recipe.epochs}", flush=True)
    for row in rows:
        on_epoch(row)
    for epoch in range(len(rows), recipe.epochs):
        rows.append(_run_epoch(step, average, data, params, epoch))
        checkpoint.save(checkpoints, state, rows)  # before it is logged: an epoch that is lost must not show in MLflow
        on_epoch(rows[-1])
        _say(rows, recipe.epochs, len(data.train))
    average.apply()
    return rows


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """Writes `rows` as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _run_epoch(step: Step, average: Average, data: Dataset, params: TrainParams, epoch: int) -> Row:
    """Trains one epoch (`epoch` counts from 0) and validates.

    Raises:
        TrainingError: the loss is beyond hope or no number.
    """
    start = time.perf_counter()
    trained = _train(step, data.train, params, epoch)
    with average.in_place():
        watched = _validate(step, data.validation)
    seconds = time.perf_counter() - start
    rate = float(step.optimizer.learning_rate.numpy())
    figures = [repr(float(figure)) for figure in (*trained, *watched, rate)]
    speed = [f"{len(data.train) / seconds:.1f}", f"{seconds:.3f}"]
    return dict(zip(COLUMNS, [str(epoch + 1), str(time.time_ns() // 1_000_000), *figures, *speed], strict=True))


def _train(step: Step, split: Split, params: TrainParams, epoch: int) -> tuple[float, float]:
    """Mean loss and accuracy per picture over one pass.

    Raises:
        TrainingError: the loss is beyond hope or no number.
    """
    recipe = params.recipe
    steps = batches.count(split, recipe)
    sums = np.zeros(2)
    unread = []
    for number, (images, labels) in enumerate(batches.epoch_of(split, recipe, params.seed, epoch)):
        unread.append(step.train(images, labels, schedule.rate(recipe, epoch * steps + number, recipe.epochs * steps)))
        if len(unread) == _UNREAD or number + 1 == steps:
            sums += np.sum(unread, axis=0, dtype=np.float64)
            unread.clear()
            _check(sums[0] / ((number + 1) * recipe.batch_size), params.architecture, epoch, number)
    loss, accuracy = sums / (steps * recipe.batch_size)
    return loss, accuracy


def _check(loss: float, architecture: str, epoch: int, number: int) -> None:
    if not loss < _HOPELESS:  # neither is NaN
        raise TrainingError(
            f"training diverged: the loss is {loss:.3g} in epoch {epoch + 1}, by step {number + 1}: "
            f"lower train.recipes.{architecture}.learning_rate"
        )


def _validate(step: Step, split: Split) -> tuple[float, float]:
    """Mean cross-entropy and accuracy, without flip averaging."""
    sums = np.zeros(2)
    for first in range(0, len(split), _VALIDATION_BATCH):
        rows = slice(first, first + _VALIDATION_BATCH)
        sums += step.validate(split.images[rows], split.labels[rows]).numpy()
    loss, accuracy = sums / len(split)
    return loss, accuracy


def _say(rows: Sequence[Row], epochs: int, pictures: int) -> None:
    row, seconds = rows[-1], [float(row["train/seconds"]) for row in rows]
    loss, accuracy, validation_loss, validation_accuracy = (float(row[name]) for name in COLUMNS[2:6])
    print(
        f"epoch {len(rows):>{len(str(epochs))}}/{epochs}"
        f"  loss {loss:.4f}  accuracy {accuracy:.4f}"
        f"  validation loss {validation_loss:.4f}  accuracy {validation_accuracy:.4f}"
        f"  {pictures / seconds[-1]:,.0f} images/s  {sum(seconds) / len(seconds) * (epochs - len(rows)):,.0f} s left",
        flush=True,
    )
