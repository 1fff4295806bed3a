"""A model predicts in a fresh process, one after the other, or is refused there with the reason."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from pipeline import provenance
from pipeline.errors import RegistryError
from pipeline.register.fresh import FreshProcess, Loaded
from pipeline.tracking import entry
from tests.compare.trainings import NAMES, PLAIN, SHOWN, SWAPPED, build


@pytest.fixture(scope="module")
def fresh() -> Iterator[FreshProcess]:
    with FreshProcess() as process:
        yield process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of an entry that the process looks at, and the images of `SHOWN`."""
    (tmp_path / "data").mkdir()
    images = np.zeros((8, 4), np.uint8)
    images[range(8), SHOWN] = 255
    np.save(tmp_path / "images.npy", images.reshape(8, 2, 2, 1))
    return tmp_path


def predict(fresh: FreshProcess, folder: Path, reads: Sequence[int], digest: str = "", classes: int = len(NAMES)) -> Loaded:
    """Predict with the model of `reads`, as if its weights had the digest `digest`."""
    model = build(reads, classes=3)
    model.save(folder / entry.MODEL)
    return fresh.predict(folder, "version 7", digest or provenance.weights_digest(model), folder / "images.npy", classes)


def test_models_predict_all_images_one_after_the_other_and_report_their_cost(fresh: FreshProcess, folder: Path) -> None:
    for reads in (PLAIN, SWAPPED):
        found = predict(fresh, folder, reads)
        expected = np.full((8, 3), 0.05, np.float32)
        expected[range(8), [reads[pixel] for pixel in SHOWN]] = 0.9
        assert found.probabilities.dtype == np.float32
        assert_allclose(found.probabilities, expected, atol=1e-6)
        assert 0 < found.milliseconds < 1000
        assert found.bytes == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_other_weights_or_classes_are_refused(fresh: FreshProcess, folder: Path) -> None:
    with pytest.raises(RegistryError, match=r"^version 7 does not load and predict in a fresh process: its weights are \w{12}"):
        predict(fresh, folder, PLAIN, digest="0" * 64)
    with pytest.raises(RegistryError, match=r"model\.keras predicts 3 values, the data set has 4 classes"):
        predict(fresh, folder, PLAIN, classes=4)


def test_a_process_that_dies_is_one_line_and_the_next_model_has_a_new_one(fresh: FreshProcess, folder: Path) -> None:
    fresh._process.kill()
    with pytest.raises(RegistryError, match=r"^version 7 does not .*: the process ended with exit code -9$"):
        predict(fresh, folder, PLAIN)
    assert predict(fresh, folder, PLAIN).probabilities.shape == (8, 3)


def test_a_model_file_that_is_none_is_one_line(fresh: FreshProcess, folder: Path) -> None:
    build(PLAIN).save(folder / entry.MODEL)
    (folder / entry.MODEL).write_bytes((folder / entry.MODEL).read_bytes()[:500])
    with pytest.raises(RegistryError, match=r"^version 7 .*: model.keras is no Keras model, or was cut short$"):
        fresh.predict(folder, "version 7", "", folder / "images.npy", 3)
