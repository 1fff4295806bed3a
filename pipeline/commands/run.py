"""run: what `make run` does: get the data, `dvc repro`, say where to look."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pipeline import params
from pipeline.errors import DownloadError, ParamsError
from pipeline.ingest import download, remote
from pipeline.ingest.catalog import CATALOG
from pipeline.register import evidence
from pipeline.workspace import Workspace, replacing

EMBEDDED = "digits"  # ships inside scikit-learn


def run(dataset: str | None, name: str | None, url: str | None, workspace: Workspace) -> None:
    """Runs the whole pipeline.

    Args:
        dataset: Written into params.yaml first; None leaves what stands there.
        name: What one's own data is called, written along with `dataset`.
        url: Where one's own data lies, written along with `dataset`.
        workspace: The checkout.

    Raises:
        PipelineError: params.yaml or the data set cannot be used.
        SystemExit: a stage failed; its own `error:` line says why.
    """
    if dataset is not None:
        set_dataset(workspace.params, dataset, name, url)
    elif name is not None or url is not None:
        raise ParamsError("--name and --url are of a data set of your own: give them with --dataset folder, idx or npz")
    missing = _get_data(workspace)
    done = subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=workspace.root, env=child_environment(), check=False)
    if done.returncode != 0:
        sys.exit(1)  # the stage and dvc have said why
    _summary(workspace)
    if missing:
        print(f"\nThis is {EMBEDDED}, not {missing}: {missing} could not be had. `python -m pipeline run --dataset {missing}`")
        print("goes back to it.")


def _get_data(workspace: Workspace) -> str | None:
    """Brings the data set to this machine, or lists it where it is; falls to the embedded one where it cannot be had.

    Returns:
        The name of the data set that could not be had.
    """
    ingest = params.load(workspace.params).ingest
    wanted = ingest.dataset
    remote.refresh(ingest, workspace)
    if wanted not in CATALOG:
        return None
    try:
        download.fetch(wanted, workspace)
    except DownloadError as error:
        print(
            f"{error}\n\nGoing on with {EMBEDDED}, which needs no network: in params.yaml ingest.dataset is now {EMBEDDED}, "
            "and train.horizontal_flip false.\n"
        )
        set_dataset(workspace.params, EMBEDDED)
        return wanted
    return None


def set_dataset(path: Path, dataset: str, name: str | None = None, url: str | None = None) -> None:
    """Writes `ingest.dataset: dataset` into params.yaml, keeping its comments, as `dvc exp run -S` does.

    With it go the values that belong to the other data set only: its name, URL, class names and channels, and
    `train.horizontal_flip`, since a flipped digit is no digit; your own images are not flipped until params.yaml allows it.

    Args:
        path: params.yaml.
        dataset: A known data set, or the kind of one's own.
        name: What one's own is called; None keeps the name that stands there.
        url: Where one's own lies; None keeps the URL that stands there, unless the name is another.

    Raises:
        ParamsError: the file does not allow it; it is left as it was.
    """
    from ruamel.yaml import YAML

    params.load(path)
    yaml = YAML()  # round trip
    yaml.width = 1000  # long comments stay on their line
    content = yaml.load(path.read_text(encoding="utf-8"))
    ingest, known = content["ingest"], CATALOG.get(dataset)
    if ingest["dataset"] == dataset and name in (None, ingest["name"]) and url in (None, ingest["url"]):
        return
    if ingest["dataset"] != dataset:
        content["train"]["horizontal_flip"] = known is not None and known.horizontal_flip
    ingest["dataset"] = dataset
    if url is not None or known or name not in (None, ingest["name"]):
        ingest["url"] = url or ""
    if name is not None:
        ingest["name"] = name
    elif known:
        ingest["name"], ingest["class_names"], ingest["channels"] = "", [], 1
    with replacing(path) as aside:
        with aside.open("w", encoding="utf-8") as file:
            yaml.dump(content, file)
        try:
            params.load(aside)
        except ParamsError as error:
            raise ParamsError(str(error).replace(aside.name, path.name)) from None


def child_environment() -> Mapping[str, str]:
    """The environment for dvc: this Python first on the path, and a git identity where there is none.

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
