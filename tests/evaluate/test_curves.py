from pathlib import Path

import pytest
from PIL import Image

from pipeline.errors import EvaluationError
from pipeline.evaluate import curves

HEADER = "epoch,train/loss,validation/loss,train/accuracy,validation/accuracy\n"


def test_the_columns_are_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text(HEADER + "1,1.5,2,0.5,0.4\n2,0.5,1,0.7,0.6\n")
    read = curves.read(tmp_path / "history.csv")
    assert read["train/loss"] == [1.5, 0.5]
    assert read["validation/accuracy"] == [0.4, 0.6]


@pytest.mark.parametrize("content", ["epoch,train/loss\n1,2\n", HEADER + "1,many,2,3,4\n"])
def test_a_foreign_history_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(EvaluationError, match=r"history\.csv is not what train writes .*dvc repro -s -f train"):
        curves.read(tmp_path / "history.csv")


def test_equal_curves_are_equal_sharp_pictures(tmp_path: Path) -> None:
    values: curves.Curves = {
        name: [1.0, 0.5] for name in ("train/loss", "validation/loss", "train/accuracy", "validation/accuracy")
    }
    for name in ("one.png", "two.png"):
        curves.draw(values, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.width >= 1600
