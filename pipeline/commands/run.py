"""`run`, which `make run` calls: get the data, `dvc repro`, print the result and the next commands."""

import json
import os
import re
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline import lost, params, provenance, tracking
from pipeline.commands.edit import LIMITS, set_dataset, set_training, set_values
from pipeline.errors import DownloadError, ParamsError, PipelineError
from pipeline.ingest import images, readers
from pipeline.ingest.folder import check_names
from pipeline.ingest.known import CATALOG, fetch
from pipeline.tracking import backup
from pipeline.workspace import Workspace, replacing

EMBEDDED = "digits"  # ships inside scikit-learn


def run(dataset: str | None, source: str | None, name: str | None, settings: Sequence[str], workspace: Workspace) -> None:
    """Run the whole pipeline.

    Args:
        dataset: Written into params.yaml first; None keeps its value, or is found out where `source` or `name` are given.
        source: Where the user's own data is, relative to the current folder; None keeps its value.
        name: Of the user's own data; None keeps its value, or is made from a new `source`.
        settings: `NAME=VALUE` of the training, written into params.yaml too.
        workspace: The checkout.

    Raises:
        PipelineError: params.yaml or the data set cannot be used.
        SystemExit: a stage failed; its own `error:` line says why.
    """
    tracking.check_place(workspace)
    if dataset is not None or source is not None or name is not None:
        _choose(workspace, dataset, source, name)
    for key, value in set_training(workspace.params, settings).items():
        print(f"params.yaml: {key} = {value}", flush=True)
    missing = _get_data(workspace)
    done = subprocess.run(["dvc", "repro"], cwd=workspace.root, env=child_environment(), check=False)
    if done.returncode != 0:
        sys.exit(1)  # the stage and dvc have printed why
    if "MLFLOW_RUN_ID" in os.environ:  # also where no stage had to run
        tracking.publish_outputs(workspace, params.load(workspace.params).tracking)
    _summary(workspace)
    if missing:
        print(
            f"\nThis is {EMBEDDED}: {missing} could not be downloaded. To try again: python -m pipeline run --dataset {missing}"
        )


def _choose(workspace: Workspace, dataset: str | None, source: str | None, name: str | None) -> None:
    """Write the data set into params.yaml; the user's own images, when they are first named, choose channels and size.

    Raises:
        PipelineError: it cannot be used; params.yaml is left as it was.
    """
    content, old = workspace.params.read_bytes(), params.load(workspace.params)
    before = old.ingest
    if source is not None and dataset in CATALOG:
        raise ParamsError(f"--source is for your own data, and {dataset} is not: leave one of them out")
    path = before.source if source is None else _from_root(source, workspace)
    if name is None and path != before.source:
        name = _slug(path)
    if dataset is None:
        if path == before.source and before.dataset not in CATALOG:
            dataset = before.dataset
        else:
            with _scratch(workspace) as scratch:
                dataset = readers.detect(workspace.root / path, workspace, scratch)
        print(f"{path}: --dataset {dataset} --name {name or before.name}", flush=True)
    try:
        set_dataset(workspace.params, dataset, name, path)
        new = params.load(workspace.params)
        after = new.ingest
        if dataset not in CATALOG and _identity(before) != _identity(after):
            _fit(workspace, after)
    except PipelineError:
        with replacing(workspace.params) as aside:
            aside.write_bytes(content)  # so that the next try looks at the images too
        raise
    if new.register != old.register:
        limits = ", ".join(f"{key}: {json.dumps(getattr(new.register, key))}" for key in LIMITS)
        print(f"limits for a model belong to its data set: register in params.yaml now has {limits}", flush=True)


def _identity(settings: params.IngestParams) -> tuple[str, ...]:
    return settings.dataset, settings.name, settings.source


def _from_root(source: str, workspace: Workspace) -> str:
    """Return a path as typed, relative to the checkout where it lies inside, else absolute."""
    path = Path(os.path.abspath(Path(source).expanduser()))  # noqa: PTH100 (not `resolve`: a link keeps its name)
    return path.relative_to(workspace.root).as_posix() if path.is_relative_to(workspace.root) else str(path)


def _slug(path: str) -> str:
    """Return the name of a folder or file as a name of a data set; one of a known data set becomes "my-…"."""
    stem = re.sub(r"(\.(tar|zip|t?gz|t?xz|t?bz2?|npz|csv|tsv|parquet))+$", "", Path(path).name.lower())
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    slug = re.sub("[^a-z0-9]+", "-", plain)[:60].strip("-")
    return slug if slug and slug not in CATALOG else f"my-{slug or 'images'}"


@contextmanager
def _scratch(workspace: Workspace) -> Iterator[Path]:
    workspace.caches.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workspace.caches) as folder:
        yield Path(folder)


def _fit(workspace: Workspace, settings: params.IngestParams) -> None:
    """Look at a sample of the user's images, and write the channels and the size that fit them into params.yaml."""
    with _scratch(workspace) as scratch, readers.opened(settings, workspace, scratch) as source:
        found = images.look(source.training)
    if found:
        set_values(workspace.params, {"ingest.channels": found.channels, "ingest.image_size": found.size})
        print(
            f"the images are {found.height}×{found.width} pixels (median), {100 * found.coloured:.0f} % in colour: params.yaml "
            f"now has ingest.channels: {found.channels} and ingest.image_size: {found.size}\n",
            flush=True,
        )


def _get_data(workspace: Workspace) -> str | None:
    """Download the data set, or switch params.yaml to the embedded one where that fails.

    Returns:
        The name of the data set that could not be downloaded.
    """
    settings = params.load(workspace.params).ingest
    wanted = settings.dataset
    if wanted not in CATALOG:
        check_names(workspace.root / settings.source)  # DVC would fail over them without saying which it is
        return None
    try:
        fetch(CATALOG[wanted], workspace)
    except DownloadError as error:
        print(
            f"{error}\n\nFalling back to {EMBEDDED}, which needs no network: params.yaml now has ingest.dataset: {EMBEDDED}, "
            "train.horizontal_flip: false, and null for the limits of register that are Fashion-MNIST's.\n"
        )
        set_dataset(workspace.params, EMBEDDED)
        return wanted
    return None


def child_environment() -> Mapping[str, str]:
    """Return the environment for dvc: this Python is the stages' `python`, and the dvc beside it, setup/dvc, is used."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def _summary(workspace: Workspace) -> None:
    training = provenance.read_training(workspace.training)
    registration = json.loads(workspace.registration.read_text(encoding="utf-8"))
    weakest, simple = registration["weakest_class"], registration["baseline"]
    failed = ", ".join(rule["text"] for rule in registration["rules"] if not rule["passed"])
    name, version = registration["model_name"], registration["version"]
    missing = lost.notice(workspace)
    print(
        f"\n{training.dataset_name}, {training.architecture}\n"
        f"  accuracy       {registration['accuracy']:.4f} on the test set\n"
        f"  baseline       {simple['accuracy']:.4f}, {simple['classifier']}\n"
        f"  weakest class  {weakest['class']}, recall {weakest['recall'] or 0:.4f}\n"
        f"  gate           {f'refused: {failed}' if failed else f'passed: {name} version {version}'}\n"
        f"  report         {workspace.shown(workspace.report)}\n\nnext:"
    )
    python = workspace.shown(Path(sys.executable))
    steps = {"make ui": "browse runs and models in MLflow"}
    if uncommitted := _uncommitted(workspace):
        steps[f"git add {' '.join(uncommitted)}"] = "commit the baseline of `dvc metrics diff`"
    if missing:
        steps[f"{python} -m pipeline sync"] = "publish what the registry lacks"
    elif not failed and (stage := _next_stage(workspace, name, int(version))):
        steps[f"{python} -m pipeline promote {version} {stage}"] = "promote the model"
    width = max(map(len, steps))
    for command, purpose in steps.items():
        print(f"  {command:<{width}}  # {purpose}")
    if missing:
        tracking.warn(missing)


def _next_stage(workspace: Workspace, model: str, version: int) -> str:
    """Return the stage that the version can be promoted to, by its file in registry/; "" for one in production."""
    stage = ""
    with suppress(PipelineError, KeyError):  # without its file it was not promoted here
        stage = backup.read(workspace, model).versions[version].tags.get("stage", "")
    return {"production": "", "staging": "production"}.get(stage, "staging")


def _uncommitted(workspace: Workspace) -> list[str]:
    """Return the files of this result that belong into git and differ from the last commit."""
    files = ("dvc.lock", "params.yaml", "reports/metrics.json", "registry")
    status = ("git", "status", "--porcelain", "--untracked-files=all", "--")
    return [
        file for file in files if subprocess.run([*status, file], cwd=workspace.root, capture_output=True, check=False).stdout
    ]
