"""MLflow tracking: the only package that reads and writes runs and models, always through `MlflowClient`.

An active run (`mlflow.start_run`) would resume the parent under `mlflow run`, because the stages inherit MLFLOW_RUN_ID, and
reopening a finished run falsifies its duration. Each training has one run, found by its tag `training_id` or created again
from the outputs, since MLflow's ids mean nothing in another store. All writes are idempotent.
"""

from pipeline.tracking.content import Content, EvaluationRecord, logged_params, read_evaluation, verdict, write_evaluation
from pipeline.tracking.judged import as_candidate, candidate_number, count_candidate
from pipeline.tracking.live import LiveRun
from pipeline.tracking.models import logged_model
from pipeline.tracking.publishing import complete, missing, publish, publish_outputs, published_run
from pipeline.tracking.registered import (
    Source,
    artifact,
    find,
    find_version,
    model_folder,
    training_record,
)
from pipeline.tracking.runs import PROCESS, announce_changes, update_project_run, warn
from pipeline.tracking.store import check_place, connect, experiment_id, store_guard, tracking_uri
from pipeline.tracking.views import PROMOTIONS, TRAININGS
