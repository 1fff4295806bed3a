"""How to bring back an output whose bytes changed on disk: from DVC's cache, or by its stage where that copy is damaged too.

DVC trusts a file whose size, time and permissions are as they were, in the workspace and in its cache: `dvc status` does not
see a flipped bit, `dvc checkout --force` leaves it, and where files are links into the cache, its damaged copy is linked again
after the stage has written a good one. So what is damaged has to go first.
"""

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.params import read_yaml


def way_back(path: Path, stage: str) -> str:
    """Return the advice that brings back the output `path` of `stage`, as "run `…`"."""
    place = path.parent.resolve() / path.name  # the output itself may be a link into the cache
    root = next((folder for folder in place.parents if (folder / "dvc.yaml").is_file()), None)
    if root is None:  # a copy, in a temporary folder, of what a run has
        return "restore it from a backup of the tracking store"
    output = place.relative_to(root).as_posix()
    copies: dict[str, Path] = {}
    problems = (OSError, ValueError, LookupError, TypeError, PipelineError, subprocess.CalledProcessError)
    with suppress(*problems):  # without dvc.lock, or with a damaged listing, there is no more to find out
        copies.update(_copies(output, root, stage))
    damaged = [copy for md5, copy in copies.items() if copy.is_file() and _md5(copy) != md5]
    if copies and not damaged and all(copy.is_file() for copy in copies.values()):
        return f"run `rm -rf {output} && dvc checkout {output}`"
    again = f"dvc repro -s -f {stage}"
    if not damaged:
        return f"run `{again}`"
    files = shlex.join(str(copy.relative_to(root) if copy.is_relative_to(root) else copy) for copy in damaged)
    return f"DVC's copy is damaged too, run `rm -f {files} && {again}`"


def _copies(output: str, root: Path, stage: str) -> Iterator[tuple[str, Path]]:
    """Yield the MD5 and the path in DVC's cache of each file of `output`, by dvc.lock and the cache's listing of a folder."""
    (md5,) = (out["md5"] for out in read_yaml(root / "dvc.lock")["stages"][stage]["outs"] if out["path"] == output)
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    cache = root / done.stdout.strip() / "files/md5"
    whole = cache / md5[:2] / md5[2:]
    yield md5.removesuffix(".dir"), whole
    if md5.endswith(".dir"):
        for file in json.loads(whole.read_bytes()):
            yield file["md5"], cache / file["md5"][:2] / file["md5"][2:]


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
