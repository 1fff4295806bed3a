"""A small data set that is ready to be trained on."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pipeline import dataset
from pipeline import params as params_module
from pipeline.dataset import SplitName
from pipeline.params import TrainParams
from pipeline.workspace import Workspace


@pytest.fixture
def params(workspace: Workspace) -> TrainParams:
    """What the tests run with: the notebook, no flips."""
    return params_module.load(workspace.params).train


@pytest.fixture
def ready(workspace: Workspace) -> Workspace:
    """300 digits of 16×16 pixels, ingested and validated."""
    digits = load_digits()
    images = np.kron(digits.images[:420] * 15, np.ones((2, 2))).astype(np.uint8)[..., None]
    labels = digits.target[:420].astype(np.int32)
    rows = np.arange(420, dtype=np.int32)
    cuts: dict[SplitName, slice] = {"train": slice(300), "validation": slice(300, 360), "test": slice(360, 420)}
    splits = {name: dataset.Split(images[cut], labels[cut], rows[cut]) for name, cut in cuts.items()}
    workspace.dataset.mkdir(parents=True)
    description = dataset.write(workspace.dataset, "digits", tuple("0123456789"), splits, ())
    workspace.validated.write_text(json.dumps({"dataset_digest": description.digest}))
    return workspace
