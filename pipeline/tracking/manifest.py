"""The manifest of a version: the SHA-256 of each of its files, a tag written at registration.

Everything here that loads a version's files checks them against it first, and loads the copy that was checked. Paths in a
manifest are never opened, only compared with the files found.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline import signing
from pipeline.errors import RegistryError
from pipeline.signing import Signature
from pipeline.workspace import sha256

SIGNATURE = "version_manifest_signature"
ORIGINAL_RUN, ORIGINAL_MODEL, ORIGINAL_CREATED = "original_run_id", "original_model_id", "original_created"
"""Tags of a version that `sync` made again: the ids that it had first, and when it was made (Unix time in milliseconds)."""
MANIFEST = "version_manifest"  # sorted among the other tags in the UI, the long text comes near the end
_MAX = 5000  # characters of a version's tag before MLflow 2; a version has 9 files: 900 characters
_WRITTEN_BY_MLFLOW = "registered_model_meta"  # into the store, whenever a model is loaded; nothing reads it


def of(folder: Path) -> str:
    """Return the manifest of the files below `folder`: canonical JSON, relative path → SHA-256.

    Raises:
        RegistryError: there are too many files for a tag.
    """
    text = json.dumps(_digests(folder), sort_keys=True, separators=(",", ":"))
    if len(text) > _MAX:
        raise RegistryError(f"a model of {len(_digests(folder))} files cannot be registered: a tag cannot hold their digests")
    return text


def signed(model: str, run_id: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tag that holds the signature of a version with `tags`; none where there is no key.

    Raises:
        SigningError: there is a key, which cannot sign.
    """
    signature = signing.sign(_statement(model, run_id, tags), signing.VERSION)
    return {SIGNATURE: signature} if signature else {}


def signature(version: Any, allowed_signers: Path) -> Signature:
    """Return who signed the manifest of the `ModelVersion`, or what is wrong with the signature.

    Raises:
        SigningError: there is a signature, and no ssh-keygen.
    """
    text = _statement(version.name, version.run_id or "", version.tags)
    time = datetime.fromtimestamp(created_ms(version) / 1000, UTC)
    return signing.verify(text, version.tags.get(SIGNATURE, ""), signing.VERSION, allowed_signers, time)


def _statement(model: str, run_id: str, tags: Mapping[str, str]) -> str:
    """Return what is signed: the files, and what they are, so that no other version's will do."""
    signed = {name: tags.get(name, "") for name in (MANIFEST, "weights_digest", "dataset_digest")}
    return json.dumps({"model": model, "run_id": tags.get(ORIGINAL_RUN, run_id), **signed}, sort_keys=True)


def run_of(version: Any) -> str:
    """Return the id of the run that the `ModelVersion` had first, which records and signatures name."""
    return str(version.tags.get(ORIGINAL_RUN) or version.run_id or "")


def created_ms(version: Any) -> int:
    """Return when the `ModelVersion` was first made, as Unix time in milliseconds."""
    text = version.tags.get(ORIGINAL_CREATED, "")
    return int(text) if re.fullmatch("[0-9]{1,13}", text) else int(version.creation_timestamp)


def size(folder: Path) -> int:
    """Return the bytes of all files in the manifest of `folder`."""
    return sum(path.stat().st_size for path in _files(folder))


def check(folder: Path, manifest: str, name: str) -> None:
    """Raise RegistryError unless the files below `folder` match `manifest` ("": none was recorded) of the version `name`."""
    if not manifest:
        raise RegistryError(
            f"{name} has no manifest of its files, so it cannot be checked that they are the registered ones: delete this "
            "version in the MLflow UI and register it again (`dvc repro -s -f register` where it was trained)"
        )
    try:
        registered = dict(json.loads(manifest))
    except (ValueError, TypeError):
        raise RegistryError(f"{name} has a tag `{MANIFEST}` that register did not write: do not use it") from None
    problem = _difference(registered, _digests(folder))
    if problem:
        raise RegistryError(
            f"{name} is not what was registered: {problem}; do not use it: restore the files from a backup of the store, or "
            "use another version"
        )


def _difference(registered: dict[str, str], found: dict[str, str]) -> str:
    """Return the first difference, by file name; "" where there is none."""
    for path in sorted({*registered, *found}):
        if path not in found:
            return f"its file {path} is missing"
        if path not in registered:
            return f"the file {path} was added"
        if found[path] != registered[path]:
            return f"its file {path} was altered"
    return ""


def _digests(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in _files(folder)}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and path != folder / _WRITTEN_BY_MLFLOW)
