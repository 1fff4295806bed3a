"""The validate stage: every picture against every expectation; bad data ends the pipeline here."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import dataset
from pipeline.dataset import Dataset
from pipeline.errors import ValidationFailedError
from pipeline.params import ValidateParams
from pipeline.validate import data_docs as docs
from pipeline.validate import drift, features, near_duplicates, report
from pipeline.validate.check import check, load
from pipeline.workspace import Workspace, replacing, replacing_folder

if TYPE_CHECKING:
    import pandas as pd


def run(params: ValidateParams, workspace: Workspace, data_docs: bool = False) -> None:
    """Checks the data set and writes what was found, also where it failed.

    Args:
        params: The limits.
        workspace: The checkout.
        data_docs: Whether to build Great Expectations' own pages as well.

    Raises:
        MissingInputError: ingest has not run.
        DatasetError: the data set on disk is not what ingest writes.
        ValidationFailedError: the data broke an expectation that stops; then `workspace.validated` does not exist.
    """
    workspace.validated.unlink(missing_ok=True)  # it vouches for data; an older one must not vouch for this
    data = dataset.read(workspace.need(workspace.dataset, "ingest"))
    frame, pairs = looked_at(data, params.near_duplicate_difference)
    outcomes = check(frame, pairs, data.description, params)

    with replacing(workspace.features) as path:
        frame.to_parquet(path, index=False)
    _write(workspace.profile, drift.as_json(drift.profile(frame[frame["split"] == "train"], data.description)))
    _write(workspace.validation_json, report.as_json(outcomes, data))
    _write(workspace.validation_html, report.as_html(outcomes, data))
    if data_docs:
        with replacing_folder(workspace.data_docs) as folder:
            docs.build(frame, pairs, data.description, params, folder)
        print(f"data docs: {workspace.shown(workspace.data_docs / 'index.html')} (loads its style from the network)")
    shown = workspace.shown(workspace.validation_html)
    if any(outcome.verdict == "failed" for outcome in outcomes):
        raise ValidationFailedError(report.error_line(outcomes, shown))
    _write(workspace.validated, json.dumps({"dataset_digest": data.description.digest}) + "\n")
    print(f"{report.summary(outcomes, len(frame))}\nreport: {shown}")


def looked_at(data: Dataset, limit: float) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The features of the pictures and their near copies up to `limit`, at the same time, each with half of the cores."""
    # Beforehand what both need: of two threads that import at once, one can meet a module that is half made.
    import pandas  # noqa: F401
    import scipy.spatial  # noqa: F401

    with half_of_the_cores(), ThreadPoolExecutor(max_workers=1) as beside:
        describing = beside.submit(_described, data)
        pairs = near_duplicates.pairs(data, limit)
        return features.marked(describing.result(), pairs), pairs


def half_of_the_cores() -> AbstractContextManager[object]:
    """BLAS computes with so many meanwhile: two at once with all would wait in busy loops, and take half as long again."""
    import scipy.linalg  # noqa: F401  # has a BLAS of its own beside NumPy's; only what is loaded can be limited
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(max(1, (os.cpu_count() or 1) // 2), user_api="blas")
    return limits


def _described(data: Dataset) -> "pd.DataFrame":
    frame = features.table(data)
    load()  # for `check`, while copies are still looked for
    return frame


def _write(path: Path, content: str) -> None:
    with replacing(path) as aside:
        aside.write_text(content, encoding="utf-8")
