"""Trains architectures by their recipes in one run, in turn, and compares them with the notebook: accuracy, time, ratio.

    .venv/bin/python -m benchmarks.architectures [NAME:SEEDS ...] [--save FILE] [--images N] [--epochs N] [--float32]

Without names: notebook:1 sprint:5, what `make bench` runs (7 to 11 minutes on 2 cores). It trains on data/dataset; seconds are
those of `fit`: compiling, validation and checkpoints included. The test set is read once per training, after it. --save adds
a JSON line per training to FILE, with its curve, for benchmarks.curves. The last three shorten every training: to see whether
a recipe learns where the whole would take days (`large` on a CPU).
"""

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import ready_to_train, record
from pipeline.dataset import Dataset, Split
from pipeline.params import TrainParams

Result = Mapping[str, Any]


def main(plan: Sequence[tuple[str, int]], save: Path | None, images: int | None, changes: Mapping[str, Any]) -> None:
    """Train all, print each training and the summary; `changes` go into every recipe."""
    settings, data, threads = ready_to_train()
    data = fewer(data, images)
    print(f"{data.description.name}: {len(data.train):,} training images, {threads} threads", flush=True)
    results = []
    for name, seed in plan:
        print(f"\n{name}, seed {seed}", flush=True)
        results.append(measure(chosen(settings, name, seed, changes), data))
        print("  ".join(f"{key} {value}" for key, value in results[-1].items() if key != "curve"), flush=True)
        if save:
            with save.open("a", encoding="utf-8") as file:
                file.write(json.dumps(results[-1]) + "\n")
    rows = summary(results)
    print("\n" + "\n".join("  ".join(f"{key} {value}" for key, value in row.items()) for row in rows))
    record("architectures", rows, f"0-{max(seed for _, seed in plan)}")


def fewer(data: Dataset, images: int | None) -> Dataset:
    """Return `data` with so many training images, taken evenly."""
    if images is None:
        return data
    rows = np.arange(images) * len(data.train) // images
    train = Split(data.train.images[rows], data.train.labels[rows], data.train.source_index[rows])
    return dataclasses.replace(data, train=train)


def chosen(settings: TrainParams, name: str, seed: int, changes: Mapping[str, Any]) -> TrainParams:
    """Return `settings` for this architecture and seed, its recipe changed."""
    recipes = settings.recipes.model_copy(update={name: getattr(settings.recipes, name).model_copy(update=changes)})
    return settings.model_copy(update={"architecture": name, "seed": seed, "recipes": recipes})


def measure(settings: TrainParams, data: Dataset) -> Result:
    """Train once; return the seconds of the fit, its curve, and the scores on the test set."""
    import keras

    from pipeline.train import architectures
    from pipeline.train.fit import fit
    from pipeline.train.recipe import recipe_of

    keras.utils.set_random_seed(settings.seed)
    model = architectures.build(settings, data.description.image_shape, data.description.classes)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        architectures.whiten(model, data.train.images, settings.seed)
        rows = fit(model, data, settings, Path(folder), lambda _: None)
        seconds = time.perf_counter() - start
    after = np.cumsum([float(row["train/seconds"]) for row in rows])
    curve = [(round(float(when), 2), float(row["validation/accuracy"])) for when, row in zip(after, rows, strict=True)]
    return {
        "architecture": settings.architecture,
        "parameters": model.count_params(),
        "seed": settings.seed,
        "fit_seconds": round(seconds, 2),
        "test": accuracy(model, data.test, flips=False),
        "test_flip_averaged": accuracy(model, data.test, flips=True) if recipe_of(settings).flip_averaging else None,
        "curve": curve,
    }


def accuracy(model: Any, split: Split, flips: bool) -> float:
    """Return the share of images that the saved classifier predicts correctly."""
    from pipeline.train import architectures

    classifier = architectures.classifier(model, flips)
    batches = range(0, len(split), 500)
    predictions = np.concatenate([classifier.predict_on_batch(split.images[first : first + 500]) for first in batches])
    return round(float((predictions.argmax(axis=1) == split.labels).mean()), 5)


def summary(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return a row per architecture: means with their spread over the seeds, and the notebook's seconds beside."""
    notebook = [result["fit_seconds"] for result in results if result["architecture"] == "notebook"]
    rows = []
    for name in dict.fromkeys(result["architecture"] for result in results):
        own = [result for result in results if result["architecture"] == name]
        row = {"architecture": name, "parameters": own[0]["parameters"], "seeds": len(own)}
        for key in ("test", "test_flip_averaged"):
            if own[0][key] is not None:
                row[key] = spread([100 * result[key] for result in own], ("sd",))
        row["fit_seconds"] = spread([result["fit_seconds"] for result in own], ("min", "max"))
        if notebook and name != "notebook":
            row["notebook_seconds"] = round(statistics.mean(notebook), 1)
        rows.append(row)
    return rows


def spread(values: Sequence[float], measures: Sequence[str]) -> float | dict[str, float]:
    """Return the mean with the given measures of spread; of a single value the value itself."""
    if len(values) == 1:
        return round(values[0], 2)
    found = {"mean": statistics.mean(values), "sd": statistics.stdev(values), "min": min(values), "max": max(values)}
    return {key: round(found[key], 2) for key in ("mean", *measures)}


def planned(names: Sequence[str]) -> Sequence[tuple[str, int]]:
    """Return (architecture, seed) in turn, so that a busy minute of the machine falls on all alike."""
    counts = {name: int(seeds or 1) for name, _, seeds in (entry.partition(":") for entry in names)}
    return sorted(((name, seed) for name, seeds in counts.items() for seed in range(seeds)), key=lambda pair: pair[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME:SEEDS", default=["notebook:1", "sprint:5"])
    parser.add_argument("--save", type=Path, metavar="FILE")
    parser.add_argument("--images", type=int, metavar="N")
    parser.add_argument("--epochs", type=int, metavar="N")
    parser.add_argument("--float32", dest="precision", action="store_const", const="float32")
    arguments = parser.parse_args()
    changed = {key: value for key in ("epochs", "precision") if (value := getattr(arguments, key))}
    main(planned(arguments.names), arguments.save, arguments.images, changed)
