"""Provenance of a model: what determined it (code, data, params, environment), and the digest that identifies it.

`models/training.json` holds a TrainingRecord. It travels with the model, so that a run which the tracking store lost can be
published again from it. It never holds an MLflow id, which would mean nothing on another machine.
"""

import getpass
import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import ConfigDict, Field, with_config

from pipeline.errors import PipelineError
from pipeline.restore import way_back
from pipeline.workspace import read_json, write_text

MAX_DIFF_BYTES = 1_000_000
_DIFF = ("-c", "core.quotePath=off", "diff", "HEAD", "--no-color", "--no-ext-diff", "--src-prefix=a/", "--dst-prefix=b/")
_MAX_LINE = 10_000  # characters that are searched for secrets
_SECRETS = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "an AWS access key": r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    "an AWS secret key": r"(?i)aws_?secret_?(access_?)?key\W{1,8}[0-9A-Za-z/+]{40}\b",
    "a password in a URL": r"[a-z][\w+.-]*://[^\s/:@'\"]*:(?![${<*])[^\s/@'\"]+@",
    "a token": (
        r"\b(gh[pousr]_[0-9A-Za-z]{36}|github_pat_\w{22}|glpat-[\w-]{20}|xox[abeprs]-[\w-]{10}|hf_[0-9A-Za-z]{30}|"
        r"sk-[\w-]{20}|AIza[\w-]{35}|npm_[0-9A-Za-z]{36}|pypi-[\w-]{50}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.)"
    ),
    "a password or key": (
        r"(?i)\b\w*(password|passwd|secret|token|api_?key)\w*[\"']?\s*[:=]\s*[\"'](?![${<])[^\"'\s]{8,}[\"']"
    ),
}
_STRICT = with_config(ConfigDict(extra="forbid", allow_inf_nan=False, str_max_length=2 * MAX_DIFF_BYTES))
Count = Annotated[int, Field(ge=0, lt=2**53)]
Value = str | Annotated[int, Field(gt=-(2**63), lt=2**63)] | float | bool
_PACKAGES = ("tensorflow", "keras", "numpy", "mlflow", "dvc", "pandas", "scikit-learn", "great-expectations")


def model_name(dataset_name: str) -> str:
    """Return the registered model's name: one per data set, so that a digits model is never compared with a fashion one."""
    return f"{dataset_name}-classifier"


@_STRICT
@dataclass(frozen=True)
class GitState:
    """The code at the start of a training; all None or empty without git."""

    commit: Annotated[str, Field(pattern="^[0-9a-f]{6,64}$")] | None  # it becomes an argument of git
    branch: str | None
    dirty: bool
    diff: str  # `git diff HEAD`, at most MAX_DIFF_BYTES
    untracked: tuple[str, ...]  # files that the diff cannot show
    withheld: bool = False  # whether there were changes that `diff` leaves out, by train.record_diff


@_STRICT
@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """A training before its first epoch: everything that determines its result."""

    training_id: str
    dataset_name: str
    dataset_digest: str
    image_shape: tuple[Count, Count, Count]  # height, width, channels, in pixels
    class_names: tuple[str, ...]
    architecture: str
    parameters: Count  # trainable weights
    params: Mapping[str, Mapping[str, Value]]  # section → key → value, of every stage up to train
    threads: Annotated[int, Field(ge=1, le=4096)]  # CPU threads in use
    warm_start: Mapping[str, str]  # the version it started from: model_name, version, training_id, weights_digest; or empty
    started_ms: Count  # Unix time
    git: GitState
    environment: Mapping[str, str]
    model_summary: str
    params_file: str = ""  # params.yaml as it was then; it may change until an interrupted training resumes

    @property
    def model_name(self) -> str:
        """The registered model's name."""
        return model_name(self.dataset_name)


@_STRICT
@dataclass(frozen=True, kw_only=True)
class TrainingRecord(TrainingPlan):
    """A finished training: the content of models/training.json."""

    weights_digest: str
    finished_ms: Count  # Unix time
    fit_seconds: Annotated[float, Field(ge=0)]
    temperature: Annotated[float, Field(gt=0)] = 1.0  # the logits were divided by it


def write(path: Path, record: TrainingPlan) -> None:
    """Write a plan or a record as JSON."""
    write_text(path, json.dumps(asdict(record), indent=2) + "\n")


_Plan = TypeVar("_Plan", bound=TrainingPlan)


def read_training(path: Path) -> TrainingRecord:
    """Return the record in `path`; errors as of `read`."""
    return read(TrainingRecord, path)


def read(kind: type[_Plan], path: Path) -> _Plan:
    """Return the plan or record in `path`, which anybody may have written: types, ranges and sizes are checked.

    Raises:
        PipelineError: the file is not what `write` makes of one.
    """
    try:
        return read_json(kind, path)
    except (OSError, ValueError) as error:
        raise PipelineError(f"{path} is not what train writes ({error}): {way_back(path, 'train')}") from None


def weights_digest(model: Any) -> str:
    """Return the SHA-256 over name, dtype, shape and bytes of each weight of a `keras.Model`, in order.

    A file's digest would not do: a `.keras` file contains its date. Nor would layer names: Keras numbers unnamed layers by
    what the process built before. A weight's own name (kernel, gamma …) is stable.
    """
    digest = hashlib.sha256()
    for weight in model.weights:
        array = weight.numpy()
        digest.update(f"{weight.name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def git_state(root: Path, record_diff: bool = True) -> GitState:
    """Return commit, branch and uncommitted changes of the checkout at `root`; whether there are any, without `record_diff`."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return GitState(None, None, False, "", ())
    ours = (
        "--",
        ".",
        ":(exclude)dvc.lock",
        ":(exclude)registry",
        ":(exclude)registry.dvc",
    )  # the pipeline writes them; they are no code
    diff = _git(root, *_DIFF, *ours) or ""
    if len(diff.encode()) > MAX_DIFF_BYTES:
        diff = diff.encode()[:MAX_DIFF_BYTES].decode(errors="ignore") + "\n… cut here: commit before training\n"
    untracked = (_git(root, "ls-files", "--others", "--exclude-standard", *ours) or "").splitlines()
    branch = _git(root, "rev-parse", "--abbrev-ref", "HEAD")
    state = GitState(commit.strip(), (branch or "").strip() or None, bool(diff or untracked), diff, tuple(untracked))
    return state if record_diff else without_diff(state)


def without_diff(git: GitState) -> GitState:
    """Return `git` without the text of the changes."""
    return replace(git, diff="", withheld=git.withheld or bool(git.diff))


@dataclass(frozen=True)
class Change:
    """A line of a diff that adds or removes something."""

    file: str
    number: int  # of the line in the new file; in the old one where it was removed
    text: str


def changes(diff: str) -> Iterator[Change]:
    """Yield the changed lines of a diff of git's."""
    old = new = old_left = new_left = 0
    file = ""
    for line in diff.split("\n"):
        if old_left <= 0 and new_left <= 0:
            if found := re.match(r"(?:---|\+\+\+) \"?[ab]/(.*?)\"?\t?$", line):
                file = found.group(1)
            elif found := re.match(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", line):
                old, new = int(found.group(1)), int(found.group(3))
                old_left, new_left = int(found.group(2) or 1), int(found.group(4) or 1)
        elif line.startswith(("+", "-", " ")):
            if line[0] != " ":
                yield Change(file, new if line[0] == "+" else old, line[1:])
            old, old_left = old + (line[0] != "+"), old_left - (line[0] != "+")
            new, new_left = new + (line[0] != "-"), new_left - (line[0] != "-")


def secrets(diff: str) -> Iterator[tuple[str, Change]]:
    """Yield the changed lines that look like a well-known kind of secret, and which; a home-made password is not found."""
    for change in changes(diff):
        kind = next((kind for kind, pattern in _SECRETS.items() if re.search(pattern, change.text[:_MAX_LINE])), None)
        if kind:
            yield kind, change


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, encoding="utf-8", errors="replace", check=True
        )
    except (OSError, subprocess.CalledProcessError):  # no git, no repository, no commit yet, or somebody else's checkout
        return None
    return done.stdout


def user() -> str:
    """Return the user's name; a container may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def environment() -> Mapping[str, str]:
    """Return the versions of Python, the operating system, the processor and the libraries that shape the result."""
    from importlib.metadata import version

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        **{package: version(package) for package in _PACKAGES},
    }


def _processor() -> str:
    """Return the processor's name; `platform.processor()` is empty on most Linux machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
