"""Registry entries as `recorded.read` returns them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.dataset import Description
from pipeline.predictions import Predictions
from pipeline.provenance import GitState, TrainingRecord
from pipeline.tracking import Source
from pipeline.verify.recorded import Entry

RECORD = TrainingRecord(
    training_id="6f3c",
    dataset_name="digits",
    dataset_digest="da" * 32,
    image_shape=(28, 28, 1),
    class_names=("0", "1"),
    architecture="notebook",
    parameters=650,
    params={"ingest": {"seed": 42}, "train": {"epochs": 10, "threads": 0}},
    threads=2,
    warm_start={},
    started_ms=1,
    git=GitState("c0ffee", "main", False, "", ()),
    environment={"python": "3.11.7", "tensorflow": "2.21.0"},
    model_summary="",
    weights_digest="aa" * 32,
    finished_ms=2,
    fit_seconds=1.0,
)
DATA = Description("digits", (28, 28, 1), ("0", "1"), {"train": 8, "validation": 1, "test": 1}, (), "da" * 32)
LABELS = np.array([0, 1], np.int32)
PREDICTIONS = Predictions(source_index=LABELS, labels=LABELS, probabilities=np.array([[0.9, 0.1], [0.2, 0.8]], np.float32))


def entry(params: str, dvc_lock: str = "", **changes: Any) -> Entry:
    """Version 1, with the recorded files given, and `changes` to its training record."""
    return Entry(
        source=Source("version 1", "1a2b", "digits-classifier", "1"),
        record=replace(RECORD, **changes),
        params=params,
        dvc_lock=dvc_lock,
        data=DATA,
        scores={"accuracy": (0.9, 0.88, 0.92)},
        contradictions=[],
        folder=Path(),
        predictions=PREDICTIONS,
    )
