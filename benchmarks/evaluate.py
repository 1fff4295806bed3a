"""What each part of the evaluate stage costs on data/dataset, in seconds of the clock and of the CPU.

    .venv/bin/python -m benchmarks.evaluate              # the test split
    .venv/bin/python -m benchmarks.evaluate 1000000      # repeated until it holds so many images

Libraries load where they are first used: scikit-learn in the scores, pandas in the tables, matplotlib in the plots. The
files in reports/ are written as the stage writes them; tracking is left alone.
"""

import sys
from dataclasses import replace

import numpy as np

from benchmarks.measure import Costs, record
from pipeline import baseline, dataset, environment, model_file, params, provenance
from pipeline.dataset import Split
from pipeline.evaluate import evaluation, plots, report, tables
from pipeline.evaluate.plots import charts
from pipeline.predictions import Predictions
from pipeline.scores import intervals, metrics, slices
from pipeline.workspace import Workspace


def main() -> None:
    """Measure the parts in the order of the stage, then all of them, and the size of the page."""
    environment.prepare()
    workspace = Workspace.find()
    images = int(sys.argv[1]) if len(sys.argv) > 1 else None
    costs = Costs()
    costs.of("all", lambda: parts(costs, workspace, images))
    suffix = "_million" if images else ""
    record(
        "evaluate",
        [{"part": each["part"], f"cpu{suffix}": each["cpu"], f"clock{suffix}": each["clock"]} for each in costs.figures],
    )
    print(f"{workspace.shown(workspace.report)}: {workspace.report.stat().st_size:,} bytes")


def parts(costs: Costs, workspace: Workspace, images: int | None) -> None:
    """Run the stage part by part, on `images` test images if given."""
    chosen = params.load(workspace.params).evaluate
    there = dataset.read(workspace.need(workspace.dataset, "ingest"))
    rows = np.arange(images or len(there.test)) % len(there.test)
    test = there.test if images is None else Split(*(np.asarray(each)[rows] for each in vars(there.test).values()))
    data, labels = replace(there, test=test), test.labels
    costs.of("loading TensorFlow", environment.load_tensorflow)
    model = costs.of("model", lambda: model_file.load(workspace.need(workspace.model, "train"), data.description))
    probabilities, speed = costs.of("prediction", lambda: model_file.predict(model, test.images, chosen.batch_size))
    scores = costs.of("scores", lambda: metrics.score(labels, probabilities, chosen.calibration_bins))
    ends = costs.of("intervals", lambda: intervals.bootstrap(labels, probabilities, scores.calibration))
    found = Predictions(source_index=test.source_index, labels=labels, probabilities=probabilities)
    known = costs.of("slices", lambda: evaluation.read_features(workspace.features, chosen.slices, there.test.labels))
    features = {name: values[rows] for name, values in known.items()}
    cut = slices.cut(features, found.correct, chosen.slice_bins)
    training = provenance.read_training(workspace.training)
    simple = baseline.read(workspace.baseline, there, workspace.shown(workspace.baseline))
    if images is not None:
        simple = replace(simple, labels=simple.labels[rows], predicted=simple.predicted[rows])
    whole = evaluation.Evaluation(data, training, found, simple, speed, scores, ends, cut)
    costs.of("tables", lambda: tables.write(whole, workspace))
    history = charts.read_history(workspace.history)
    costs.of("plots", lambda: plots.write(whole, model, history, chosen.grid_images, workspace))
    costs.of("report", lambda: report.write(whole, workspace))


if __name__ == "__main__":
    main()
