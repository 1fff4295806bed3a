"""The training loop: one row of history, one checkpoint and one printed line per epoch.

Our own loop over `train_on_batch` rather than Keras' `fit`: it can begin at any epoch, what it does in an epoch depends on
(seed, epoch) alone, and batches are gathered from the memory-mapped arrays. benchmarks/RESULTS.md compares their speed.
"""

import csv
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.dataset import Dataset, Split
from pipeline.errors import TrainingError
from pipeline.params import TrainParams
from pipeline.train import checkpoint
from pipeline.train.checkpoint import Row

COLUMNS = (
    "epoch",
    "timestamp_ms",
    "train/loss",
    "train/accuracy",
    "validation/loss",
    "validation/accuracy",
    "train/images_per_second",
    "train/seconds",
)
_VALIDATION_BATCH = 500  # pictures; changes no result, only time


def fit(model: Any, data: Dataset, params: TrainParams, checkpoints: Path, on_epoch: Callable[[Row], None]) -> list[Row]:
    """Trains `model` in place with the notebook's settings, Adam and cross-entropy, from the last checkpoint on.

    Args:
        model: A `keras.Model` from uint8 pictures to softmax probabilities.
        data: Trained on its train split, watched on its validation split; the test split is not read.
        params: Epochs, batch size, learning rate, seed.
        checkpoints: This training's own folder.
        on_epoch: Called with each row of the history; those of a checkpoint first.

    Returns:
        One row per epoch, with the keys COLUMNS. `timestamp_ms` is Unix time, `train/seconds` counts validation too.

    Raises:
        TrainingError: the batch is larger than the data, or the loss is no longer a number.
    """
    import keras

    if params.batch_size > len(data.train):
        raise TrainingError(
            f"train.batch_size {params.batch_size:,} exceeds the training split of {len(data.train):,} pictures: lower it"
        )
    optimizer = keras.optimizers.Adam(params.learning_rate)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    optimizer.build(model.trainable_variables)
    rows = checkpoint.restore(checkpoints, model)
    if rows:
        print(f"going on after epoch {len(rows)}/{params.epochs}", flush=True)
    for row in rows:
        on_epoch(row)
    for epoch in range(len(rows), params.epochs):
        rows.append(_run_epoch(model, data, params, epoch))
        checkpoint.save(checkpoints, model, rows)  # before it is logged: an epoch that is lost must not show in MLflow
        on_epoch(rows[-1])
        _say(rows, params.epochs, len(data.train))
    return rows


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """Writes `rows` as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _run_epoch(model: Any, data: Dataset, params: TrainParams, epoch: int) -> Row:
    """Trains one epoch (`epoch` counts from 0) and validates.

    Raises:
        TrainingError: the loss is no longer a number.
    """
    start = time.perf_counter()
    loss, accuracy = _train(model, data.train, params, epoch)
    if not math.isfinite(loss):
        raise TrainingError(f"training diverged: the loss is {loss} after epoch {epoch + 1}: lower train.learning_rate")
    watched = model.evaluate(
        data.validation.images, data.validation.labels, batch_size=_VALIDATION_BATCH, verbose=0, return_dict=True
    )
    seconds = time.perf_counter() - start
    figures = [repr(float(figure)) for figure in (loss, accuracy, watched["loss"], watched["accuracy"])]
    speed = [f"{len(data.train) / seconds:.1f}", f"{seconds:.3f}"]
    return dict(zip(COLUMNS, [str(epoch + 1), str(time.time_ns() // 1_000_000), *figures, *speed], strict=True))


def _train(model: Any, split: Split, params: TrainParams, epoch: int) -> tuple[float, float]:
    """Mean loss and accuracy per picture over one pass, in an order that (seed, epoch) determines."""
    order = np.random.default_rng((params.seed, epoch)).permutation(len(split))
    loss = accuracy = 0.0
    for first in range(0, len(order), params.batch_size):
        batch = order[first : first + params.batch_size]
        logs = model.train_on_batch(split.images[batch], split.labels[batch], return_dict=True)  # of this batch alone
        loss += float(logs["loss"]) * len(batch)
        accuracy += float(logs["accuracy"]) * len(batch)
    return loss / len(order), accuracy / len(order)


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
