"""Predict with registered models in a fresh process: `python -m pipeline.register.fresh`.

What a gate judges by are these predictions of the registry's own files, not what an earlier stage wrote down. The process is
started early, because importing TensorFlow takes most of its time. It gets a task per line of stdin, a JSON object, and answers
each with a line on stdout; the predictions are an .npy file. It needs no MLflow: the caller fetches the files and checks them.
A model that crashes it does not harm the caller, and the next one gets a new process.
"""

import json
import os
import re
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from pipeline import environment, model_file, provenance
from pipeline.dataset import Description
from pipeline.errors import PipelineError, RegistryError
from pipeline.tracking import entry, manifest

Meanwhile = Callable[[], object] | None
_BATCH = 256  # images
_GRACE, _TIMEOUT, _PER_IMAGE = 30, 600, 0.1  # seconds; the largest network takes 0.036 s per image on 2 cores


@dataclass(frozen=True)
class Loaded:
    """What a model that loads predicts, and what it costs."""

    milliseconds: float  # per image, in batches of 256, after the first
    bytes: int  # of all its files
    probabilities: NDArray[np.float32] = field(repr=False)  # (n, classes), each row sums to one


class FreshProcess:
    """A fresh process that loads one model after the other. A context manager: the process never outlives the block."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._notes = Path(self._folder.name) / "stderr"
        self._process = self._start()

    def __enter__(self) -> "FreshProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._folder.cleanup()

    def _start(self) -> "subprocess.Popen[str]":
        with self._notes.open("w", encoding="utf-8") as notes:
            command = [sys.executable, "-m", "pipeline.register.fresh"]
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=notes, text=True)

    def _stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    def predict(
        self,
        folder: Path,
        name: str,
        weights_digest: str,
        images: Path,
        classes: int,
        meanwhile: Meanwhile = None,
    ) -> Loaded:
        """Load the model in the entry `folder`, as `tracking.model_folder` gives it, and predict.

        Args:
            folder: The files, checked.
            name: Of the model, for messages.
            weights_digest: What the loaded weights must have.
            images: An .npy file, uint8 `(n, h, w, c)`.
            classes: That the model must know.
            meanwhile: What else there is to do, while the process loads and predicts.

        Raises:
            RegistryError: it does not load, is another model, or predicts no probabilities for these images.
        """
        result = Path(self._folder.name) / "probabilities.npy"
        task = {"model": str(folder / entry.MODEL), "weights_digest": weights_digest, "images": str(images)}
        count = len(np.load(images, mmap_mode="r", allow_pickle=False))
        try:
            self._send({**task, "classes": str(classes), "result": str(result)})
            if meanwhile:
                meanwhile()
            answer = self._answer(_TIMEOUT + _PER_IMAGE * count)
            if "error" in answer:
                raise RegistryError(str(answer["error"]))
            probabilities = np.load(result, allow_pickle=False)
            if probabilities.shape != (count, classes) or probabilities.dtype != np.float32:
                raise RegistryError(f"it predicts {probabilities.dtype} {probabilities.shape}")
            model_file.check_probabilities(probabilities)
            return Loaded(float(answer["milliseconds"]), manifest.size(folder), probabilities)
        except (PipelineError, OSError, ValueError, TypeError, KeyError) as error:
            raise RegistryError(f"{name} does not load and predict in a fresh process: {error}") from None

    def _send(self, task: Mapping[str, str]) -> None:
        with suppress(BrokenPipeError):  # it has ended: `_answer` says why
            print(json.dumps(task), file=self._process.stdin, flush=True)

    def _answer(self, seconds: float) -> Mapping[str, Any]:
        """Return the answer to the task; where none comes, replace the process, for the next."""
        stdout, problem = cast("IO[str]", self._process.stdout), f"no answer within {seconds:,.0f} s"
        if select.select([stdout], [], [], seconds)[0]:
            if line := stdout.readline():
                answer: Mapping[str, Any] = json.loads(line)
                return answer
            self._process.wait(_GRACE)  # it closed its end, so it is ending; the exit code tells how
            problem = _reason(self._notes.read_text(encoding="utf-8", errors="replace"), self._process.returncode)
        self._stop()
        self._process = self._start()
        raise RegistryError(problem)


def _reason(stderr: str, code: int | None) -> str:
    """Return the last line; of an exception with a message of many lines, as Keras' are, the first of them."""
    lines = stderr.strip().splitlines() or [f"the process ended with exit code {code}"]
    return next((line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception): ", line)), lines[-1])[:300]


def answer(task: Mapping[str, str]) -> Mapping[str, Any]:
    """Load the model of `task` and write its predictions; return what it costs, or why it does not do so."""
    try:
        images = np.load(task["images"], mmap_mode="r", allow_pickle=False)
        taken = Description("the data set", images.shape[1:], ("",) * int(task["classes"]), {}, (), "")
        model = model_file.load(Path(task["model"]), taken)
        if (digest := provenance.weights_digest(model)) != task["weights_digest"]:
            return {"error": f"its weights are {digest[:12]}, not {task['weights_digest'][:12]}"}
        probabilities, per_second = model_file.predict(model, images, _BATCH)
        np.save(task["result"], probabilities, allow_pickle=False)
        return {"milliseconds": 1000 / per_second}
    except PipelineError as error:
        return {"error": str(error)}


def main() -> None:
    """Run in the fresh process: load the libraries, wait for tasks, do them."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no answer
    environment.prepare()
    environment.load_tensorflow()
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
