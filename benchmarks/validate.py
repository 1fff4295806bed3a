"""Measure what each check of the validate stage costs on data/dataset, in wall-clock and CPU seconds.

    .venv/bin/python -m benchmarks.validate

Libraries load where they are first used, so loading pandas, scikit-learn and cleanlab is included. The whole stage:
`time .venv/bin/python -m pipeline validate`.
"""

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from pipeline import dataset, params
from pipeline.validate import features, label_issues, near_duplicates, report, stage, suite, tables
from pipeline.validate.check import check, load
from pipeline.workspace import Workspace

Result = TypeVar("Result")


def main() -> None:
    """Measure the checks one after the other, each with the cores that it has in the stage, then as the stage runs them."""
    workspace = Workspace.find()
    limits = params.load(workspace.params).validate
    data = dataset.read(workspace.need(workspace.dataset, "ingest"))
    small = np.concatenate([features.shrink(split.images) for split in data.splits().values()])
    with stage.half_of_the_cores():
        timed("near-duplicates", lambda: near_duplicates.find(small, limits.near_duplicate_difference))
        frame = timed("features and label issues", lambda: features.table(data, small))
        tiny, names = features.shrink(small, label_issues.SIDE), data.description.class_names
        timed("  of which label issues", lambda: label_issues.columns(tiny, frame["label"].astype(float), names))
    timed("loading of Great Expectations", load)
    frame, pairs = timed("the above again, in parallel", lambda: stage.examine(data, limits.near_duplicate_difference))
    frames, rules = tables.build(frame, pairs, data.description), suite.rules(data.description, limits)
    for name in ("expectations", "expectations again"):
        outcomes = timed(name, lambda: check(frames, rules, limits))
    timed("report", lambda: report.as_html(outcomes, data))


def timed(name: str, work: Callable[[], Result]) -> Result:
    """Return what `work` returns, and print its cost."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    print(f"{name:32} {time.perf_counter() - clock:6.2f} s  {time.process_time() - processor:6.2f} s CPU", flush=True)
    return result


if __name__ == "__main__":
    main()
