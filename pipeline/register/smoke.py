"""Loads a logged model in a fresh process and lets it answer, as its users will: `python -m pipeline.register.smoke`.

The process is started early, because importing TensorFlow is most of its time, and gets its question on stdin once the model
is known: a JSON object with `uri`, `images` (a .npy file), `weights_digest`. It answers with the path of a .npy file of
probabilities, or ends with exit code 1 and the reason.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import environment, provenance
from pipeline.errors import RegistryError

TOLERANCE = 1e-3  # probability; float32 in another batch size differs by 1e-6, reduced-precision GPU kernels by 1e-4
PICTURES = 256
_TIMEOUT = 600  # seconds; a slow network may have to bring the model


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

    def check(self, uri: str, weights_digest: str, images: NDArray[np.uint8], expected: NDArray[np.float32]) -> None:
        """Loads the model at `uri` and compares its answers.

        Args:
            uri: Of the model, as MLflow's `load_model` takes it.
            weights_digest: What the loaded weights must have.
            images: uint8 `(n, h, w, c)`.
            expected: float32 `(n, classes)`, the probabilities that evaluate stored for them.

        Raises:
            RegistryError: it does not load, is another model, or answers otherwise.
        """
        images_path, answer_path = Path(self._folder.name) / "images.npy", Path(self._folder.name) / "answer.npy"
        np.save(images_path, images)
        question = {"uri": uri, "weights_digest": weights_digest, "images": str(images_path), "answer": str(answer_path)}
        try:
            _, stderr = self._process.communicate(json.dumps(question), timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise RegistryError(f"the model {uri} did not load and answer within {_TIMEOUT} s in a fresh process") from None
        if self._process.returncode != 0:
            reason = (stderr.strip().splitlines() or ["no reason given"])[-1]
            raise RegistryError(f"the model {uri} does not load and answer in a fresh process: {reason}")
        difference = float(np.abs(np.load(answer_path, allow_pickle=False) - expected).max())
        if not difference <= TOLERANCE:
            raise RegistryError(
                f"the model {uri} answers otherwise in a fresh process: a probability differs by {difference:.4f} from "
                "reports/predictions.parquet: run `dvc repro -f evaluate`"
            )


def answer() -> None:
    """The fresh process: imports, waits for the question, loads, predicts."""
    environment.prepare()
    environment.load_tensorflow()
    with environment.loading():
        import mlflow.pyfunc

    question = json.loads(sys.stdin.read())
    model: Any = mlflow.pyfunc.load_model(question["uri"])
    digest = provenance.weights_digest(model.get_raw_model())
    if digest != question["weights_digest"]:
        sys.exit(f"its weights are {digest[:12]}, not {question['weights_digest'][:12]}")
    np.save(question["answer"], np.asarray(model.predict(np.load(question["images"], allow_pickle=False)), np.float32))


if __name__ == "__main__":
    answer()
