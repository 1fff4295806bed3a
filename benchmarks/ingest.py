"""What more data costs in ingest: highest anonymous memory (RssAnon) and images/s, with 60,000 images and 20 times as many.

    .venv/bin/python -m benchmarks.ingest [TIMES] [FOLDER]

FOLDER holds the four files of a set such as Fashion-MNIST (data/downloads). Its training files are repeated TIMES (20) into
plain IDX files, every copy of an image with another pixel changed, so that none is equal; each size is ingested in a process
of its own, as `ingest.dataset: idx`.
"""

import gzip
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import anonymous_megabytes, record
from pipeline import environment, params
from pipeline.ingest import idx
from pipeline.workspace import Workspace

INTERVAL = 0.01  # seconds between two looks at the memory


def main(times: int, folder: Path) -> None:
    """Measure both sizes, print and store them with their ratio."""
    if not folder.is_dir():
        sys.exit(f"{folder}: no such folder; name one that holds the four files of a set, after the number of times")
    measured = []
    with tempfile.TemporaryDirectory(dir=Workspace.find().root / "data") as scratch:
        for repeated in (1, times):
            project = Path(scratch) / str(repeated)
            repeat(folder, project / "data/source", repeated)
            (project / "dvc.yaml").touch()
            count, memory, seconds = measured_apart(project)
            print(f"{count:>9,} training images  RssAnon {memory:.1f} MB  {count / seconds:,.0f} images/s", flush=True)
            measured.append((round(memory, 1), round(count / seconds)))
    figures = [
        {"figure": figure, "once": once, "repeated": repeated, "ratio": round(repeated / once, 3)}
        for figure, once, repeated in zip(("anonymous memory (RssAnon), MB", "images/s"), *measured, strict=True)
    ]
    record("ingest", figures)


def repeat(folder: Path, source: Path, times: int) -> None:
    """Write the training files `times` times over, the test files once, as plain IDX."""
    source.mkdir(parents=True)
    for path in idx.find(folder):
        with gzip.open(path) as packed:
            content = packed.read()
        (source / path.stem).write_bytes(content)
    for path in (source / "train-images-idx3-ubyte", source / "train-labels-idx1-ubyte"):
        content = path.read_bytes()
        sizes = content[3] * 4
        shape = np.frombuffer(content[4 : 4 + sizes], ">u4").copy()
        array = np.frombuffer(content[4 + sizes :], np.uint8).reshape(shape)
        shape[0] *= times
        with path.open("wb") as file:
            file.write(content[:4] + shape.tobytes())
            for number in range(times):
                file.write((changed(array, number) if array.ndim == 3 else array).tobytes())


def changed(array: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Return `array`, uint8 `(n, height, width)`, with `number` added to the first pixel."""
    copy = array.copy()
    copy[:, 0, 0] += np.uint8(number)
    return copy


def measured_apart(project: Path) -> tuple[int, float, float]:
    """Return images, peak RssAnon in MB and seconds, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.ingest", "--child", str(project)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    count, memory, seconds = done.stdout.splitlines()[-1].split()
    return int(count), float(memory), float(seconds)


def child(project: Path) -> None:
    """Ingest and print the three figures."""
    environment.prepare()
    from pipeline import dataset
    from pipeline.ingest import stage

    settings = params.load(Workspace.find().params).ingest.model_dump()
    wanted = params.IngestParams.model_validate({**settings, "dataset": "idx", "name": "benchmark", "source": "data/source"})
    workspace = Workspace(project, project)
    highest = [0.0]
    threading.Thread(target=watch, args=(highest,), daemon=True).start()
    start = time.perf_counter()
    stage.run(wanted, workspace)
    seconds = time.perf_counter() - start
    counts = dataset.describe(workspace.dataset).counts
    print(counts["train"] + counts["validation"], highest[0], seconds)


def watch(highest: list[float]) -> None:
    """Keep the highest RssAnon of this process, in MB."""
    while True:
        highest[0] = max(highest[0], anonymous_megabytes())
        time.sleep(INTERVAL)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, Path(sys.argv[2]) if len(sys.argv) > 2 else Path("data/downloads"))
