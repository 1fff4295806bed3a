"""Rebuild a training in a temporary git worktree: its code, params, data and parent version, then its stages.

Nothing outside the temporary folder is written: DVC reads this checkout's cache as if it were a remote, a data source is read
where it is, and the worktree has a tracking store of its own.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import dataset, params, provenance, tracking
from pipeline.dataset import Dataset, Description
from pipeline.errors import DatasetError, ParamsError, RegistryError
from pipeline.provenance import GitState, TrainingRecord
from pipeline.verify.recorded import Entry
from pipeline.workspace import Workspace, replacing, write_text

_PARENT = "parent"  # alias of the version that the training started from, in the worktree's own store
_BLOCK = 4096  # rows compared at once, to bound memory
# These would lead a stage to the user's own store, run or experiment.
_FOREIGN = {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME"}
_NO_HOOKS = ("-c", "core.hooksPath=/dev/null")  # `dvc install` adds a post-checkout hook that checks out DVC's files


@contextmanager
def worktree(git: GitState, name: str, here: Workspace) -> Iterator[Workspace]:
    """Check out the commit of the version `name`, with its uncommitted changes, in a temporary folder; remove it at the end.

    Raises:
        RegistryError: there is no commit, it is not in this clone, or the changes do not apply to it.
    """
    if not git.commit:
        raise RegistryError(f"{name} was trained outside git: its code is unknown, so it cannot be verified")
    commit = git.commit[:12]
    absent = (
        f"{name} was trained at commit {commit} ({git.branch or 'no branch'}), which is not in this clone: `git fetch --all`"
    )
    _git(here.root, "cat-file", "-e", f"{git.commit}^{{commit}}", failure=absent)
    prefix = _git(here.root, "rev-parse", "--show-prefix").strip()  # of a project in a folder of a larger repository
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        tree = Path(folder).resolve() / "checkout"
        try:
            _git(here.root, *_NO_HOOKS, "worktree", "add", "--detach", "--quiet", str(tree), git.commit)
            if git.diff:
                failure = (
                    f"the uncommitted changes recorded with {name} do not apply to commit {commit}, so it cannot be verified"
                )
                _git(tree, "apply", "--whitespace=nowarn", "-", stdin=git.diff, failure=failure)
            there = Workspace(tree / prefix, tree / prefix)
            _check_links(there, tree)
            yield there
        finally:
            with suppress(RegistryError):  # it was not added
                _git(here.root, "worktree", "remove", "--force", str(tree))


def _git(root: Path, *arguments: str, stdin: str = "", failure: str = "") -> str:
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, cwd=root, input=stdin, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise RegistryError("git is not installed: verify needs it to check out the code of a version") from None
    if done.returncode != 0:
        raise RegistryError(f"{failure or f'`{shlex.join(command)}` failed'} ({done.stderr.strip().partition(chr(10))[0]})")
    return done.stdout


def _check_links(there: Workspace, tree: Path) -> None:
    """Refuse code with a symbolic link through which DVC or a stage would write outside the worktree."""
    written = (there.params, there.dataset, there.downloads, there.model, there.history, there.checkpoints, there.database)
    for path in (*written, there.root / ".dvc/cache", there.root / ".dvc/config.local"):
        if not path.resolve().is_relative_to(tree):
            raise RegistryError(
                f"{there.shown(path)} is behind a link to {path.resolve()} in the recorded code: a rebuild would write there"
            )


def write_params(entry: Entry, there: Workspace, here: Workspace) -> None:
    """Write the recorded dvc.lock and params.yaml, with three params set to what they stand for in the worktree.

    - `ingest.source`: an absolute path, because a relative one counts from this checkout.
    - `train.threads`: the number that was used; 0 (all cores) may be another number on this machine.
    - `train.warm_start`: the alias that `lend_parent` gives to the recorded parent; the recorded alias may have moved.

    Raises:
        ParamsError: the recorded file is not a params.yaml.
    """
    from ruamel.yaml import YAML

    write_text(there.params, entry.params)
    if entry.dvc_lock:
        write_text(there.root / "dvc.lock", entry.dvc_lock)
    content = params.read_yaml(there.params)
    ingest, train = (content.get(name) if isinstance(content, dict) else None for name in ("ingest", "train"))
    if not isinstance(ingest, dict) or not isinstance(train, dict):
        raise ParamsError(f"provenance/params.yaml of {entry.name} has no section ingest or train: it was altered")
    source = here.root / str(ingest.get("source"))
    if source.exists():
        ingest["source"] = str(source.resolve())
    train["threads"] = entry.record.threads
    if entry.record.warm_start:
        train["warm_start"] = _PARENT
    with replacing(there.params) as aside, aside.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)


def bring_data(wanted: Description, there: Workspace, here: Workspace) -> tuple[str, str]:
    """Put the recorded data set into the worktree; return where it came from, and how it differs from what was recorded, or "".

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
            return "data/dataset", f"data/dataset claims digest {wanted.digest[:12]}, but {_alteration(wanted, there, here)}"
    return _bring_from_elsewhere(wanted, there, here)


def _has(folder: Path, wanted: Description) -> bool:
    with suppress(DatasetError):
        return dataset.content_digest(folder) == wanted.digest
    return False


def _alteration(wanted: Description, there: Workspace, here: Workspace) -> str:
    try:
        _bring_from_elsewhere(wanted, there, here)
        if _has(there.dataset, wanted):
            found = first_difference(dataset.read(there.dataset), dataset.read(here.dataset))
            return f"{found}; `dvc checkout --force data/dataset` restores it"
    except (RegistryError, DatasetError) as error:
        return f"its arrays were altered ({error})"
    return "its arrays were altered"


def _bring_from_elsewhere(wanted: Description, there: Workspace, here: Workspace) -> tuple[str, str]:
    place = _pull(wanted, there, here)
    return (place, "") if place else ("the source, ingested again", _ingest(wanted, there, here))


def _pull(wanted: Description, there: Workspace, here: Workspace) -> str:
    """Pull what dvc.lock names from this checkout's DVC cache or default remote; return which has it, "" if neither."""
    if not (there.root / "dvc.lock").exists():
        return ""
    cache, local = there.root / ".dvc/cache", Path(".dvc/config.local")
    if (here.root / local).exists():
        shutil.copyfile(here.root / local, there.root / local)  # credentials
    listed = _dvc(here.root, "config", "--list").splitlines()  # relative URLs are absolute there
    settings = dict(line.split("=", 1) for line in listed if re.match(r"core\.remote=|remote\..+\.url=", line))
    # This checkout's cache becomes a remote, because DVC adds to its own cache, and deletes damaged files from it.
    settings |= {"cache.dir": str(cache), "remote.cache-of-checkout.url": _dvc(here.root, "cache", "dir")}
    for key, value in settings.items():
        _dvc(there.root, "config", "--local", key, value)
    for place, options in {"DVC's cache": ("--remote", "cache-of-checkout"), "DVC's remote": ()}.items():
        _dvc(there.root, "pull", "--quiet", *options, "data/dataset")
        if _has(there.dataset, wanted):
            return place
        for folder in (there.dataset, cache):
            shutil.rmtree(folder, ignore_errors=True)
    return ""


def _dvc(root: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _ingest(wanted: Description, there: Workspace, here: Workspace) -> str:
    """Run ingest in the worktree, with a copy of this checkout's downloads; return how the result differs."""
    if here.downloads.exists():
        shutil.copytree(here.downloads, there.downloads, dirs_exist_ok=True)
    try:
        run_stage("ingest", there)
    except RegistryError as error:
        nowhere = f"the data set {wanted.name} {wanted.digest[:12]} is not in data/dataset, DVC's cache or its remote"
        raise RegistryError(f"{nowhere}, and {error}") from None
    found = dataset.describe(there.dataset)
    before, now = ({file.name: file.sha256[:12] for file in each.sources} for each in (wanted, found))
    for name in sorted(before.keys() | now.keys()) if found.digest != wanted.digest else ():
        if before.get(name) != now.get(name):
            return f"{name} in the source was altered: its SHA-256 is {now.get(name)}, not {before.get(name)}"
    return f"ingest made {found.digest[:12]} of equal source files" if found.digest != wanted.digest else ""


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


def lend_parent(client: Any, record: TrainingRecord, there: Workspace) -> None:
    """Register the version that the training started from, if any, in the worktree's store, where `train` finds it.

    Raises:
        RegistryError: there is no such version any more, or it has other weights.
    """
    parent = record.warm_start
    if not parent:
        return
    source = tracking.find_version(client, parent["model_name"], parent["version"])
    known, lent = tracking.training_record(client, source), there.root / "lent"
    if known.weights_digest != parent["weights_digest"]:
        raise RegistryError(
            f"the training started from weights {parent['weights_digest'][:12]}, but {source.model_name} {source.name} now "
            f"has {known.weights_digest[:12]}: it cannot be rebuilt"
        )
    with tracking.model_folder(client, source) as folder:
        shutil.copytree(folder, lent / "model")
    provenance.write(lent / "training.json", known)

    from mlflow import MlflowClient

    store = MlflowClient(_store(there), _store(there))  # `tracking.connect` would make it the store of this process
    run_id = store.create_run(store.create_experiment("lent", (lent / "runs").as_uri())).info.run_id
    store.log_artifact(run_id, str(lent / "training.json"), "provenance")
    store.create_registered_model(source.model_name)
    tags = client.get_model_version(source.model_name, source.version).tags
    version = store.create_model_version(source.model_name, (lent / "model").as_uri(), run_id, tags=tags)
    store.set_registered_model_alias(source.model_name, _PARENT, version.version)


def _store(there: Workspace) -> str:
    return f"sqlite:///{there.database}"


def run_stage(stage: str, there: Workspace, *, shown: bool = False) -> None:
    """Run a stage of the worktree's code as a process of its own; print its output if `shown`, and how long it took.

    Raises:
        RegistryError: it failed, with the reason that its `error:` line gives.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    own = {"MLFLOW_TRACKING_URI": _store(there), "PYTHONPATH": str(there.root), "PYTHONUNBUFFERED": "1"}
    command, start = [sys.executable, "-m", "pipeline", stage], time.perf_counter()
    stdout = None if shown else subprocess.DEVNULL
    done = subprocess.run(
        command, cwd=there.root, env={**inherited, **own}, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        reason = done.stderr.strip().rpartition("\n")[2].removeprefix("error: ")
        raise RegistryError(f"{stage} failed in the worktree: {reason or 'it printed no error'}")
    print(f"{stage:<10}{time.perf_counter() - start:,.1f} s", flush=True)
