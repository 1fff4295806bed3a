"""Writing a `.keras` file so that equal models are equal files."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip file can hold


def save(model: Any, path: Path) -> None:
    """Writes `model` (a `keras.Model`) to `path`, which ends in `.keras`, without dates or addresses."""
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(members["metadata.json"]) | {"date_saved": "1980-01-01@00:00:00"}
    members["metadata.json"] = json.dumps(metadata, sort_keys=True).encode()
    members["config.json"] = _renumbered(members["config.json"])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)


def _renumbered(config: bytes) -> bytes:
    """Keras names shared objects by their address in memory; their order of appearance serves as well, and stays."""
    seen: dict[bytes, int] = {}

    def number(match: re.Match[bytes]) -> bytes:
        return match[1] + str(seen.setdefault(match[2], len(seen))).encode()

    return re.sub(rb'("shared_object_id": )(\d+)', number, config)
