"""What each check of the validate stage costs on data/dataset, in seconds of the clock and of the processor.

    .venv/bin/python -m benchmarks.validate

Libraries load where they are first used, so their loading is in the figures: cleanlab's in `suspects`, most of all in
`expectations`, whose second round is Great Expectations at work alone.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pipeline import dataset, params
from pipeline.dataset import Dataset
from pipeline.validate import features, near, outliers, report, suspects
from pipeline.validate.check import check
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

Result = TypeVar("Result")


def main() -> None:
    """Measures the checks in the order of the stage, and prints what each found cost."""
    workspace = Workspace.find()
    limits = params.load(workspace.params).validate
    data = dataset.read(workspace.need(workspace.dataset, "ingest"))
    pairs = timed("near copies", lambda: near.pairs(data, limits.near_copy_difference))
    frame = timed("features, outliers and suspects", lambda: features.marked(features.table(data), pairs))
    of_which(data, frame)
    for name in ("expectations, with loading", "expectations"):
        outcomes = timed(name, lambda: check(frame, pairs, data.description, limits, None))
    timed("report", lambda: report.as_html(outcomes, data))


def of_which(data: Dataset, frame: "pd.DataFrame") -> None:
    """The parts of the features once more, each alone."""
    timed("  of which outliers", lambda: outliers.columns(data, frame))
    timed("  of which suspects", lambda: suspects.columns(data, frame))


def timed(name: str, work: Callable[[], Result]) -> Result:
    """What `work` returns; its cost is printed."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    print(f"{name:34} {time.perf_counter() - clock:6.2f} s  {time.process_time() - processor:6.2f} s CPU", flush=True)
    return result


if __name__ == "__main__":
    main()
