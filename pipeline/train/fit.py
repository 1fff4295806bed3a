"""The training loop: Keras' `fit`, one row of history and one printed line per epoch."""

import csv
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.dataset import Dataset
from pipeline.errors import TrainingError
from pipeline.params import TrainParams

Row = Mapping[str, str]
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


def fit(model: Any, data: Dataset, params: TrainParams, on_epoch: Callable[[Row], None]) -> list[Row]:
    """Trains `model` in place with the notebook's settings: Adam and cross-entropy.

    Args:
        model: A `keras.Model` from uint8 pictures to softmax probabilities.
        data: Trained on its train split, watched on its validation split; the test split is not read.
        params: Epochs, batch size, learning rate.
        on_epoch: Called with each row of the history as it is made.

    Returns:
        One row per epoch, with the keys COLUMNS. `timestamp_ms` is Unix time.

    Raises:
        TrainingError: the batch is larger than the data, or the loss is no longer a number.
    """
    import keras

    if params.batch_size > len(data.train):
        raise TrainingError(
            f"train.batch_size {params.batch_size:,} exceeds the training split of {len(data.train):,} pictures: lower it"
        )
    model.compile(
        optimizer=keras.optimizers.Adam(params.learning_rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    rows: list[Row] = []
    epochs = _Epochs(params.epochs, len(data.train), rows)

    def end(epoch: int, logs: Mapping[str, float]) -> None:
        on_epoch(epochs.end(epoch, logs))

    model.fit(
        data.train.images,
        data.train.labels,
        batch_size=params.batch_size,
        epochs=params.epochs,
        validation_data=(data.validation.images, data.validation.labels),
        validation_batch_size=_VALIDATION_BATCH,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=end)],
        verbose=0,
    )
    return rows


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """Writes `rows` as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


class _Epochs:
    """Turns Keras' logs into rows, times them, and prints a line for each."""

    def __init__(self, epochs: int, pictures: int, rows: list[Row]) -> None:
        self._epochs, self._pictures, self._rows = epochs, pictures, rows
        self._start = self._last = time.perf_counter()

    def end(self, epoch: int, logs: Mapping[str, float]) -> Row:
        """The row of the epoch that just ended (`epoch` counts from 0).

        Raises:
            TrainingError: the loss is no longer a number.
        """
        if not math.isfinite(logs["loss"]):
            raise TrainingError(
                f"training diverged: the loss is {logs['loss']} after epoch {epoch + 1}: lower train.learning_rate"
            )
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        figures = (logs["loss"], logs["accuracy"], logs["val_loss"], logs["val_accuracy"])
        row = dict(
            zip(COLUMNS, [str(epoch + 1), str(time.time_ns() // 1_000_000), *map(repr, map(float, figures))], strict=False)
        )
        row |= {"train/images_per_second": f"{self._pictures / seconds:.1f}", "train/seconds": f"{seconds:.3f}"}
        self._rows.append(row)
        self._say(epoch + 1, figures, seconds)
        return row

    def _say(self, epoch: int, figures: Sequence[float], seconds: float) -> None:
        left = (self._last - self._start) / epoch * (self._epochs - epoch)
        loss, accuracy, validation_loss, validation_accuracy = figures
        print(
            f"epoch {epoch:>{len(str(self._epochs))}}/{self._epochs}"
            f"  loss {loss:.4f}  accuracy {accuracy:.4f}"
            f"  validation loss {validation_loss:.4f}  accuracy {validation_accuracy:.4f}"
            f"  {self._pictures / seconds:,.0f} images/s  {left:,.0f} s left",
            flush=True,
        )
