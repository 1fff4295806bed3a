"""The data of a version, brought into a worktree: from this checkout, DVC's cache, its remote, or the source once more."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from pipeline import dataset, params
from pipeline.dataset import Description
from pipeline.errors import DatasetError, RegistryError
from pipeline.verify import arrays
from pipeline.verify.worktree import StageError, Worktree
from pipeline.workspace import Workspace, replacing

_HERE = "data/dataset of this checkout"


def bring(wanted: Description, copy: Worktree, here: Workspace) -> tuple[str, str]:
    """Puts the data set `wanted` into data/dataset of the worktree.

    A data set of this checkout that says it is the one, and is not, is not passed over: it was altered.

    Returns:
        Where it is from; and how it differs from what was recorded, "" where it does not.

    Raises:
        RegistryError: it cannot be had.
    """
    if not _claims(here.dataset, wanted):
        return _elsewhere(wanted, copy, here)
    if not _is(here.dataset, wanted):
        return _HERE, _altered(wanted, copy, here)
    shutil.copytree(here.dataset, copy.workspace.dataset)
    return _HERE, ""


def _altered(wanted: Description, copy: Worktree, here: Workspace) -> str:
    """What is wrong with data/dataset of this checkout; the row is named where the right data can be had from elsewhere."""
    found = "its arrays are not those that it was made of"
    try:
        _, difference = _elsewhere(wanted, copy, here)
        if not difference:
            found = arrays.first_difference(dataset.read(copy.workspace.dataset), dataset.read(here.dataset)) or found
    except (RegistryError, DatasetError) as error:
        found = f"{found} ({error})"
    return (
        f"data/dataset says that it is {wanted.digest[:12]}, and is not: {found}; `dvc checkout --force data/dataset` mends it"
    )


def _elsewhere(wanted: Description, copy: Worktree, here: Workspace) -> tuple[str, str]:
    places: Mapping[str, Callable[[], None]] = {
        "DVC's cache": lambda: _from_cache(wanted, copy.workspace.dataset, here),
        "DVC's remote": lambda: _pull(copy.workspace, here),
    }
    for where, fetch in places.items():
        fetch()
        if _is(copy.workspace.dataset, wanted):
            return where, ""
        shutil.rmtree(copy.workspace.dataset, ignore_errors=True)
    return "the source, ingested again", _ingest(wanted, copy, here)


def _claims(folder: Path, wanted: Description) -> bool:
    with suppress(DatasetError):
        return dataset.describe(folder).digest == wanted.digest
    return False


def _is(folder: Path, wanted: Description) -> bool:
    with suppress(DatasetError):
        return dataset.content_digest(folder) == wanted.digest
    return False


def _from_cache(wanted: Description, folder: Path, here: Workspace) -> None:
    """Looks for the data set in DVC's cache by our digest: there need be no dvc.lock that speaks of it."""
    said = _dvc(here.root, "cache", "dir")
    cache = Path(said.stdout.strip()) / "files" / "md5"
    for listing in cache.glob("*/*.dir") if said.returncode == 0 else ():
        files = {entry["relpath"]: cache / entry["md5"][:2] / entry["md5"][2:] for entry in json.loads(listing.read_text())}
        described = files.get("dataset.json")
        if not described or not described.exists() or f'"{wanted.digest}"' not in described.read_text(encoding="utf-8"):
            continue
        for name, path in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                shutil.copyfile(path, folder / name)
        return


def _pull(there: Workspace, here: Workspace) -> None:
    """What the dvc.lock of the worktree's commit names, by DVC with the remotes of this checkout."""
    if not (there.root / "dvc.lock").exists():
        return
    own = Path(".dvc") / "config.local"
    if (here.root / own).exists():
        shutil.copyfile(here.root / own, there.root / own)
    _dvc(there.root, "pull", "--quiet", "data/dataset")


def _dvc(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, capture_output=True, text=True, check=False)


def _ingest(wanted: Description, copy: Worktree, here: Workspace) -> str:
    """Runs ingest there, with the downloads and the source of this checkout; returns how the result differs."""
    there = copy.workspace
    if here.downloads.exists():
        shutil.copytree(here.downloads, there.downloads, dirs_exist_ok=True)
    _read_source_of(here, there)
    try:
        copy.run("ingest")
    except StageError as error:
        raise RegistryError(
            f"the data {wanted.name} {wanted.digest[:12]} cannot be had: it is not in data/dataset, DVC's cache or its remote, "
            f"and {error}"
        ) from None
    found = dataset.describe(there.dataset)
    return "" if found.digest == wanted.digest else _how(wanted, found)


def _read_source_of(here: Workspace, there: Workspace) -> None:
    """Make ingest in the worktree read the source where the user has it.

    The recorded path comes from a run, so nothing is linked, moved or removed by it: ingest only reads what it names. The
    worktree's own params.yaml is rewritten instead; `verdict` leaves `ingest.source` out when it compares params.
    """
    from ruamel.yaml import YAML

    content = params.read_yaml(there.params)
    source = here.root / content["ingest"]["source"]
    if source.exists():
        content["ingest"]["source"] = str(source.resolve())
        with replacing(there.params) as aside, aside.open("w", encoding="utf-8") as file:
            YAML().dump(content, file)


def _how(wanted: Description, found: Description) -> str:
    """The first thing in which two descriptions differ."""
    before, now = ({file.name: file.sha256 for file in each.sources} for each in (wanted, found))
    for name in sorted(before.keys() | now.keys()):
        if name not in now:
            return f"{name} is no longer in the source"
        if name not in before:
            return f"{name} in the source was not there"
        if before[name] != now[name]:
            return f"{name} in the source was altered: its SHA-256 is {now[name][:12]}, not {before[name][:12]}"
    for part in ("class_names", "image_shape", "counts"):
        if getattr(wanted, part) != getattr(found, part):
            return f"{part} is {getattr(found, part)}, not {getattr(wanted, part)}"
    return f"ingest made {found.digest[:12]} of the same source, not {wanted.digest[:12]}"
