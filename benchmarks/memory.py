"""What more data costs while training: anonymous memory (RssAnon) and images/s, with the training split once and 20 times.

    .venv/bin/python -m benchmarks.memory [TIMES] [STEPS]

The pictures of data/dataset are repeated on disk, then `sprint` takes STEPS (1,000) steps in a process of its own, in turn
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

from pipeline import environment, params
from pipeline.dataset import Split
from pipeline.workspace import Workspace

ROUNDS = 3


def main(times: int, steps: int) -> None:
    """Measures both in turn and prints them with their ratios."""
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
    print(f"RssAnon {memory:.0f} → {large_memory:.0f} MB: {large_memory / memory:.3f} times")
    print(f"images/s {speed:,.0f} → {large_speed:,.0f}: {large_speed / speed:.3f} times")


def repeat(small: Path, large: Path, times: int) -> None:
    """Writes the arrays of `small` `times` times over into `large`, a part at a time."""
    large.mkdir(parents=True)
    for path in small.glob("*.npy"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        whole = np.lib.format.open_memmap(large / path.name, "w+", array.dtype, (times * len(array), *array.shape[1:]))
        for part in range(times):
            whole[part * len(array) : (part + 1) * len(array)] = array
        whole.flush()


def measured_apart(split: Path, steps: int) -> tuple[float, float]:
    """RssAnon in MB at its highest and images/s, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", "--child", str(split), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    memory, speed = map(float, done.stdout.split())
    return memory, speed


def child(folder: Path, steps: int) -> None:
    """Trains and prints both figures."""
    environment.prepare()
    from pipeline.train import architectures, machine
    from pipeline.train.average import Average
    from pipeline.train.step import Step

    settings = params.load(Workspace.find().params).train.model_copy(update={"architecture": "sprint"})
    machine.prepare(settings)
    split = Split(*(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in Split.__annotations__))
    model = architectures.build(settings, split.images.shape[1:], 10)
    step = Step(model, settings.recipe, Average(model, 0))
    highest, start = 0.0, 0.0
    for number, (images, labels) in enumerate(all_epochs(split, settings)):
        step.train(images, labels, 0.01)
        if number == 20:  # compiled and warm
            start = time.perf_counter()
        if number % 50 == 0:
            highest = max(highest, anonymous_megabytes())
        if number == steps:
            break
    print(highest, settings.recipe.batch_size * (steps - 20) / (time.perf_counter() - start))


def all_epochs(split: Split, settings: params.TrainParams) -> Iterator[Any]:
    """The batches of one epoch after the other."""
    from pipeline.train import batches

    for epoch in itertools.count():
        yield from batches.epoch_of(split, settings.recipe, settings.seed, epoch)


def anonymous_megabytes() -> float:
    """RssAnon of this process."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
