from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg  # noqa: F401  # has a BLAS of its own beside NumPy's; only what is loaded can be limited
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from pipeline import params
from pipeline.dataset import SPLITS, Split, SplitName
from pipeline.params import ValidateParams
from pipeline.workspace import Workspace
from tests import data_sets

Splits = dict[SplitName, Split]
ODD = (5, 1553)  # a 5 like a 9, and an 8 like a 1: no-label-issues correctly flags both
CLASSES = tuple(str(digit) for digit in range(10))


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread() -> Iterator[None]:
    """Let each test worker compute on one core: with all of them, BLAS threads wait for each other in busy loops."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="session")
def limits() -> ValidateParams:
    """The limits that the repository ships."""
    return params.load(Path(__file__).parents[1] / "params.yaml").validate


@pytest.fixture(scope="session")
def good_splits() -> Mapping[SplitName, Split]:
    """The digits less two odd ones, 8 × 8: of every class three fifths in train and one each in validation and test."""
    digits = load_digits()
    images = (digits.images * 255 / 16).round().astype(np.uint8)[..., None]
    rank = np.array([np.sum(digits.target[:index] == label) for index, label in enumerate(digits.target)])
    index = np.arange(len(rank), dtype=np.int32)
    plain = ~np.isin(index, ODD)
    rows = {"train": plain & (rank % 5 >= 2), "validation": plain & (rank % 5 == 0), "test": plain & (rank % 5 == 1)}
    return {name: Split(images[rows[name]], digits.target[rows[name]].astype(np.int32), index[rows[name]]) for name in SPLITS}


@pytest.fixture
def splits(good_splits: Mapping[SplitName, Split]) -> Splits:
    """A copy of the good splits, to inject defects into."""
    return {name: replace(split, images=split.images.copy(), labels=split.labels.copy()) for name, split in good_splits.items()}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, tmp_path)


@pytest.fixture
def ingested(workspace: Workspace) -> Callable[[Mapping[SplitName, Split]], Workspace]:
    """Puts splits where ingest would."""

    def put(splits: Mapping[SplitName, Split]) -> Workspace:
        workspace.dataset.mkdir(parents=True)
        data_sets.write(workspace.dataset, "digits", CLASSES, splits, ())
        return workspace

    return put
