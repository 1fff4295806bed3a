"""The only room that talks to MLflow tracking; everything goes through `MlflowClient`, never through an active run.

- An active run would resume the parent under `mlflow run` (the stages inherit MLFLOW_RUN_ID), and reopening a finished run
  falsifies its duration.
- One run per training, found by the tag `training_id`, or made again from the outputs: another machine and a new server
  know our id, not MLflow's.
- Everything is written idempotently: publishing a second time changes nothing.
"""

from pipeline.tracking.live import LiveRun
from pipeline.tracking.models import logged_model
from pipeline.tracking.registered import Registered, fetched
from pipeline.tracking.runs import Published, publish, publish_to, run_for
from pipeline.tracking.store import connect, experiment_id, tracking_uri

__all__ = [
    "LiveRun",
    "Published",
    "Registered",
    "connect",
    "experiment_id",
    "fetched",
    "logged_model",
    "publish",
    "publish_to",
    "run_for",
    "tracking_uri",
]
