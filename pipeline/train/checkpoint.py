"""The state of a training after its epochs, so that it resumes after a kill and ends with the same weights, bit for bit.

`.checkpoints/<key>/` lies outside the outputs, which DVC deletes before a stage runs. The key is a digest of all that
determines the result, so a checkpoint can never be taken for another training's. None of Keras' own savers keeps everything
(they lose dropout's seed or the optimizer), hence every variable by itself in an npz. A finished training stays until the next
one with another key: a kill between the stage's end and `dvc.lock` then costs seconds. Of unfinished ones, the latest
`train.keep_checkpoints` stay: to try something else meanwhile costs nothing.
"""

import ast
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

from pipeline import environment
from pipeline.params import TrainParams
from pipeline.train.recipe import settings_of
from pipeline.workspace import replacing

Row = Mapping[str, str]
_KEPT = 2  # the last, and the one before in case the last is damaged
_ROWS = "rows"
_FINISHED = "finished"  # an empty file
_CODE = (Path(__file__).parent, Path(__file__).parents[1] / "dataset.py")


def key(params: TrainParams, dataset_digest: str, threads: int, first_weights: str = "") -> str:
    """Return 16 hex digits over all that determines the weights: params, data, threads, this package's code, the libraries.

    `first_weights` is the digest of what a warm start begins with: an alias may point elsewhere tomorrow.
    """
    files = sorted(path for place in _CODE for path in (place.rglob("*.py") if place.is_dir() else [place]))
    code = [hashlib.sha256(instructions(path.read_bytes()).encode()).hexdigest() for path in files]
    libraries = [version(name) for name in ("tensorflow", "keras", "numpy")]
    facts = json.dumps([settings_of(params), dataset_digest, threads, first_weights, code, libraries])
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def instructions(code: bytes) -> str:
    """Return what Python code does: its syntax tree, without comments, docstrings and layout, which change no weights."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [each for each in body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))]  # type: ignore[attr-defined]
    return ast.dump(tree)


@contextmanager
def locked(checkpoints: Path, name: str, keep: int) -> Iterator[Path]:
    """Yield the folder of the training `name`, for this process alone; of the others, only the latest `keep` unfinished stay.

    Waits while another process runs the same training; the system frees the lock when a process dies.
    """
    from filelock import FileLock, Timeout

    folder = checkpoints / name
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("another process runs the same training: waiting for it …", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        others = [path for path in checkpoints.iterdir() if path.is_dir() and path != folder]
        unfinished = [path for path in others if not (path / _FINISHED).exists()]
        unfinished.sort(key=_saved, reverse=True)
        for other in {*others}.difference(unfinished[:keep]):
            with suppress(Timeout), FileLock(f"{other}.lock", timeout=0):  # one that is in progress stays
                shutil.rmtree(other, ignore_errors=True)
        folder.mkdir(exist_ok=True)  # the process that held the lock may have deleted it
        yield folder
    finally:
        lock.release()


def finish(folder: Path) -> None:
    """Note that the training in `folder` has ended: what it left may go when another one starts."""
    (folder / _FINISHED).touch()


def save(folder: Path, state: Sequence[Any], rows: Sequence[Row]) -> None:
    """Write the state after `len(rows)` epochs, whole or not at all; `rows` is the history so far.

    `state` is every variable of the training (weights, optimizer, average, seeds), always in the same order.
    """
    history = np.frombuffer(json.dumps(list(rows)).encode(), np.uint8)
    with replacing(folder / f"epoch-{len(rows):06d}.npz") as aside:
        np.savez(aside, allow_pickle=False, **{_ROWS: history}, **_values(state))
    for path in _all(folder)[_KEPT:]:
        path.unlink()


def restore(folder: Path, state: Sequence[Any]) -> list[Row]:
    """Set `state` to that of the last intact checkpoint in `folder`, if there is one, and return the history up to it."""
    for path in _all(folder):
        try:
            with np.load(path, allow_pickle=False) as content:
                rows: list[Row] = json.loads(content[_ROWS].tobytes())
                arrays = [_fitting(content[name], known) for name, known in _values(state).items()]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            reason = environment.message(error, 120)
            print(f"warning: {path.name} is damaged ({reason}): using the one before", file=sys.stderr, flush=True)
            path.unlink()
            continue
        for variable, array in zip(state, arrays, strict=True):
            variable.assign(array)
        return rows
    return []


def _values(state: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """Return every variable by its position: paths may repeat, and those of seed generators count what was built before."""
    return {f"{place:04d}": variable.numpy() for place, variable in enumerate(state)}


def _fitting(array: NDArray[Any], known: NDArray[Any]) -> NDArray[Any]:
    if (array.dtype, array.shape) != (known.dtype, known.shape):
        raise ValueError(f"{array.dtype} {array.shape} where the model has {known.dtype} {known.shape}")
    return array


def _all(folder: Path) -> list[Path]:
    """Return the checkpoints, latest first."""
    return sorted((path for path in folder.iterdir() if re.fullmatch(r"epoch-\d+\.npz", path.name)), reverse=True)


def _saved(folder: Path) -> tuple[bool, float]:
    """Return whether a training has a checkpoint, and the time of its last change."""
    with suppress(FileNotFoundError):  # another process may delete it meanwhile
        return bool(_all(folder)), folder.stat().st_mtime
    return False, 0.0


def save_model(model: Any, path: Path) -> None:
    """Write a `keras.Model` to `path` (`.keras`) without dates or addresses, so that equal models are equal files."""
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(members["metadata.json"]) | {"date_saved": "1980-01-01@00:00:00"}
    members["metadata.json"] = json.dumps(metadata, sort_keys=True).encode()
    members["config.json"] = _renumbered(members["config.json"])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)  # the earliest date a zip file can hold


def _renumbered(config: bytes) -> bytes:
    """Replace the memory addresses by which Keras names shared objects with their order of appearance."""
    seen: dict[bytes, int] = {}

    def number(match: re.Match[bytes]) -> bytes:
        return match[1] + str(seen.setdefault(match[2], len(seen))).encode()

    return re.sub(rb'("shared_object_id": )(\d+)', number, config)
