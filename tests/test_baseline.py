"""baseline.parquet: what is written is read, and what is not of this test split is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest
from pyarrow import parquet

from pipeline import baseline, dataset
from pipeline.baseline import Baseline
from pipeline.dataset import Dataset, Split
from pipeline.errors import EvaluationError
from tests import data_sets

LABELS = np.array([0, 1, 1, 2], np.int32)
PREDICTED = np.array([0, 1, 2, 2], np.int32)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    part = Split(np.zeros((4, 2, 2, 1), np.uint8), LABELS, np.array([7, 3, 5, 9], np.int32))
    (tmp_path / "dataset").mkdir()
    data_sets.write(tmp_path / "dataset", "toys", ("a", "b", "c"), dict.fromkeys(dataset.SPLITS, part), ())
    return dataset.read(tmp_path / "dataset")


@pytest.fixture
def path(tmp_path: Path, data: Dataset) -> Path:
    (tmp_path / "dvc.yaml").touch()
    baseline.write(Baseline(name="ridge", labels=LABELS, predicted=PREDICTED), data, tmp_path / "baseline.parquet")
    return tmp_path / "baseline.parquet"


def test_what_is_written_is_read(path: Path, data: Dataset) -> None:
    found = baseline.read(path, data, "baseline.parquet")
    assert (found.name, found.accuracy, found.predicted.tolist()) == ("ridge", 0.75, [0, 1, 2, 2])
    assert pd.read_parquet(path).to_dict("list") == {
        "source_index": [7, 3, 5, 9],
        "label": [0, 1, 1, 2],
        "predicted": [0, 1, 2, 2],
    }


def test_equal_baselines_are_equal_bytes(path: Path, data: Dataset) -> None:
    before = path.read_bytes()
    baseline.write(Baseline(name="ridge", labels=LABELS, predicted=PREDICTED), data, path)
    assert path.read_bytes() == before


def column(name: str, *values: object) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        table = parquet.read_table(path)
        place = table.column_names.index(name)
        parquet.write_table(table.set_column(place, name, pyarrow.array(values)), path)

    return damage


def without(name: str) -> Callable[[Path], None]:
    return lambda path: parquet.write_table(parquet.read_table(path).drop_columns([name]), path)


def rows(count: int) -> Callable[[Path], None]:
    return lambda path: parquet.write_table(parquet.read_table(path).slice(0, count), path)


def bare(path: Path) -> None:
    parquet.write_table(parquet.read_table(path).replace_schema_metadata(None), path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"no parquet"), "is not what validate writes"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "is not what validate writes"),
        (without("predicted"), "is not what validate writes"),
        (bare, "is not what validate writes"),
        (column("predicted", 0, 1, 2, 3), r"is not what validate writes \(a class that does not exist\)"),
        (column("predicted", 0, 1, 2, -1), r"is not what validate writes \(a class that does not exist\)"),
        (column("predicted", 0, 1, 2, None), "is not what validate writes"),
        (column("predicted", 0.0, 1.0, 2.0, 0.5), "is not what validate writes"),
        (column("predicted", "a", "b", "c", "c"), "is not what validate writes"),
        (column("source_index", 7, 3, 9, 5), "belongs to a different test split"),
        (column("label", 0, 1, 2, 2), "belongs to a different test split"),
        (rows(3), "belongs to a different test split"),
        (rows(0), "belongs to a different test split"),
    ],
)
def test_a_file_that_validate_did_not_write_is_refused_in_one_line(
    path: Path, data: Dataset, damage: Callable[[Path], None], message: str
) -> None:
    damage(path)
    with pytest.raises(
        EvaluationError, match=f"^reports/baseline.parquet {message}.*: run `dvc repro -s -f validate`$"
    ) as error:
        baseline.read(path, data, "reports/baseline.parquet")
    assert "\n" not in str(error.value)


def test_other_data_with_equal_rows_are_other_data(path: Path, data: Dataset) -> None:
    other = replace(data, description=replace(data.description, digest="f" * 64))
    with pytest.raises(EvaluationError, match="belongs to a different test split"):
        baseline.read(path, other, "baseline.parquet")
