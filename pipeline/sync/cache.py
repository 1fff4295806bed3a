"""Trainings in DVC's cache: those of its run cache, and those that dvc.lock names in any commit or experiment.

What these files say is only used to find copies by their MD5 in the cache, and each copy is checked against it.
"""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.tracking import warn
from pipeline.workspace import Workspace

_TRAINING, _DATA = "models/training.json", "data/dataset"
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
_PATH = re.compile(r"(models|reports|data)/[\w.-]+")
_MOST = 5_000_000  # bytes of a dvc.lock


@dataclass(frozen=True)
class _Stage:
    """One run of a stage, as DVC remembers it: path → MD5."""

    deps: dict[str, str] = field(default_factory=dict)
    outs: dict[str, str] = field(default_factory=dict)


def find(workspace: Workspace, scratch: Path) -> Iterator[Workspace]:
    """Yield each training as a checkout below `scratch`, whose outputs are links into the cache; the data set is left out."""
    cache = _folder(workspace)
    if cache is None:
        return
    stages = [stage for text in (*_run_cache(cache), *_commits(workspace.root)) for stage in _parse(text)]
    trainings = {stage.outs[_TRAINING]: stage for stage in stages if _TRAINING in stage.outs}
    for md5, training in trainings.items():
        there = Workspace(scratch / md5[:32], scratch / md5[:32])
        for path, digest in _outputs(training, stages).items():
            _link(cache, path, digest, there.root)
        if there.training.exists() and there.history.exists():
            yield there


def _outputs(training: _Stage, stages: Sequence[_Stage]) -> Mapping[str, str]:
    """Return the outputs of the training and of the stages before and after it; of two evaluations, the later counts."""
    found: dict[str, str] = {}
    data, record = training.deps.get(_DATA), training.outs[_TRAINING]
    for each in stages:
        of_data = data and data in (each.deps.get(_DATA), each.outs.get(_DATA)) and _TRAINING not in {*each.deps, *each.outs}
        if of_data or each.deps.get(_TRAINING) == record:
            found |= each.outs
    return found | training.outs


def _link(cache: Path, path: str, digest: str, root: Path) -> None:
    if digest.endswith(".dir"):
        if path == _DATA and (listed := _copy(cache, digest)):
            files = {file["relpath"]: file["md5"] for file in json.loads(listed.read_bytes())}
            if _MD5.fullmatch(files.get("dataset.json", "")):
                _link(cache, f"{_DATA}/dataset.json", files["dataset.json"], root)
    elif copy := _copy(cache, digest):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(copy)


def _copy(cache: Path, digest: str) -> Path | None:
    """Return the file in the cache with this MD5; None where there is none, or it is damaged."""
    path = cache / "files/md5" / digest[:2] / digest[2:]
    if not path.is_file():
        return None
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != digest[:32]:
        warn(f"{path} is damaged: it is left out")
        return None
    return path


def _folder(workspace: Workspace) -> Path | None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "cache", "dir"], cwd=workspace.root, capture_output=True, text=True, check=False
    )
    return workspace.root / done.stdout.strip() if done.returncode == 0 and done.stdout.strip() else None


def _run_cache(cache: Path) -> Iterator[str]:
    """Yield what the run cache holds, oldest first."""
    files = sorted((path for path in cache.glob("runs/*/*/*") if path.is_file()), key=lambda path: path.stat().st_mtime)
    return (path.read_text(encoding="utf-8", errors="replace") for path in files if path.stat().st_size < _MOST)


def _commits(root: Path) -> Iterator[str]:
    """Yield each dvc.lock of every commit and experiment, oldest first."""
    listed = _git(root, "log", "--all", "--reverse", "--format=", "--raw", "--no-abbrev", "--", "dvc.lock")
    blobs = dict.fromkeys(re.findall(r"^:\d+ \d+ [0-9a-f]+ ([0-9a-f]+) [AM]\t", listed, re.MULTILINE))
    yield from (_git(root, "cat-file", "blob", blob)[:_MOST] for blob in blobs)


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    except OSError:
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""


def _parse(text: str) -> Iterator[_Stage]:
    """Yield the stages in a dvc.lock or in a file of the run cache, as DVC writes them: a YAML parser takes 50 ms for each."""
    stage, section, path = _Stage(), None, ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("cmd:"):
            yield stage
            stage, section = _Stage(), None
        elif line in ("deps:", "outs:", "params:"):
            section = {"deps:": stage.deps, "outs:": stage.outs}.get(line)
        elif line.startswith("- path: "):
            path = line.removeprefix("- path: ")
        elif section is not None and line.startswith("md5: ") and _PATH.fullmatch(path):
            digest = line.removeprefix("md5: ").strip("'\"")
            section |= {path: digest} if _MD5.fullmatch(digest) else {}
    yield stage
