"""Rebuild a training in a temporary folder: its code, params, parent version, then its stages.

Whatever a version's record says, nothing outside the temporary folder is written or removed. The code is checked out in a
repository of its own that borrows this clone's objects. Paths in the recorded params are resolved and confined before anything
uses them; a data source is read where it is. Each stage is confined (see `sandbox`) and sees no secret of the caller.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import environment, params, provenance, tracking
from pipeline.errors import ParamsError, RegistryError
from pipeline.page import printable
from pipeline.provenance import GitState, TrainingRecord
from pipeline.verify import sandbox
from pipeline.verify.recorded import Entry
from pipeline.workspace import Workspace, replacing, write_text

_PARENT = "parent"  # alias of the version that the training started from, in the worktree's own store
_NO_HOOKS = ("-c", "core.hooksPath=/dev/null")  # `dvc install` adds a post-checkout hook that checks out DVC's files
_PASSED = (  # of the caller's environment; all else, and with it every secret, stays away from recorded code
    *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE"),
    *("CUDA_VISIBLE_DEVICES", "TF_ENABLE_ONEDNN_OPTS", "TF_FORCE_GPU_ALLOW_GROWTH", "XLA_FLAGS", "OMP_NUM_THREADS"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "no_proxy", "NO_PROXY"),
)
_ADDRESSES = ("DATASET_MIRROR", "https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY")  # passed where they hold no secret
_MAX_PATH = 4096  # characters


@dataclass(frozen=True)
class Code:
    """What a rebuild would run."""

    commit: str
    lines: int  # of the recorded uncommitted changes
    files: tuple[str, ...]  # that they touch
    on_branch: bool  # whether a branch or tag of this clone contains the commit

    @property
    def is_reviewed(self) -> bool:
        """Whether all of it is in the history of a branch or tag."""
        return self.on_branch and not self.lines


def inspect(git: GitState, name: str, here: Workspace) -> Code:
    """Return which code a rebuild of the version `name` would run.

    Raises:
        RegistryError: there is no commit, it is not in this clone, or the changes are no diff.
    """
    if not git.commit:
        raise RegistryError(f"{name} was trained outside git: its code is unknown, so it cannot be verified")
    commit, branch = git.commit[:12], printable(git.branch or "no branch")[:100]
    absent = f"{name} was trained at commit {commit} ({branch}), which is not in this clone: `git fetch --all`"
    _git(here.root, "cat-file", "-e", f"{git.commit}^{{commit}}", failure=absent)
    if len(git.diff.encode(errors="replace")) > provenance.MAX_DIFF_BYTES + 100:
        raise RegistryError(f"{name} records {len(git.diff):,} characters of uncommitted changes, more than train ever writes")
    top = Path(_git(here.root, "rev-parse", "--show-toplevel").strip())
    listed = _git(top, "apply", "--numstat", "-z", "-", stdin=git.diff, failure=_misfit(git, name)) if git.diff else ""
    files = [line.split("\t", 2)[2] for line in listed.split("\0") if line.count("\t") >= 2]
    found = _git(here.root, "for-each-ref", f"--contains={git.commit}", "--count=1", "refs/heads", "refs/tags", "refs/remotes")
    return Code(git.commit, len(git.diff.splitlines()), tuple(map(printable, files)), bool(found))


def _misfit(git: GitState, name: str) -> str:
    changes = f"the uncommitted changes recorded with {name}"
    return f"{changes} do not apply to commit {str(git.commit)[:12]}, so it cannot be verified"


@contextmanager
def worktree(git: GitState, name: str, here: Workspace) -> Iterator[Workspace]:
    """Check out the commit of the version `name`, with its uncommitted changes, in a temporary folder; remove it at the end.

    Raises:
        RegistryError: there is no such commit, or the changes do not apply to it.
    """
    inspect(git, name, here)
    prefix = _git(here.root, "rev-parse", "--show-prefix").strip()  # of a project in a folder of a larger repository
    objects = Path(here.root, _git(here.root, "rev-parse", "--git-path", "objects").strip()).resolve()
    format_ = _git(here.root, "rev-parse", "--show-object-format").strip()
    folder = Path(tempfile.mkdtemp(prefix="verify-")).resolve()
    try:
        tree = folder / "checkout"
        _git(folder, "init", "--quiet", "--template=", f"--object-format={format_}", str(tree))
        (tree / ".git/objects/info").mkdir(exist_ok=True)
        (tree / ".git/objects/info/alternates").write_text(f"{objects}\n", encoding="utf-8")
        _git(tree, *_NO_HOOKS, "checkout", "--quiet", "--detach", str(git.commit))
        if git.diff:
            _git(tree, "apply", "--whitespace=nowarn", "-", stdin=git.diff, failure=_misfit(git, name))
        _check_links(tree, name)
        yield Workspace(tree / prefix, tree / prefix)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _git(root: Path, *arguments: str, stdin: str = "", failure: str = "") -> str:
    command, given = ["git", *arguments], stdin.encode(errors="surrogateescape")
    # GIT_DIR and its like, which git sets for its hooks, would lead a checkout into the user's repository.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or "CONFIG" in name}
    try:
        done = subprocess.run(command, cwd=root, env=variables, input=given, capture_output=True, check=False)
    except FileNotFoundError:
        raise RegistryError("git is not installed: verify needs it to check out the code of a version") from None
    if done.returncode != 0:
        reason = printable(done.stderr.decode(errors="replace").strip().partition("\n")[0])[:300]
        raise RegistryError(f"{failure or f'`{shlex.join(command)}` failed'} ({reason})")
    return done.stdout.decode(errors="replace")


def _check_links(tree: Path, name: str) -> None:
    """Refuse code with a symbolic link out of the worktree: whatever writes there would write to the user's files."""
    for folder, folders, files in os.walk(tree):
        for path in (Path(folder, each) for each in (*folders, *files)):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(tree):
                raise RegistryError(
                    f"{printable(str(path.relative_to(tree)))} in the recorded code of {name} is a link to "
                    f"{printable(str(path.readlink()))}, outside the worktree: a rebuild might write there"
                )


def write_params(entry: Entry, there: Workspace, here: Workspace) -> None:
    """Write the recorded params.yaml, with three params set to what they stand for in the worktree.

    - `ingest.source`: an absolute path, because a relative one counts from this checkout.
    - `train.threads`: the number that was used; 0 (all cores) may be another number on this machine.
    - `train.warm_start`: the alias that `lend_parent` gives to the recorded parent; the recorded alias may have moved.

    Raises:
        ParamsError: the recorded file is not a params.yaml, or leads where a rebuild must not read.
    """
    from ruamel.yaml import YAML

    write_text(there.params, entry.params)
    content = params.read_yaml(there.params)
    ingest, train = (content.get(name) if isinstance(content, dict) else None for name in ("ingest", "train"))
    if not isinstance(ingest, dict) or not isinstance(train, dict):
        raise ParamsError(f"provenance/params.yaml of {entry.name} has no section ingest or train: it was altered")
    if "source" in ingest:
        ingest["source"] = str(_source(ingest["source"], entry.name, there, here))
    train["threads"] = entry.record.threads
    if entry.record.warm_start:
        train["warm_start"] = _PARENT
    with replacing(there.params) as aside, aside.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)


def _source(value: object, name: str, there: Workspace, here: Workspace) -> Path:
    """Return where the recorded `ingest.source` lies; a rebuild reads it, and writes neither there nor above or below it."""
    shown = f"ingest.source = {printable(repr(value))[:200]} in provenance/params.yaml of {name}"
    try:
        if not isinstance(value, str) or not 0 < len(value) <= _MAX_PATH:
            raise ValueError("it is no path")
        path = (here.root / value).resolve()
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ValueError("it is neither a file nor a folder")
    except (OSError, ValueError, RuntimeError) as error:  # a null byte, a loop of links
        raise ParamsError(f"{shown} cannot be used: {printable(str(error))}") from None
    for written in (here.dataset.resolve(), there.root):
        if written.is_relative_to(path) or path.is_relative_to(written):
            raise ParamsError(f"{shown} is out of bounds: it overlaps {here.shown(written)}, which a rebuild writes")
    return path


def lend_parent(client: Any, record: TrainingRecord, there: Workspace) -> None:
    """Register the version that the training started from, if any, in the worktree's store, where `train` finds it.

    Call it before any stage runs: recorded code could put links where this writes.

    Raises:
        RegistryError: there is no such version any more, or it has other weights.
    """
    parent = record.warm_start
    if not parent:
        return
    if {*parent} < {"model_name", "version", "weights_digest"} or parent["model_name"] != record.model_name:
        raise RegistryError(f"warm_start in provenance/training.json names no version of {record.model_name}: it was altered")
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
    start = time.perf_counter()
    command = [sys.executable, "-m", "pipeline", stage]
    code, errors = sandbox.run(command, there.root, variables(there), network=stage == "ingest", shown=shown)
    if code != 0:
        reason = printable(errors.strip().rpartition("\n")[2].removeprefix("error: "))[:500]
        raise RegistryError(f"{stage} failed in the worktree: {reason or 'it printed no error'}")
    print(f"{stage:<10}{time.perf_counter() - start:,.1f} s", flush=True)


def variables(there: Workspace) -> Mapping[str, str]:
    """Return the environment of a stage; its home and temporary folder are in the worktree."""
    given = {name: os.environ[name] for name in _PASSED if name in os.environ}
    addresses = {name: os.environ[name] for name in _ADDRESSES if name in os.environ}
    given |= {name: value for name, value in addresses.items() if environment.shown_url(value) == value}
    folders = {"HOME": there.caches / "home", "TMPDIR": there.caches / "tmp"}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    own = {"MLFLOW_TRACKING_URI": _store(there), "PYTHONPATH": str(there.root), "PYTHONUNBUFFERED": "1"}
    return given | own | {name: str(folder) for name, folder in folders.items()}
