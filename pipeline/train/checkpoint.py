"""The state of a training after each epoch, so that one that was stopped goes on and ends with the same weights, bit for bit.

`.checkpoints/<key>/` lies outside the outputs, which DVC deletes before a stage runs. The key is a digest of all that
determines the result, so a checkpoint can never be taken for another training's. None of Keras' own savers keeps everything
(they lose dropout's seed or the optimizer), hence every variable by itself in an npz. A finished training stays until the next
one with another key: a kill between the stage's end and `dvc.lock` then costs seconds.
"""

import hashlib
import json
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.params import TrainParams
from pipeline.workspace import replacing

Row = Mapping[str, str]
_KEPT = 2  # the last, and the one before in case the last is damaged
_ROWS = "rows"
_CODE = (Path(__file__).parent, Path(__file__).parents[1] / "dataset.py")


def key(params: TrainParams, dataset_digest: str, threads: int, first_weights: str = "") -> str:
    """16 hex digits over all that determines the weights: params, data, threads, this room's code, the libraries.

    `first_weights` is the digest of what a warm start begins with: an alias may point elsewhere tomorrow.
    """
    files = sorted(path for place in _CODE for path in (place.rglob("*.py") if place.is_dir() else [place]))
    code = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    libraries = [version(name) for name in ("tensorflow", "keras", "numpy")]
    facts = json.dumps([params.settings, dataset_digest, threads, first_weights, code, libraries])
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


@contextmanager
def held(checkpoints: Path, name: str) -> Iterator[Path]:
    """The folder of the training `name`, for this process alone; the folders of other trainings are deleted.

    Waits where another process trains the same; the system frees the lock when a process dies.
    """
    from filelock import FileLock, Timeout

    folder = checkpoints / name
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock_of(folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("another process trains the same: waiting for it …", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        _prune(checkpoints, keep=folder)
        folder.mkdir(exist_ok=True)  # whoever held it may have been pruned meanwhile
        yield folder
    finally:
        lock.release()


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _prune(checkpoints: Path, keep: Path) -> None:
    """Deletes the other trainings' folders, except of those that are going on."""
    from filelock import FileLock, Timeout

    for folder in checkpoints.iterdir():
        if folder.is_dir() and folder != keep:
            with suppress(Timeout), FileLock(_lock_of(folder), timeout=0):
                shutil.rmtree(folder, ignore_errors=True)


def save(folder: Path, state: Sequence[Any], rows: Sequence[Row]) -> None:
    """Writes the state after `len(rows)` epochs, whole or not at all.

    Args:
        folder: As `held` gives it.
        state: Every variable of the training (weights, optimizer, average, seeds), always in the same order.
        rows: The history up to here, a row per epoch.
    """
    history = np.frombuffer(json.dumps(list(rows)).encode(), np.uint8)
    with replacing(_path(folder, len(rows))) as aside:
        np.savez(aside, allow_pickle=False, **{_ROWS: history}, **_values(state))
    for path in _all(folder)[_KEPT:]:
        path.unlink()


def restore(folder: Path, state: Sequence[Any]) -> list[Row]:
    """Brings `state` to that of the last good checkpoint in `folder`; leaves it as it is where there is none.

    Returns:
        The history up to there.
    """
    for path in _all(folder):
        try:
            with np.load(path, allow_pickle=False) as content:
                rows: list[Row] = json.loads(content[_ROWS].tobytes())
                arrays = [_fitting(content[name], known) for name, known in _values(state).items()]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())[:120]
            print(f"warning: {path.name} is damaged ({reason}): going back to the one before", file=sys.stderr, flush=True)
            path.unlink()
            continue
        for variable, array in zip(state, arrays, strict=True):
            variable.assign(array)
        return rows
    return []


def _values(state: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """Every variable by its place: paths may repeat, and those of seed generators count what was built before."""
    return {f"{place:04d}": variable.numpy() for place, variable in enumerate(state)}


def _fitting(array: NDArray[Any], known: NDArray[Any]) -> NDArray[Any]:
    if (array.dtype, array.shape) != (known.dtype, known.shape):
        raise ValueError(f"{array.dtype} {array.shape} where the model has {known.dtype} {known.shape}")
    return array


def _path(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:06d}.npz"


def _all(folder: Path) -> list[Path]:
    """The checkpoints, latest first."""
    return sorted((path for path in folder.iterdir() if re.fullmatch(r"epoch-\d+\.npz", path.name)), reverse=True)
