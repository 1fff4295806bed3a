"""`run`, which `make run` calls: get the data, `dvc repro`, print the result and the next commands."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from pipeline import params
from pipeline.errors import DownloadError, ParamsError
from pipeline.ingest.known import CATALOG, fetch
from pipeline.register import evidence
from pipeline.workspace import Workspace, replacing

EMBEDDED = "digits"  # ships inside scikit-learn


def run(dataset: str | None, name: str | None, workspace: Workspace) -> None:
    """Run the whole pipeline.

    Args:
        dataset: Written into params.yaml first; None keeps its value.
        name: Name of the user's own data, written along with `dataset`.
        workspace: The checkout.

    Raises:
        PipelineError: params.yaml or the data set cannot be used.
        SystemExit: a stage failed; its own `error:` line says why.
    """
    if dataset is not None:
        set_dataset(workspace.params, dataset, name)
    elif name is not None:
        raise ParamsError("--name is for your own data: use it with --dataset folder, idx or npz")
    missing = _get_data(workspace)
    done = subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=workspace.root, env=child_environment(), check=False)
    if done.returncode != 0:
        sys.exit(1)  # the stage and dvc have printed why
    _summary(workspace)
    if missing:
        print(
            f"\nThis is {EMBEDDED}: {missing} could not be downloaded. To try again: python -m pipeline run --dataset {missing}"
        )


def _get_data(workspace: Workspace) -> str | None:
    """Download the data set, or switch params.yaml to the embedded one where that fails.

    Returns:
        The name of the data set that could not be downloaded.
    """
    wanted = params.load(workspace.params).ingest.dataset
    if wanted not in CATALOG:
        return None
    try:
        fetch(CATALOG[wanted], workspace)
    except DownloadError as error:
        print(
            f"{error}\n\nFalling back to {EMBEDDED}, which needs no network: params.yaml now has ingest.dataset: {EMBEDDED} "
            "and train.horizontal_flip: false.\n"
        )
        set_dataset(workspace.params, EMBEDDED)
        return wanted
    return None


def set_dataset(path: Path, dataset: str, name: str | None = None) -> None:
    """Write `ingest.dataset` into params.yaml, and with it what depends on it; every other byte stays as it was.

    A known data set has no name, class names or channels to choose. Only data known to survive a horizontal flip is flipped:
    a flipped digit is no digit, so the user's own data is not flipped until params.yaml allows it.

    Args:
        path: params.yaml.
        dataset: A known data set, or the kind of the user's own.
        name: Name of the user's own data; None keeps the one in the file.

    Raises:
        ParamsError: the result would not be valid; the file is left as it was.
    """
    current, known = params.load(path).ingest, CATALOG.get(dataset)
    values: dict[str, object] = {}
    if current.dataset != dataset:
        values = {"ingest.dataset": dataset, "train.horizontal_flip": known is not None and known.horizontal_flip}
        if known:
            values |= {"ingest.name": "", "ingest.class_names": [], "ingest.channels": 1}
    if name is not None:
        values["ingest.name"] = name
    set_values(path, values)


def set_values(path: Path, changes: Mapping[str, Any]) -> None:
    """Write other values for the keys of `changes`, such as `train.seed`, into `path`; every other byte stays as it was.

    Raises:
        ParamsError: the file or a new value breaks a rule, or a value is shared with others (YAML aliases and merges); the file
            is left as it was.
    """
    params.load(path)
    wanted, changed = params.read_yaml(path), dict(changes)
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = reduce(getitem, sections, wanted)
        if section[name] == value:
            del changed[key]
        section[name] = value
    with replacing(path) as aside:
        try:
            aside.write_bytes(_with_values(path.read_bytes().decode("utf-8"), changed).encode("utf-8"))
            params.load(aside)
            same = params.read_yaml(aside) == wanted
        except ParamsError as error:
            raise ParamsError(str(error).replace(aside.name, path.name)) from None
        except KeyError:
            same = False
        if not same:
            raise ParamsError(f"{path.name}: {', '.join(changed)} cannot be changed automatically: edit them by hand")


def _with_values(text: str, changes: Mapping[str, Any]) -> str:
    """Return YAML `text` with other values for the keys of `changes`, such as `train.seed`; all else keeps its characters.

    Raises:
        KeyError: a value is not written at its key, or is shared with others (YAML aliases and merges).
    """
    from ruamel.yaml import YAML

    root = YAML(typ="safe", pure=True).compose(text)
    edits = [(*_span(root, key.split(".")), _scalar(value)) for key, value in changes.items()]
    for start, end, new in sorted(edits, reverse=True):  # from the last, so that earlier positions stay valid
        end = start + len(text[start:end].rstrip())  # a block of text ends behind its line break
        text = text[:start] + new + text[end:]
    return text


def _span(node: Any, keys: list[str]) -> tuple[int, int]:
    """Return where the text of a value starts and ends."""
    for name in keys:
        node = {key.value: value for key, value in node.value}[name]
    if node.anchor:
        raise KeyError(name)
    last = node
    while last.id == "sequence" and not last.flow_style:  # a block list's own end is where the next key starts
        last = last.value[-1]
    return node.start_mark.index, last.end_mark.index


def _scalar(value: Any) -> str:
    """Return a value as YAML: text plain where it reads back as text, everything else as JSON, which is YAML too."""
    from ruamel.yaml import YAML

    plain = isinstance(value, str) and value and YAML(typ="safe", pure=True).load(value) == value
    return value if plain else json.dumps(value, ensure_ascii=False)


def child_environment() -> Mapping[str, str]:
    """Return the environment for dvc: this Python first on the path, and a git identity if the user has none.

    Without an identity a second `dvc exp run` fails with "unexpected error".
    """
    environment = dict(os.environ)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    for role in ("AUTHOR", "COMMITTER"):
        if subprocess.run(["git", "var", f"GIT_{role}_IDENT"], capture_output=True, check=False).returncode != 0:
            environment[f"GIT_{role}_NAME"], environment[f"GIT_{role}_EMAIL"] = "pipeline", "pipeline@localhost"
    return environment


def _summary(workspace: Workspace) -> None:
    facts = evidence.read(workspace)
    weakest = min(facts.recalls, key=lambda name: facts.recalls[name])
    registration = json.loads(workspace.registration.read_text(encoding="utf-8"))
    failed = [rule["text"] for rule in registration["rules"] if not rule["passed"]]
    gate = (
        f"refused: {', '.join(failed)}" if failed else f"passed: {registration['model_name']} version {registration['version']}"
    )
    print(
        f"\n{facts.training.dataset_name} · {facts.training.architecture}\n"
        f"  accuracy       {facts.metrics['accuracy']:.4f} on the test set\n"
        f"  weakest class  {weakest}, recall {facts.recalls[weakest]:.4f}\n"
        f"  gate           {gate}\n"
        f"  look at        {workspace.shown(workspace.report)} · {workspace.shown(workspace.validation_html)}\n"
        f"  MLflow UI      make ui\n"
        f"  versions       .venv/bin/python -m pipeline versions"
    )
    if not failed:
        print(f"  promote it     .venv/bin/python -m pipeline promote {registration['version']} staging")
    if uncommitted := _uncommitted(workspace):
        print(f"  commit         git add {' '.join(uncommitted)}   (the baseline of `dvc metrics diff`)")


def _uncommitted(workspace: Workspace) -> list[str]:
    """Return the files of this result that belong into git and differ from the last commit."""
    files = ("dvc.lock", "params.yaml", "reports/metrics.json")
    status = ("git", "status", "--porcelain", "--untracked-files=all", "--")
    return [
        file for file in files if subprocess.run([*status, file], cwd=workspace.root, capture_output=True, check=False).stdout
    ]
