"""The only room that talks to MLflow tracking; everything goes through `MlflowClient`, never through an active run.

- An active run would resume the parent under `mlflow run` (the stages inherit MLFLOW_RUN_ID), and reopening a finished run
  falsifies its duration.
- One run per training, found by the tag `training_id`, or made again from the outputs: another machine and a new server
  know our id, not MLflow's.
- Everything is written idempotently: publishing a second time changes nothing.
"""

from pipeline.tracking.live import LiveRun
from pipeline.tracking.models import logged_model
from pipeline.tracking.registered import (
    Registered,
    Source,
    artifact,
    fetched,
    find,
    find_version,
    model_file,
    model_folder,
    training_record,
)
from pipeline.tracking.runs import PROCESS, Published, logged_params, publish, publish_to, run_for, warn
from pipeline.tracking.store import connect, experiment_id, has_store, store_guard, tracking_uri
from pipeline.tracking.view import PROMOTIONS, TRAININGS

__all__ = [
    "PROCESS",
    "PROMOTIONS",
    "TRAININGS",
    "LiveRun",
    "Published",
    "Registered",
    "Source",
    "artifact",
    "connect",
    "experiment_id",
    "fetched",
    "find",
    "find_version",
    "has_store",
    "logged_model",
    "logged_params",
    "model_file",
    "model_folder",
    "publish",
    "publish_to",
    "run_for",
    "store_guard",
    "tracking_uri",
    "training_record",
    "warn",
]
