"""Load a model from the registry's own files in a fresh process and let it predict: `python -m pipeline.register.smoke`.

The process is started early, because importing TensorFlow takes most of its time, and gets its task on stdin as a JSON object
once the model is known. It downloads the files, checks them against the manifest and loads them from there, so that what was
checked is what is loaded. Its result is an .npz file; or it ends with exit code 1 and the reason.
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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import environment, provenance
from pipeline.errors import RegistryError
from pipeline.tracking import manifest as manifests

TOLERANCE = 1e-3  # probability; float32 in another batch size differs by 1e-6, reduced-precision GPU kernels by 1e-4
IMAGES = 256  # that the fresh process predicts
_TIMEOUT = 600  # seconds; the model may have to be downloaded over a slow network


@dataclass(frozen=True)
class Loaded:
    """The cost of a model that loads."""

    milliseconds: float  # per image, of the second call with the same images
    bytes: int  # of all its files


class SmokeTest:
    """A fresh process that prepares to load a model. A context manager: the process never outlives the block."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        command = [sys.executable, "-m", "pipeline.register.smoke"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def __enter__(self) -> "SmokeTest":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def check(
        self, uri: str, manifest: str, weights_digest: str, images: NDArray[np.uint8], expected: NDArray[np.float32] | None
    ) -> Loaded:
        """Load the model at `uri` and compare its predictions.

        Args:
            uri: Of the model in MLflow's current tracking store, `models:/…`.
            manifest: What its files must be.
            weights_digest: What the loaded weights must have.
            images: uint8 `(n, h, w, c)`.
            expected: float32 `(n, classes)`, the probabilities that evaluate stored; None to accept any.

        Raises:
            RegistryError: its files differ from the manifest, it does not load, is another model, or predicts differently.
        """
        import mlflow

        folder = Path(self._folder.name)
        (folder / "model").mkdir()
        np.save(folder / "images.npy", images)
        task = {"store": mlflow.get_tracking_uri(), "uri": uri, "manifest": manifest, "weights_digest": weights_digest}
        self._run({**task, "folder": str(folder)})
        with np.load(folder / "result.npz", allow_pickle=False) as result:
            probabilities = result["probabilities"]
            loaded = Loaded(float(result["milliseconds"]), int(result["bytes"]))
        difference = float(np.abs(probabilities.sum(axis=1) - 1 if expected is None else probabilities - expected).max())
        if not difference <= TOLERANCE:
            raise RegistryError(
                f"the model {uri} predicts differently in a fresh process: a probability differs by {difference:.4f} from what "
                "evaluate stored; run `dvc repro -s -f evaluate` where it was trained"
            )
        return loaded

    def _run(self, task: Mapping[str, str]) -> None:
        uri = task["uri"]
        try:
            _, stderr = self._process.communicate(json.dumps(task), timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise RegistryError(f"the model {uri} did not load and predict within {_TIMEOUT} s in a fresh process") from None
        if self._process.returncode != 0:
            raise RegistryError(f"the model {uri} does not load and predict in a fresh process: {_reason(stderr)}")


def _reason(stderr: str) -> str:
    """Return the last line; of an exception with a message of many lines, as Keras' are, the first of them."""
    lines = stderr.strip().splitlines() or ["no reason given"]
    return next((line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception): ", line)), lines[-1])


def predict(task: Mapping[str, str]) -> None:
    """Load the model of `task`, and write its predictions and cost to result.npz.

    Raises:
        RegistryError: its files or its weights are not what the task says.
    """
    import mlflow.artifacts
    import mlflow.pyfunc

    folder = Path(task["folder"])
    files = Path(mlflow.artifacts.download_artifacts(task["uri"], dst_path=str(folder / "model")))
    manifests.check(files, task["manifest"], "it")
    model: Any = mlflow.pyfunc.load_model(str(files))
    digest = provenance.weights_digest(model.get_raw_model())
    if digest != task["weights_digest"]:
        raise RegistryError(f"its weights are {digest[:12]}, not {task['weights_digest'][:12]}")
    images = np.load(folder / "images.npy", allow_pickle=False)
    model.predict(images)  # the first call builds the graph
    start = time.perf_counter()
    probabilities = np.asarray(model.predict(images), np.float32)
    milliseconds = 1000 * (time.perf_counter() - start) / len(images)
    np.savez(folder / "result.npz", probabilities=probabilities, milliseconds=milliseconds, bytes=manifests.size(files))


def main() -> None:
    """Run in the fresh process: load the libraries, wait for the task, do it."""
    environment.prepare()
    environment.load_tensorflow()
    with environment.loading():
        import mlflow.pyfunc

    task = json.loads(sys.stdin.read())
    mlflow.set_tracking_uri(task["store"])
    mlflow.set_registry_uri(task["store"])  # MLFLOW_REGISTRY_URI may name another
    try:
        predict(task)
    except RegistryError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
