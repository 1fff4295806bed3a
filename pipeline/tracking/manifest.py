"""The manifest of a version: the SHA-256 of each of its files, written as a tag when it is registered.

Whatever of ours loads a version's files checks them against it first, and loads the very copy that was checked. No path that
a manifest names is ever opened: it is compared with what lies in the folder.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import RegistryError

MANIFEST = "version_manifest"  # the tag; among the others in the UI, which sorts them, a long text stands near the end
_MAX = 5000  # characters of a version's tag, in stores of before MLflow 2; a version of ours has 9 files, 900 characters
_MLFLOWS_OWN = "registered_model_meta"  # written into the store by MLflow whenever somebody loads the model; nothing reads it


def of(folder: Path) -> str:
    """The manifest of the files below `folder`: canonical JSON, relative path → SHA-256.

    Raises:
        RegistryError: they are too many for a tag.
    """
    text = json.dumps(_digests(folder), sort_keys=True, separators=(",", ":"))
    if len(text) > _MAX:
        raise RegistryError(f"a model of {len(_digests(folder))} files cannot be registered: a tag cannot hold their digests")
    return text


def size(folder: Path) -> int:
    """Bytes of all files that the manifest of `folder` names."""
    return sum(path.stat().st_size for path in _files(folder))


def check(folder: Path, manifest: str, name: str) -> None:
    """Stops where a file below `folder` is not the one that was registered.

    Args:
        folder: The files of a version.
        manifest: What `of` said of them when they were registered; "" where nothing was said.
        name: Of the version, as people say it.

    Raises:
        RegistryError: with the first file that is missing, altered or was added, or because there is no manifest.
    """
    if not manifest:
        raise RegistryError(
            f"{name} has no manifest of its files, so nobody can tell whether they are the ones that were registered: delete "
            "this version in the MLflow UI and register it again (`dvc repro -s -f register` where it was trained)"
        )
    problem = _difference(_read(manifest, name), _digests(folder))
    if problem:
        raise RegistryError(
            f"{name} is not what was registered: {problem}; do not use it: put the files back from a copy of the store, or "
            "take another version"
        )


def _read(manifest: str, name: str) -> dict[str, str]:
    try:
        return dict(json.loads(manifest))
    except (ValueError, TypeError):
        raise RegistryError(f"{name} has a tag `{MANIFEST}` that is not what register writes: do not use it") from None


def _difference(registered: dict[str, str], found: dict[str, str]) -> str:
    """The first file, by name, that differs; "" where none does."""
    for path in sorted({*registered, *found}):
        if path not in found:
            return f"its file {path} is missing"
        if path not in registered:
            return f"the file {path} was added"
        if found[path] != registered[path]:
            return f"its file {path} was altered"
    return ""


def _digests(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in _files(folder)}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and path != folder / _MLFLOWS_OWN)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
