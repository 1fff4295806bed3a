"""What each check of the validate stage costs on data/dataset, in seconds of the clock and of the processor.

    .venv/bin/python -m benchmarks.validate

Libraries load where they are first used, so the loading of pandas, scikit-learn and cleanlab is in the figures. The whole
stage: `time .venv/bin/python -m pipeline validate`.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pipeline import dataset, params
from pipeline.dataset import Dataset
from pipeline.validate import features, label_issues, near_duplicates, outliers, report, stage
from pipeline.validate.check import check, load
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

Result = TypeVar("Result")


def main() -> None:
    """Measures the checks one after the other, each with the cores that it has in the stage, then as the stage has them."""
    workspace = Workspace.find()
    limits = params.load(workspace.params).validate
    data = dataset.read(workspace.need(workspace.dataset, "ingest"))
    with stage.half_of_the_cores():
        pairs = timed("near copies", lambda: near_duplicates.pairs(data, limits.near_duplicate_difference))
        frame = timed("features, outliers and suspects", lambda: features.marked(features.table(data), pairs))
        of_which(data, frame)
    timed("loading of Great Expectations", load)
    timed("the above once more, at once", lambda: stage.looked_at(data, limits.near_duplicate_difference))
    for name in ("expectations", "expectations again"):
        outcomes = timed(name, lambda: check(frame, pairs, data.description, limits))
    timed("report", lambda: report.as_html(outcomes, data))


def of_which(data: Dataset, frame: "pd.DataFrame") -> None:
    """The parts of the features once more, each alone."""
    timed("  of which outliers", lambda: outliers.columns(data, frame))
    timed("  of which suspects", lambda: label_issues.columns(data, frame))


def timed(name: str, work: Callable[[], Result]) -> Result:
    """What `work` returns; its cost is printed."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    print(f"{name:34} {time.perf_counter() - clock:6.2f} s  {time.process_time() - processor:6.2f} s CPU", flush=True)
    return result


if __name__ == "__main__":
    main()
