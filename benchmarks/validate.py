"""Measure what each check of the validate stage costs on data/dataset, in wall-clock and CPU seconds.

    .venv/bin/python -m benchmarks.validate

Libraries load where they are first used, so loading pandas, scikit-learn and cleanlab is included. The whole stage:
`time .venv/bin/python -m pipeline validate`.
"""

import numpy as np

from benchmarks.measure import Costs, record
from pipeline import baseline, dataset, environment, features, params
from pipeline.validate import label_issues, near_duplicates, report, stage, suite, tables
from pipeline.validate.check import check, load
from pipeline.workspace import Workspace


def main() -> None:
    """Measure the checks one after the other, each with the cores that it has in the stage, then as the stage runs them."""
    costs = Costs()
    workspace = Workspace.find()
    limits = params.load(workspace.params).validate
    data = dataset.read(workspace.need(workspace.dataset, "ingest"))
    small = np.concatenate([features.shrink(split.images) for split in data.splits().values()])
    with environment.half_of_the_cores():
        costs.of("near-duplicates", lambda: near_duplicates.find(small, limits.near_duplicate_difference))
        frame = costs.of("features", lambda: features.table(data, small))
        tiny, names = features.shrink(small, baseline.SIDE), data.description.class_names
        costs.of("label issues", lambda: label_issues.columns(tiny, frame["label"].astype(float), names))
    costs.of("loading Great Expectations", load)
    frame, pairs, _ = costs.of("the above again, in parallel", lambda: stage.examine(data, limits.near_duplicate_difference))
    frames, rules = tables.build(frame, pairs, data.description), suite.rules(data.description, limits)
    for name in ("expectations", "expectations again"):
        outcomes = costs.of(name, lambda: check(frames, rules, limits))
    costs.of("report", lambda: report.as_html(outcomes, data))
    record("validate_parts", [{"part": each["part"].strip(), "after": each["cpu"]} for each in costs.figures])


if __name__ == "__main__":
    main()
