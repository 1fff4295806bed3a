"""Trains architectures by their recipes in one run, in turn, and compares them with the notebook: accuracy, time, ratio.

    .venv/bin/python -m benchmarks.architectures [NAME:SEEDS ...] [--save FILE] [--pictures N] [--epochs N] [--float32]

Without names: notebook:1 sprint:5, what `make bench` runs (7 to 11 minutes on 2 cores). It trains on data/dataset; seconds are
those of `fit`: compiling, validation and checkpoints included. The test set is read once per training, after it. --save adds
a JSON line per training to FILE, its curve in it. The last three make every training shorter than its recipe, on fewer pictures
or in plain arithmetic: to see whether a recipe learns where all of it would take days (`large` on a CPU).
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

from pipeline import dataset, environment, params
from pipeline.dataset import Dataset, Split
from pipeline.params import TrainParams
from pipeline.workspace import Workspace

Result = Mapping[str, Any]


def main(plan: Sequence[tuple[str, int]], save: Path | None, pictures: int | None, changes: Mapping[str, Any]) -> None:
    """Trains, prints each training and the table; `changes` go into every recipe."""
    environment.prepare()
    from pipeline.train import machine

    workspace = Workspace.find()
    settings = params.load(workspace.params).train
    threads = machine.prepare(settings)
    data = fewer(dataset.read(workspace.need(workspace.dataset, "ingest")), pictures)
    print(f"{data.description.name}: {len(data.train):,} training pictures, {threads} threads", flush=True)
    results = []
    for name, seed in plan:
        print(f"\n{name}, seed {seed}", flush=True)
        results.append(measure(chosen(settings, name, seed, changes), data))
        print("  ".join(f"{key} {value}" for key, value in results[-1].items() if key != "curve"), flush=True)
        if save:
            with save.open("a", encoding="utf-8") as file:
                file.write(json.dumps(results[-1]) + "\n")
    print(f"\n{table(results)}")


def fewer(data: Dataset, pictures: int | None) -> Dataset:
    """`data` with so many training pictures, taken evenly."""
    if pictures is None:
        return data
    rows = np.arange(pictures) * len(data.train) // pictures
    train = Split(data.train.images[rows], data.train.labels[rows], data.train.source_index[rows])
    return dataclasses.replace(data, train=train)


def chosen(settings: TrainParams, name: str, seed: int, changes: Mapping[str, Any]) -> TrainParams:
    """`settings` for this architecture and seed, its recipe changed."""
    recipes = settings.recipes.model_copy(update={name: getattr(settings.recipes, name).model_copy(update=changes)})
    return settings.model_copy(update={"architecture": name, "seed": seed, "recipes": recipes})


def measure(settings: TrainParams, data: Dataset) -> Result:
    """One training: seconds of its fit, its curve, and what it scores on the test set."""
    import keras

    from pipeline.train import architectures, whitening
    from pipeline.train.fit import fit

    keras.utils.set_random_seed(settings.seed)
    model = architectures.build(settings, data.description.image_shape, data.description.classes)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        whitening.measure(model, data.train.images, settings.seed)
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
        "test_flip_averaged": accuracy(model, data.test, flips=True) if settings.recipe.flip_averaging else None,
        "curve": curve,
    }


def accuracy(model: Any, split: Split, flips: bool) -> float:
    """Share of pictures that the saved classifier gets right."""
    from pipeline.train import architectures

    classifier = architectures.classifier(model, flips)
    batches = range(0, len(split), 500)
    answers = np.concatenate([classifier.predict_on_batch(split.images[first : first + 500]) for first in batches])
    return round(float((answers.argmax(axis=1) == split.labels).mean()), 5)


def table(results: Sequence[Result]) -> str:
    """Markdown: a row per architecture; mean ± standard deviation over the seeds."""
    notebook = [result["fit_seconds"] for result in results if result["architecture"] == "notebook"]
    lines = [
        "| architecture | parameters | seeds | test accuracy | with flip averaging | fit | of the notebook's |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(result["architecture"] for result in results):
        own = [result for result in results if result["architecture"] == name]
        seconds = [result["fit_seconds"] for result in own]
        ratio = f"1/{statistics.mean(notebook) / statistics.mean(seconds):.1f}" if notebook else "–"
        figures = [spread([result[key] for result in own]) for key in ("test", "test_flip_averaged")]
        lines.append(
            f"| {name} | {own[0]['parameters']:,} | {len(own)} | {figures[0]} | {figures[1]} "
            f"| {statistics.mean(seconds):.1f} s ({min(seconds):.1f}–{max(seconds):.1f}) | {ratio} |"
        )
    return "\n".join(lines)


def spread(shares: Sequence[float | None]) -> str:
    """Mean ± standard deviation, in percent."""
    known = [100 * share for share in shares if share is not None]
    if not known:
        return "–"
    return f"{statistics.mean(known):.2f} %" + (f" ± {statistics.stdev(known):.2f}" if len(known) > 1 else "")


def planned(names: Sequence[str]) -> Sequence[tuple[str, int]]:
    """(architecture, seed) in turn: a busy minute of the machine then falls on all alike."""
    counts = {name: int(seeds or 1) for name, _, seeds in (entry.partition(":") for entry in names)}
    return sorted(((name, seed) for name, seeds in counts.items() for seed in range(seeds)), key=lambda pair: pair[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME:SEEDS", default=["notebook:1", "sprint:5"])
    parser.add_argument("--save", type=Path, metavar="FILE")
    parser.add_argument("--pictures", type=int, metavar="N")
    parser.add_argument("--epochs", type=int, metavar="N")
    parser.add_argument("--float32", dest="precision", action="store_const", const="float32")
    arguments = parser.parse_args()
    changed = {key: value for key in ("epochs", "precision") if (value := getattr(arguments, key))}
    main(planned(arguments.names), arguments.save, arguments.pictures, changed)
