"""What each part of the evaluate stage costs on data/dataset, in seconds of the clock and of the processor.

    .venv/bin/python -m benchmarks.evaluate              # the test split
    .venv/bin/python -m benchmarks.evaluate 1000000      # repeated until it holds so many pictures

Libraries load where they are first used: TensorFlow's loading is a line of its own, matplotlib's is in the pictures. The
files in reports/ are written as the stage writes them; tracking is left alone.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from pipeline import dataset, environment, params, provenance
from pipeline.dataset import Split
from pipeline.evaluate import card, curves, drawing, predict, report, slices, tables
from pipeline.evaluate.evaluation import Evaluation
from pipeline.predictions import Predictions
from pipeline.scores import intervals, metrics
from pipeline.workspace import Workspace

Result = TypeVar("Result")


def main() -> None:
    """Measures the parts in the order of the stage, and prints what each cost, then all of them and how large the page is."""
    environment.prepare()
    workspace = Workspace.find()
    timed("all", lambda: parts(workspace, int(sys.argv[1]) if len(sys.argv) > 1 else None))
    print(f"{workspace.shown(workspace.report)}: {workspace.report.stat().st_size:,} bytes")


def parts(workspace: Workspace, pictures: int | None) -> None:
    """The stage, part by part; on `pictures` test pictures, or on those there are."""
    chosen = params.load(workspace.params).evaluate
    there = dataset.read(workspace.need(workspace.dataset, "ingest"))
    rows = np.arange(pictures or len(there.test)) % len(there.test)
    test = there.test if pictures is None else Split(*(np.asarray(each)[rows] for each in vars(there.test).values()))
    data, labels = replace(there, test=test), test.labels
    timed("loading TensorFlow", environment.load_tensorflow)
    model = timed("model", lambda: predict.load(workspace.need(workspace.model, "train"), data.description))
    probabilities, speed = timed("prediction", lambda: predict.predict(model, data.test.images, chosen.batch_size))
    scores = timed("scores", lambda: metrics.score(labels, probabilities, chosen.calibration_bins))
    sure = timed("intervals", lambda: intervals.bootstrap(labels, probabilities, scores.calibration))
    found = Predictions(source_index=data.test.source_index, labels=labels, probabilities=probabilities)
    known = timed("slices, with loading pandas", lambda: slices.read(workspace.features, chosen.slices, there.test.labels))
    features = {name: values[rows] for name, values in known.items()}
    training = provenance.read_training(workspace.training)
    cut = slices.cut(features, found.correct, chosen.slice_bins)
    evaluation = Evaluation(data, training, found, speed, scores, sure, cut)
    timed("tables", lambda: tables.write(evaluation, workspace))
    history = curves.read(workspace.history)
    timed("pictures", lambda: drawing.write(evaluation, model, history, chosen.grid_pictures, workspace))
    timed("model card", lambda: card.write(evaluation, workspace))
    timed("report", lambda: report.write(evaluation, chosen.grid_pictures, workspace))


def timed(name: str, work: Callable[[], Result]) -> Result:
    """What `work` returns; its cost is printed."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    print(f"{name:28} {time.perf_counter() - clock:6.2f} s  {time.process_time() - processor:6.2f} s CPU", flush=True)
    return result


if __name__ == "__main__":
    main()
