"""Loads a model from the registry's own copy in a fresh process and lets it answer: `python -m pipeline.register.smoke`.

The process is started early, because importing TensorFlow is most of its time, and gets its question on stdin once the model
is known, as a JSON object. It brings the files into a folder of its own, checks them against the manifest and loads them from
there, so that what was checked is what is loaded. Its answer is an .npz file; or it ends with exit code 1 and the reason.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import environment, provenance
from pipeline.errors import RegistryError
from pipeline.tracking import manifest as manifests

TOLERANCE = 1e-3  # probability; float32 in another batch size differs by 1e-6, reduced-precision GPU kernels by 1e-4
PICTURES = 256
_TIMEOUT = 600  # seconds; a slow network may have to bring the model


@dataclass(frozen=True)
class Loaded:
    """What a model that loads costs whoever uses it."""

    milliseconds: float  # per picture, of the second call with the same pictures
    bytes: int  # of all its files


class SmokeTest:
    """A fresh process that is getting ready to load a model. A context manager: it never outlives the block."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.register.smoke"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "SmokeTest":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def check(
        self, uri: str, manifest: str, weights_digest: str, images: NDArray[np.uint8], expected: NDArray[np.float32] | None
    ) -> Loaded:
        """Loads the model at `uri` and compares its answers.

        Args:
            uri: Of the model in MLflow's current tracking store, `models:/…`.
            manifest: What its files must be.
            weights_digest: What the loaded weights must have.
            images: uint8 `(n, h, w, c)`.
            expected: float32 `(n, classes)`, the probabilities that evaluate stored for them; None where any will do.

        Raises:
            RegistryError: its files are not those of the manifest, it does not load, is another model, or answers otherwise.
        """
        import mlflow

        folder = Path(self._folder.name)
        (folder / "model").mkdir()
        np.save(folder / "images.npy", images)
        self._ask(
            {
                "store": mlflow.get_tracking_uri(),
                "uri": uri,
                "manifest": manifest,
                "weights_digest": weights_digest,
                "folder": str(folder),
            }
        )
        with np.load(folder / "answer.npz", allow_pickle=False) as said:
            difference = _difference(said["probabilities"], expected)
            loaded = Loaded(float(said["milliseconds"]), int(said["bytes"]))
        if not difference <= TOLERANCE:
            raise RegistryError(
                f"the model {uri} answers otherwise in a fresh process: a probability differs by {difference:.4f} from what "
                "evaluate stored: run `dvc repro -s -f evaluate` where it was trained"
            )
        return loaded

    def _ask(self, question: Mapping[str, str]) -> None:
        uri = question["uri"]
        try:
            _, stderr = self._process.communicate(json.dumps(question), timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise RegistryError(f"the model {uri} did not load and answer within {_TIMEOUT} s in a fresh process") from None
        if self._process.returncode != 0:
            raise RegistryError(f"the model {uri} does not load and answer in a fresh process: {_reason(stderr)}")


def _difference(said: NDArray[np.float32], expected: NDArray[np.float32] | None) -> float:
    """The largest difference of a probability; where none is expected, of the sum of an answer from 1."""
    return float(np.abs(said.sum(axis=1) - 1 if expected is None else said - expected).max())


def _reason(stderr: str) -> str:
    """The last line; of an exception with a message of many lines, as Keras' are, the first of them."""
    lines = stderr.strip().splitlines() or ["no reason given"]
    return next((line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception): ", line)), lines[-1])


def answer() -> None:
    """The fresh process: imports, waits for the question, loads, predicts."""
    environment.prepare()
    environment.load_tensorflow()
    with environment.loading():
        import mlflow.artifacts
        import mlflow.pyfunc

    question = json.loads(sys.stdin.read())
    mlflow.set_tracking_uri(question["store"])
    folder = Path(question["folder"])
    copy = mlflow.artifacts.download_artifacts(question["uri"], dst_path=str(folder / "model"))
    try:
        manifests.check(Path(copy), question["manifest"], "it")
    except RegistryError as error:
        sys.exit(str(error))
    model: Any = mlflow.pyfunc.load_model(copy)
    digest = provenance.weights_digest(model.get_raw_model())
    if digest != question["weights_digest"]:
        sys.exit(f"its weights are {digest[:12]}, not {question['weights_digest'][:12]}")
    _answer(model, Path(copy), folder)


def _answer(model: Any, files: Path, folder: Path) -> None:
    images = np.load(folder / "images.npy", allow_pickle=False)
    model.predict(images)  # the first call builds the graph
    start = time.perf_counter()
    probabilities = np.asarray(model.predict(images), np.float32)
    milliseconds = 1000 * (time.perf_counter() - start) / len(images)
    np.savez(folder / "answer.npz", probabilities=probabilities, milliseconds=milliseconds, bytes=manifests.size(files))


if __name__ == "__main__":
    answer()
