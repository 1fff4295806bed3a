"""The registry as files, which outlast the store: `registry/<model>/model.json` and one `version-N.json` per version.

`save` writes what the store says, whenever that changed; it deletes no file, and overwrites none that is about another model
than the store's. `sync` makes a registry of the files again. Git may bring files that anybody wrote: they are read as such.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, with_config

from pipeline.errors import RegistryError
from pipeline.tracking.lock import UNFINISHED
from pipeline.tracking.manifest import ORIGINAL_CREATED, ORIGINAL_MODEL, ORIGINAL_RUN, created_ms, run_of
from pipeline.tracking.runs import warn
from pipeline.workspace import Workspace, read_json, write_text

LAST = "last_version"  # tag of a registered model: the highest number that was given, if that version was deleted
PLACEHOLDER = "placeholder"  # tag of a version that is made to be deleted, so that its number is not given again
NO_FILES = "files_missing"  # tag of a version that `sync` made without its files, which were nowhere
_OURS = (ORIGINAL_RUN, ORIGINAL_MODEL, ORIGINAL_CREATED, NO_FILES)
_MODEL = re.compile(r"[a-z0-9][a-z0-9-]{0,100}-classifier")
_FILE = re.compile(r"version-([1-9][0-9]{0,5})\.json")
STRICT = with_config(ConfigDict(extra="forbid", str_max_length=200_000))
_Number = Annotated[int, Field(ge=1, lt=10**6)]
_Name = Annotated[str, Field(pattern="^[A-Za-z0-9_./: -]+$", max_length=250)]
_Id = Annotated[str, Field(pattern="^[A-Za-z0-9_-]*$", max_length=64)]
_Tags = Mapping[_Name, Annotated[str, Field(max_length=5000)]]


@STRICT
@dataclass(frozen=True, kw_only=True)
class SavedVersion:
    """A version: what the registry says of it."""

    version: _Number
    run_id: _Id  # the first that it had, which records and signatures name
    model_id: _Id  # the first that it had, which names the folder of its files
    created_ms: Annotated[int, Field(ge=0, lt=2**53)]  # Unix time
    tags: _Tags
    description: str
    deleted: bool = False

    def is_same(self, other: "SavedVersion | None") -> bool:
        """Return whether both are one model: of the same weights and data, or where these are not known, of the same run."""
        known = ("weights_digest", "dataset_digest")
        mine, others = ([each.tags.get(name, "") for name in known] if each else None for each in (self, other))
        return other is not None and mine == others and (bool(mine and mine[0]) or self.run_id == other.run_id)


@STRICT
@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """A registered model."""

    aliases: Mapping[_Name, _Number]
    tags: _Tags
    description: str


@dataclass(frozen=True)
class Registered:
    """A registered model with its versions, from the store or from files."""

    model: SavedModel | None = None
    versions: Mapping[int, SavedVersion] = field(default_factory=dict)
    last: int = 0  # the highest number that `sync` reserved
    without_files: frozenset[int] = frozenset()  # the versions that `sync` could not bring files for

    def continues(self, before: "Registered") -> bool:
        """Return whether this is the registry `before` later on: they share a version with its run, or `before` has none.

        Equal weights do not tell that: the same training, repeated in another clone, gives them too.
        """
        pairs = ((each, self.versions.get(number)) for number, each in before.versions.items())
        return not before.versions or any(one.is_same(now) and now and one.run_id == now.run_id for one, now in pairs)


def models(workspace: Workspace) -> list[str]:
    """Return the names of the registered models that have files."""
    return sorted(path.parent.name for path in workspace.registry.glob("*/model.json") if _MODEL.fullmatch(path.parent.name))


def folder(workspace: Workspace, model: str) -> Path:
    """Return the folder of a model's files.

    Raises:
        RegistryError: it is a link, which may lead anywhere.
    """
    path = workspace.registry / model
    if path.is_symlink():
        raise RegistryError(f"{workspace.shown(path)} is a link: replace it by the folder itself")
    return path


def stored(client: Any, model: str) -> Registered:
    """Return what the store says."""
    found = client.search_registered_models(f"name = '{model}'")
    if not found:
        return Registered()
    aliases = {alias: int(number) for alias, number in found[0].aliases.items()}
    entries = client.search_model_versions(f"name = '{model}'")
    versions = [_version(entry) for entry in entries if PLACEHOLDER not in entry.tags]
    tags = dict(found[0].tags)
    last = tags.pop(LAST, "")
    shown = SavedModel(aliases=aliases, tags=tags, description=found[0].description or "")
    ordered = {each.version: each for each in sorted(versions, key=lambda each: each.version)}
    lacking = frozenset(int(entry.version) for entry in entries if NO_FILES in entry.tags)
    return Registered(shown, ordered, int(last) if re.fullmatch("[0-9]{1,6}", last) else 0, lacking)


def _version(entry: Any) -> SavedVersion:
    known = re.fullmatch(r"models:/(m-[A-Za-z0-9_-]+)", entry.source or "")
    return SavedVersion(
        version=int(entry.version),
        run_id=run_of(entry),
        model_id=entry.tags.get(ORIGINAL_MODEL) or (known.group(1) if known else ""),
        created_ms=created_ms(entry),
        tags={name: text for name, text in entry.tags.items() if name not in _OURS},
        description=entry.description or "",
    )


def read(workspace: Workspace, model: str) -> Registered:
    """Return what the files say.

    Raises:
        RegistryError: one of them is not what `save` writes.
    """
    place = folder(workspace, model)
    versions = {number: read_file(SavedVersion, path, workspace) for number, path in _files(place)}
    for number, each in versions.items():
        if each.version != number:
            raise damaged(place / f"version-{number}.json", f"it is about version {each.version}", workspace)
    path = place / "model.json"
    return Registered(read_file(SavedModel, path, workspace) if path.exists() else None, versions)


def _files(place: Path) -> Iterator[tuple[int, Path]]:
    found = {path: _FILE.fullmatch(path.name) for path in place.glob("version-*.json")}
    return iter(sorted((int(match.group(1)), path) for path, match in found.items() if match))


_Kind = TypeVar("_Kind")


def read_file(kind: type[_Kind], path: Path, workspace: Workspace) -> _Kind:
    """Return the content of one file.

    Raises:
        RegistryError: it is not what is written there.
    """
    try:
        return read_json(kind, path)
    except (OSError, ValueError) as error:
        raise damaged(path, " ".join(str(error).split()), workspace) from None


def damaged(path: Path, problem: str, workspace: Workspace) -> RegistryError:
    """Return the error of a file that cannot be used."""
    shown = workspace.shown(path)
    return RegistryError(
        f"{shown} is not what was written there ({problem}): `git checkout {shown}` restores it; where the tracking store "
        "still has the registry, delete it, and `python -m pipeline doctor --fix` writes it again"
    )


def save(client: Any, workspace: Workspace, model: str) -> None:
    """Write what the store says of the model and its versions; warn where that cannot be."""
    try:
        now = stored(client, model)
        if now.model is None or UNFINISHED in now.model.tags:
            return
        differing = write(now, read(workspace, model), workspace, model)
    except (OSError, RegistryError) as error:
        warn(f"{workspace.shown(workspace.registry)} was not written: {error}")
        return
    if differing:
        warn(
            f"{workspace.shown(workspace.registry / model)} is about another registry than the tracking store's (version "
            f"{', '.join(map(str, differing))}) and stays as it is: `python -m pipeline sync` says more"
        )


def check_not_lost(client: Any, workspace: Workspace, model: str) -> None:
    """Refuse to begin a registry where an earlier one was lost that can be made again: its numbers would be given to others.

    Raises:
        RegistryError: as above.
    """
    if stored(client, model).versions:
        return
    saved = [each for each in read(workspace, model).versions.values() if not each.deleted and each.model_id]
    if any(any(workspace.artifacts.glob(f"*/models/{each.model_id}")) for each in saved):
        shown = workspace.shown(folder(workspace, model))
        raise RegistryError(
            f"the tracking store has no version of {model}, and {shown} holds {len(saved)}: `python -m pipeline sync` makes "
            f"them again; or move {shown} away to begin with version 1"
        )


def write(now: Registered, before: Registered, workspace: Workspace, model: str) -> Sequence[int]:
    """Write what differs of what the store says now; return the numbers of which the files hold another model."""
    place, same = folder(workspace, model), now.continues(before)
    other = [number for number, each in now.versions.items() if not _may_replace(before.versions.get(number), each)]
    files: dict[str, Any] = {f"version-{n}.json": each for n, each in now.versions.items() if n not in other}
    if same:
        gone = (each for number, each in before.versions.items() if number not in now.versions)
        files |= {f"version-{each.version}.json": replace(each, deleted=True) for each in gone}
        files["model.json"] = now.model
    for name, content in files.items():
        write_if_new(place / name, content)
    return other


def _may_replace(before: SavedVersion | None, now: SavedVersion) -> bool:
    return before is None or (now.is_same(before) and now.run_id == before.run_id)


def write_if_new(path: Path, content: Any) -> None:
    """Write a dataclass as JSON, unless that is what the file holds."""
    text = json.dumps(asdict(content), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if not path.exists() or path.read_bytes() != text.encode():
        write_text(path, text)
