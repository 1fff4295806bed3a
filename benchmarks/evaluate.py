"""What each part of the evaluate stage costs on data/dataset, in seconds of the clock and of the processor.

    .venv/bin/python -m benchmarks.evaluate

Libraries load where they are first used: TensorFlow's loading is a line of its own, matplotlib's is in the pictures. The
files in reports/ are written as the stage writes them; tracking is left alone.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from pipeline import dataset, environment, params, provenance
from pipeline.evaluate import card, curves, drawing, intervals, metrics, predict, report, slices, tables
from pipeline.evaluate.evaluation import Evaluation
from pipeline.workspace import Workspace

Result = TypeVar("Result")


def main() -> None:
    """Measures the parts in the order of the stage, and prints what each cost, then all of them."""
    environment.prepare()
    workspace = Workspace.find()
    timed("all", lambda: parts(workspace))


def parts(workspace: Workspace) -> None:
    """The stage, part by part."""
    chosen = params.load(workspace.params).evaluate
    data = dataset.read(workspace.need(workspace.dataset, "ingest"))
    labels = data.test.labels
    timed("loading TensorFlow", environment.load_tensorflow)
    model = timed("model", lambda: predict.load(workspace.need(workspace.model, "train"), data.description))
    answers = timed("prediction", lambda: predict.predict(model, data.test.images, chosen.batch_size))
    scores = timed("scores", lambda: metrics.score(labels, answers.probabilities, chosen.calibration_bins))
    sure = timed("intervals", lambda: intervals.bootstrap(labels, answers.probabilities, scores.calibration))
    right = answers.probabilities.argmax(axis=1) == labels
    features = timed("slices, with loading pandas", lambda: slices.read(workspace.features, chosen.slices, labels))
    training = provenance.read_training(workspace.training)
    cut = slices.cut(features, right, chosen.slice_bins)
    evaluation = Evaluation(data, training, answers, scores, sure, cut)
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
