"""The validate stage: every image against every expectation; bad data ends the pipeline here."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline import baseline, dataset, environment, features
from pipeline.baseline import Baseline
from pipeline.dataset import Dataset
from pipeline.errors import ValidationFailedError
from pipeline.features import FileNames
from pipeline.params import ValidateParams
from pipeline.validate import drift, label_issues, near_duplicates, report, suite, tables
from pipeline.validate.check import build_data_docs, check, load
from pipeline.workspace import Workspace, replacing, replacing_folder, write_text

if TYPE_CHECKING:
    import pandas as pd


def run(params: ValidateParams, workspace: Workspace, data_docs: bool = False) -> None:
    """Check the data set and write the findings, even if it fails.

    Args:
        params: The limits.
        workspace: The checkout.
        data_docs: Whether to build Great Expectations' own pages as well.

    Raises:
        MissingInputError: ingest has not run.
        DatasetError: the data set on disk is not what ingest writes.
        ValidationFailedError: the data failed an expectation that stops; then `workspace.validated` does not exist.
    """
    workspace.validated.unlink(missing_ok=True)  # it belongs to one data set; an older file must not vouch for this one
    data = dataset.read_checked(workspace.need(workspace.dataset, "ingest"))
    frame, pairs, simple = examine(data, params.near_duplicate_difference, dataset.file_names(workspace.dataset))
    frames, rules = tables.build(frame, pairs, data.description), suite.rules(data.description, params)
    outcomes = check(frames, rules, params)

    with replacing(workspace.features) as path:
        frame.to_parquet(path, index=False)
    with replacing(workspace.baseline) as path:
        baseline.write(simple, data, path)
    write_text(workspace.profile, drift.as_json(drift.profile(frame[frame["split"] == "train"], data.description)))
    write_text(workspace.validation_json, report.as_json(outcomes, data, simple))
    write_text(workspace.validation_html, report.as_html(outcomes, data))
    if data_docs:
        with replacing_folder(workspace.data_docs) as folder:
            build_data_docs(frames, rules, folder)
        print(f"data docs: {workspace.shown(workspace.data_docs / 'index.html')} (loads its style from the network)")
    shown = workspace.shown(workspace.validation_html)
    if any(outcome.verdict == "failed" for outcome in outcomes):
        raise ValidationFailedError(report.error_line(outcomes, shown))
    write_text(workspace.validated, json.dumps({"dataset_digest": data.description.digest}) + "\n")
    print(f"{report.summary(outcomes, len(frame), simple)}\nreport: {shown}")


def examine(data: Dataset, limit: float, files: FileNames = None) -> "tuple[pd.DataFrame, pd.DataFrame, Baseline]":
    """Return the features of the images, their near-duplicates up to `limit`, and the baseline.

    Two threads work on them, each with half of the cores.
    """
    # Imported here because both threads need them, and one could meet a module that the other has half imported.
    import pandas  # noqa: F401
    import scipy.spatial  # noqa: F401

    small = np.concatenate([features.shrink(split.images) for split in data.splits().values()])
    with environment.half_of_the_cores(), ThreadPoolExecutor(max_workers=1) as beside:
        describing = beside.submit(_describe, data, small, files)
        found = near_duplicates.find(small, limit)
        simple = baseline.fit(data, small)
        frame = describing.result()
    pairs = near_duplicates.describe(found, frame)
    return features.mark(frame, pairs), pairs, simple


def _describe(data: Dataset, small: NDArray[np.uint8], files: FileNames) -> "pd.DataFrame":
    frame, names = features.table(data, small, files), data.description.class_names
    labels = features.judged_labels(frame, len(names))
    frame = frame.assign(**label_issues.columns(features.shrink(small, baseline.SIDE), labels, names))
    load()  # for `check`, while near-duplicates are still being searched
    return frame
