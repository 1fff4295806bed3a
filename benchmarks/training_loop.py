"""Compares the pipeline's own training loop with Keras' `fit`, one epoch each in turn, on the data in data/dataset.

    .venv/bin/python -m benchmarks.training_loop [IMAGES] [ROUNDS]

Measures seconds per epoch of both on the first IMAGES (20,000) training images, ROUNDS (3) times in turn, and their ratio.
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.measure import ready_to_train, record
from pipeline.dataset import Dataset, Split
from pipeline.params import TrainParams


def main(images: int, rounds: int) -> None:
    """Measure, print and store."""
    settings, whole, _ = ready_to_train("notebook")
    recipe = settings.recipes.notebook.model_copy(update={"epochs": 1})
    settings = settings.model_copy(update={"recipes": settings.recipes.model_copy(update={"notebook": recipe})})
    data = replace(whole, train=Split(*(part[:images] for part in vars(whole.train).values())))
    figures = []
    for number in range(1, rounds + 1):
        seconds = [timed(way, data, settings) for way in (own, keras)]
        ratio = seconds[0] / seconds[1]
        figures.append({"round": number, "own": round(seconds[0], 2), "keras": round(seconds[1], 2), "ratio": round(ratio, 3)})
        print(f"own loop {seconds[0]:.2f} s · Keras' fit {seconds[1]:.2f} s · ratio {ratio:.3f}", flush=True)
    record("training_loop", figures)


def timed(way: Any, data: Dataset, settings: TrainParams) -> float:
    """Return the seconds of one epoch, tracing and validation included in both."""
    from pipeline.train import architectures

    model = architectures.build(settings, data.description.image_shape, data.description.classes)
    start = time.perf_counter()
    way(model, data, settings)
    return time.perf_counter() - start


def own(model: Any, data: Dataset, settings: TrainParams) -> None:
    """Train with the pipeline's loop, its checkpoint included."""
    from pipeline.train.fit import fit

    with tempfile.TemporaryDirectory() as folder:
        fit(model, data, settings, Path(folder), lambda _: None)


def keras(model: Any, data: Dataset, settings: TrainParams) -> None:
    """Train with Keras' `fit` on the same arrays."""
    from keras.losses import SparseCategoricalCrossentropy
    from keras.optimizers import Adam

    recipe, train = settings.recipes.notebook, data.train
    loss = SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=Adam(recipe.learning_rate), loss=loss, metrics=["accuracy"])
    held_out = (data.validation.images, data.validation.labels)
    model.fit(
        train.images,
        train.labels,
        batch_size=recipe.batch_size,
        validation_data=held_out,
        validation_batch_size=500,
        verbose=0,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000, int(sys.argv[2]) if len(sys.argv) > 2 else 3)
