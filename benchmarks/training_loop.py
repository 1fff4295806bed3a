"""Compares the pipeline's own training loop with Keras' `fit`, one epoch each in turn, on the data in data/dataset.

    .venv/bin/python -m benchmarks.training_loop [PICTURES] [ROUNDS]

Prints seconds per epoch of both on the first PICTURES (20,000) training pictures, ROUNDS (3) times in turn, and their ratio.
"""

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline import dataset, environment, params
from pipeline.dataset import Dataset, Split
from pipeline.params import TrainParams
from pipeline.workspace import Workspace


def main(pictures: int, rounds: int) -> None:
    """Measures and prints."""
    environment.prepare()
    from pipeline.train import machine

    workspace = Workspace.find()
    settings = one_epoch(params.load(workspace.params).train)
    machine.prepare(settings)
    whole = dataset.read(workspace.need(workspace.dataset, "ingest"))
    data = replace(whole, train=Split(*(part[:pictures] for part in vars(whole.train).values())))
    loop, keras_fit = [], []
    for _ in range(rounds):
        loop.append(timed(own, data, settings))
        keras_fit.append(timed(keras, data, settings))
        print(f"own loop {loop[-1]:.2f} s · keras fit {keras_fit[-1]:.2f} s · ratio {loop[-1] / keras_fit[-1]:.3f}", flush=True)
    print(f"median ratio {statistics.median(a / b for a, b in zip(loop, keras_fit, strict=True)):.3f}")


def one_epoch(settings: TrainParams) -> TrainParams:
    """The notebook's recipe, one epoch long."""
    notebook = settings.recipes.notebook.model_copy(update={"epochs": 1})
    recipes = settings.recipes.model_copy(update={"notebook": notebook})
    return settings.model_copy(update={"architecture": "notebook", "recipes": recipes})


def timed(way: Any, data: Dataset, settings: TrainParams) -> float:
    """Seconds of one epoch, tracing and validation included in both."""
    from pipeline.train import architectures

    model = architectures.build(settings, data.description.image_shape, data.description.classes)
    start = time.perf_counter()
    way(model, data, settings)
    return time.perf_counter() - start


def own(model: Any, data: Dataset, settings: TrainParams) -> None:
    """The pipeline's loop, its checkpoint included."""
    from pipeline.train.fit import fit

    with tempfile.TemporaryDirectory() as folder:
        fit(model, data, settings, Path(folder), lambda _: None)


def keras(model: Any, data: Dataset, settings: TrainParams) -> None:
    """Keras' `fit` on the same arrays."""
    from keras.losses import SparseCategoricalCrossentropy
    from keras.optimizers import Adam

    loss = SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=Adam(settings.recipe.learning_rate), loss=loss, metrics=["accuracy"])
    held_out = (data.validation.images, data.validation.labels)
    train = data.train
    batch = settings.recipe.batch_size
    model.fit(train.images, train.labels, batch_size=batch, validation_data=held_out, validation_batch_size=500, verbose=0)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000, int(sys.argv[2]) if len(sys.argv) > 2 else 3)
