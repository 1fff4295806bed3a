"""What more data costs while training: anonymous memory (RssAnon) and images/s, with the training split once and 20 times.

    .venv/bin/python -m benchmarks.memory [TIMES] [STEPS]

The images of data/dataset are repeated on disk, then `sprint` takes STEPS (1,000) steps in a process of its own, in turn
three times. RssAnon leaves out the page cache that a memory-map fills, which the system takes back when it needs it.
"""

import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import anonymous_megabytes, ready_to_train, record
from pipeline.dataset import Split
from pipeline.params import Recipe
from pipeline.workspace import Workspace

ROUNDS = 3


def main(times: int, steps: int) -> None:
    """Measure both in turn, print and store them with their ratios."""
    workspace = Workspace.find()
    small = workspace.need(workspace.dataset, "ingest") / "train"
    with tempfile.TemporaryDirectory(dir=workspace.root / "data") as folder:
        large = Path(folder) / "train"
        repeat(small, large, times)
        figures: dict[Path, list[tuple[float, float]]] = {small: [], large: []}
        for _ in range(ROUNDS):
            for split, known in figures.items():
                known.append(measured_apart(split, steps))
                print(
                    f"{'×' + str(times) if split == large else '×1':>4}  {known[-1][0]:.0f} MB  {known[-1][1]:,.0f} images/s",
                    flush=True,
                )
    medians = [[statistics.median(column) for column in zip(*known, strict=True)] for known in figures.values()]
    (memory, speed), (large_memory, large_speed) = medians
    rows = {"anonymous memory (RssAnon), MB": (memory, large_memory), "images/s": (speed, large_speed)}
    record(
        "memory",
        [
            {"figure": figure, "once": round(once), "repeated": round(more), "ratio": round(more / once, 3)}
            for figure, (once, more) in rows.items()
        ],
    )


def repeat(small: Path, large: Path, times: int) -> None:
    """Write the arrays of `small` `times` times over into `large`, a part at a time."""
    large.mkdir(parents=True)
    for path in small.glob("*.npy"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        whole = np.lib.format.open_memmap(large / path.name, "w+", array.dtype, (times * len(array), *array.shape[1:]))
        for part in range(times):
            whole[part * len(array) : (part + 1) * len(array)] = array
        whole.flush()


def measured_apart(split: Path, steps: int) -> tuple[float, float]:
    """Return the highest RssAnon in MB, and images/s, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", "--child", str(split), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    memory, speed = map(float, done.stdout.split())
    return memory, speed


def child(folder: Path, steps: int) -> None:
    """Train and print both figures."""
    settings, _, _ = ready_to_train("sprint")
    from pipeline.train import architectures
    from pipeline.train.recipe import recipe_of
    from pipeline.train.step import Average, Step

    recipe = recipe_of(settings)
    split = Split(*(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in Split.__annotations__))
    model = architectures.build(settings, split.images.shape[1:], 10)
    step = Step(model, recipe, Average(model, 0))
    highest, start = 0.0, 0.0
    for number, (images, labels) in enumerate(all_epochs(split, recipe, settings.seed)):
        step.train(images, labels, 0.01)
        if number == 20:  # compiled and warm
            start = time.perf_counter()
        if number % 50 == 0:
            highest = max(highest, anonymous_megabytes())
        if number == steps:
            break
    print(highest, recipe.batch_size * (steps - 20) / (time.perf_counter() - start))


def all_epochs(split: Split, recipe: Recipe, seed: int) -> Iterator[Any]:
    """Yield the batches of one epoch after the other."""
    from pipeline.train.augment import batches

    for epoch in itertools.count():
        yield from batches(split, recipe, seed, epoch)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
