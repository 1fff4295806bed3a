"""The version that a training began with (`train.warm_start`), lent to the worktree's own store under its number and alias."""

import shutil
from typing import Any

from pipeline import provenance, tracking
from pipeline.errors import RegistryError
from pipeline.provenance import TrainingRecord
from pipeline.tracking import Source
from pipeline.verify.worktree import Worktree


def lend(client: Any, record: TrainingRecord, copy: Worktree) -> None:
    """Makes `train.warm_start` in the worktree find what it found then; does nothing for a training that began anew.

    Args:
        client: Of the user's store, which is read only.
        record: Of the training; it says which version it began with.
        copy: Its store is given the version.

    Raises:
        RegistryError: there is no such version any more, or it has other weights.
    """
    began = record.warm_start
    if not began:
        return
    parent = tracking.find_version(client, began["model_name"], began["version"])
    known = tracking.training_record(client, parent)
    if known.weights_digest != began["weights_digest"]:
        raise RegistryError(
            f"the training began with the weights {began['weights_digest'][:12]} of {began['model_name']} version "
            f"{began['version']}, which has {known.weights_digest[:12]} now: without them it cannot be derived again"
        )
    files = copy.workspace.root / "lent"
    with tracking.model_folder(client, parent) as folder:
        shutil.copytree(folder, files / "model")
    provenance.write(files / "training.json", known)
    tags = client.get_model_version(parent.model_name, parent.version).tags
    _register(parent, tags, str(record.params["train"]["warm_start"]), copy)


def _register(parent: Source, tags: dict[str, str], wanted: str, copy: Worktree) -> None:
    """With a client of its own: `tracking.connect` would make the worktree's store that of this process."""
    from mlflow import MlflowClient

    files, name = copy.workspace.root / "lent", parent.model_name
    store = MlflowClient(copy.store, copy.store)
    experiment = store.create_experiment("lent", artifact_location=(files / "runs").as_uri())
    run_id = store.create_run(experiment).info.run_id
    store.log_artifact(run_id, str(files / "training.json"), "provenance")
    store.create_registered_model(name)
    for _ in range(int(str(parent.version))):  # numbers cannot be chosen
        version = store.create_model_version(name, (files / "model").as_uri(), run_id, tags=tags)
    if wanted != str(version.version):
        store.set_registered_model_alias(name, wanted, version.version)
