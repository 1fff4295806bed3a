"""Bring the recorded data set into the worktree: from this checkout, DVC's cache or remote, or by another ingest.

What dvc.lock and DVC's files say was recorded with the version, so it is hostile: DVC itself never acts on it. Only a digest is
taken from dvc.lock; the files that it names are copied one by one, each below the worktree's data/dataset, by a process of its
own (`python -m pipeline.verify.data`) with the settings of this checkout.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import dataset, params
from pipeline.dataset import Dataset, Description
from pipeline.errors import DatasetError, ParamsError, RegistryError
from pipeline.restore import way_back
from pipeline.verify import rebuild
from pipeline.workspace import Workspace

_BLOCK = 4096  # rows compared at once, to bound memory
_DIGEST, _MEMBER = r"[0-9a-f]{32}", r"(?:\w[\w.-]*/)?\w[\w.-]*"  # MD5; a file of data/dataset, at most one folder deep
_MAX_FILES, _MAX_LISTING = 100, 1_000_000  # a data set has 10 to 13 files; bytes


def bring(wanted: Description, dvc_lock: str, there: Workspace, here: Workspace) -> tuple[str, str]:
    """Put the data set `wanted` into the worktree; return where it came from, and how it differs from what was recorded, or "".

    A data/dataset that claims the recorded digest but has other arrays was altered: that is a difference, not a reason to
    look elsewhere.

    Raises:
        RegistryError: it is nowhere to be found, and ingest failed.
    """
    if _has(here.dataset, wanted):
        shutil.copytree(here.dataset, there.dataset)
        return "data/dataset of this checkout", ""
    with suppress(DatasetError):
        if dataset.describe(here.dataset).digest == wanted.digest:
            alteration = _alteration(wanted, dvc_lock, there, here)
            return "data/dataset", f"data/dataset claims digest {wanted.digest[:12]}, but {alteration}"
    return _bring_from_elsewhere(wanted, dvc_lock, there, here)


def _has(folder: Path, wanted: Description) -> bool:
    with suppress(DatasetError, OSError, ValueError):  # hostile files may be no arrays
        return dataset.content_digest(folder) == wanted.digest
    return False


def _alteration(wanted: Description, dvc_lock: str, there: Workspace, here: Workspace) -> str:
    try:
        _bring_from_elsewhere(wanted, dvc_lock, there, here)
        if _has(there.dataset, wanted):
            found = first_difference(dataset.read(there.dataset), dataset.read(here.dataset))
            return f"{found}; {way_back(here.dataset, 'ingest')}"
    except (RegistryError, DatasetError) as error:
        return f"its arrays were altered ({error})"
    return "its arrays were altered"


def _bring_from_elsewhere(wanted: Description, dvc_lock: str, there: Workspace, here: Workspace) -> tuple[str, str]:
    digest = _recorded_digest(dvc_lock)
    for place in ("cache", "remote") if digest else ():
        _fetch(digest, place, there, here)
        if _has(there.dataset, wanted):
            return f"DVC's {place}", ""
        shutil.rmtree(there.dataset, ignore_errors=True)
    return "the source, ingested again", _ingest(wanted, there, here)


def _recorded_digest(dvc_lock: str) -> str:
    """Return DVC's digest of data/dataset in a dvc.lock; "" where it names none that can be used."""
    with tempfile.TemporaryDirectory() as folder, suppress(ParamsError, KeyError, TypeError):
        path = Path(folder, "dvc.lock")
        path.write_text(dvc_lock, encoding="utf-8")
        for out in params.read_yaml(path)["stages"]["ingest"]["outs"]:
            if out["path"] == "data/dataset" and re.fullmatch(rf"{_DIGEST}\.dir", out["md5"]):
                return str(out["md5"])
    return ""


def _fetch(digest: str, place: str, there: Workspace, here: Workspace) -> None:
    """Copy the folder with DVC's digest `digest` from its cache or remote; where that fails, part of it or nothing."""
    command = [sys.executable, "-m", "pipeline.verify.data", str(here.root), place, digest, str(there.dataset)]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def _ingest(wanted: Description, there: Workspace, here: Workspace) -> str:
    """Run ingest in the worktree, with a copy of this checkout's downloads; return how the result differs."""
    if here.downloads.exists():
        shutil.copytree(here.downloads, there.downloads, dirs_exist_ok=True)
    try:
        rebuild.run_stage("ingest", there)
        found = dataset.describe(there.dataset)
    except (RegistryError, DatasetError) as error:
        nowhere = f"the data set {wanted.name} {wanted.digest[:12]} is not in data/dataset, DVC's cache or its remote"
        raise RegistryError(f"{nowhere}, and {error}") from None
    if _has(there.dataset, wanted):
        return ""
    before, now = ({file.name: file.sha256[:12] for file in each.sources} for each in (wanted, found))
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            return f"{name} in the source was altered: its SHA-256 is {now.get(name)}, not {before.get(name)}"
    return f"ingest made {found.digest[:12]} of equal source files"


def first_difference(recorded: Dataset, found: Dataset) -> str:
    """Return the first value in which `found` differs from `recorded`, and where it is."""
    for name, split in recorded.splits().items():
        for part in ("images", "labels", "source_index"):
            before, now = getattr(split, part), getattr(found.splits()[name], part)
            if before.shape != now.shape:
                return f"{name}/{part}.npy has the shape {now.shape}, not {before.shape}"
            for start in range(0, len(before), _BLOCK):
                places = np.argwhere(before[start : start + _BLOCK] != now[start : start + _BLOCK])
                if len(places):
                    row, place = start + int(places[0][0]), tuple(places[0][1:].tolist())
                    value = f"is {now[row][place]}{f' at {place}' if place else ''}, not {before[row][place]}"
                    return f"{name}/{part}.npy row {row} (source row {split.source_index[row]}) {value}"
    return "its class names were altered"


def main(root: str, place: str, digest: str, target: str) -> None:
    """Copy a folder from DVC's cache or default remote of the checkout at `root`, which is only read."""
    from dvc.config import Config
    from dvc.fs import get_cloud_fs

    dvc = next(folder / ".dvc" for folder in (Path(root), *Path(root).parents) if (folder / ".dvc").is_dir())
    config = Config(str(dvc))
    if place == "cache":
        cache = config["cache"].get("dir") or dvc / "cache"
        cloud, settings, base = get_cloud_fs(config, url=str(cache))
    else:
        cloud, settings, base = get_cloud_fs(config, name=config["core"]["remote"])
    files = cloud(**settings)

    def get(md5: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.get_file(files.join(base, "files", "md5", md5[:2], md5[2:]), str(path))

    with tempfile.TemporaryDirectory() as temporary:
        get(digest, listing := Path(temporary, "listing"))
        members = _members(listing)
    for path, md5 in members.items():
        get(md5, Path(target, path))


def _members(listing: Path) -> dict[str, str]:
    """Return the files in DVC's listing of a folder, relative path → MD5.

    Raises:
        ValueError: one of them is not what a data set has.
    """
    if listing.stat().st_size > _MAX_LISTING:
        raise ValueError("too large")
    content: Any = json.loads(listing.read_bytes())
    members = {str(each["relpath"]): str(each["md5"]) for each in content}
    if len(members) > _MAX_FILES or not all(re.fullmatch(_MEMBER, path) for path in members):
        raise ValueError("not a data set")
    if not all(re.fullmatch(_DIGEST, md5) for md5 in members.values()):
        raise ValueError("not a digest")
    return members


if __name__ == "__main__":
    main(*sys.argv[1:])
