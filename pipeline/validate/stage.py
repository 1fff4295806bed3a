"""The validate stage: every picture against every expectation; bad data ends the pipeline here."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import dataset
from pipeline.dataset import Description
from pipeline.errors import ValidationFailedError
from pipeline.params import ValidateParams
from pipeline.validate import data_docs as docs
from pipeline.validate import features, near, profile, report
from pipeline.validate.check import check
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
    pairs = near.pairs(data, params.near_copy_difference)
    frame = features.table(data, pairs)
    reference = profile.read(workspace.reference, workspace.shown(workspace.reference))
    outcomes = check(frame, pairs, data.description, params, reference)

    with replacing(workspace.features) as path:
        frame.to_parquet(path, index=False)
    _write(workspace.profile, _profile(frame, data.description))
    _write(workspace.validation_json, report.as_json(outcomes, data))
    _write(workspace.validation_html, report.as_html(outcomes, data))
    if data_docs:
        with replacing_folder(workspace.data_docs) as folder:
            docs.build(frame, pairs, data.description, params, reference, folder)
        print(f"data docs: {workspace.shown(workspace.data_docs / 'index.html')} (loads its style from the network)")
    shown = workspace.shown(workspace.validation_html)
    if any(outcome.verdict == "failed" for outcome in outcomes):
        raise ValidationFailedError(report.error_line(outcomes, shown))
    _write(workspace.validated, json.dumps({"dataset_digest": data.description.digest}) + "\n")
    print(f"{report.summary(outcomes, len(frame))}\nreport: {shown}")


def _profile(frame: "pd.DataFrame", description: Description) -> str:
    train = profile.of(frame[frame["split"] == "train"], description.class_names)
    return profile.as_json(train, description.name, description.digest)


def _write(path: Path, content: str) -> None:
    with replacing(path) as aside:
        aside.write_text(content, encoding="utf-8")
