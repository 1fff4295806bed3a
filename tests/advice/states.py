"""Each command that a message advises: the state in which the message says so, or the test of another package that runs it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.advice import damages as do
from tests.advice.damages import Break


@dataclass(frozen=True)
class State:
    """A checkout with something wrong, and the command that says so."""

    make: Break
    command: tuple[str, ...]
    says: str  # part of the message
    again: tuple[str, ...] = ()  # the command that is good afterwards; (): the same
    trains: bool = False  # the advice makes another model: of other data
    moves: bool = False  # the advice takes a damaged version out of use, and doctor goes on naming it

    def __str__(self) -> str:
        return self.says


def pipeline(*arguments: str) -> tuple[str, ...]:
    return ("python", "-m", "pipeline", *arguments)


# What these commands print, or fetch, is all they do; or they are named as what somebody has done.
SHOWN = re.compile(
    r"python -m pipeline (history|versions|doctor|ui)|git (show .*|fetch --all)|mlflow (--version|gc)|dvc metrics diff"
)
# They come after what only a person can do: change params or data, delete something in the UI, choose a key.
AFTER_A_CHANGE = {
    ("doctor/runs.py", "dvc repro -s -f register"),
    ("model_file.py", "dvc repro"),
    ("model_file.py", "dvc repro train"),
    ("promotion/signatures.py", "dvc repro -s -f register"),
    ("register/evidence.py", "dvc repro"),
    ("register/gate.py", "dvc repro -s -f register"),
    ("register/stage.py", "dvc repro -s -f train register"),
    ("signing.py", "ssh-add {}"),
    ("tracking/manifest.py", "dvc repro -s -f register"),
}
_LOG_PROFILE = "mlflow artifacts log-artifact --local-file reports/profile.json --artifact-path data --run-id {}"
_OFFLINE = "end_to_end/test_digits.py::test_without_network_or_mirror_the_shipped_params_run_on_digits_and_say_so"
_MOVED = "tracking/test_place.py::test_a_moved_store_is_recognised_and_its_files_are_read_where_they_are_after_the_fix"
_LOST = "sync/test_command.py::test_a_lost_registry_is_the_same_again_and_a_second_call_publishes_nothing"
# (file below pipeline/, command) → the test of another package that runs it
ELSEWHERE: Mapping[tuple[str, str], str] = {
    ("commands/versions.py", "python -m pipeline run"): _OFFLINE,
    ("compare/comparison.py", _LOG_PROFILE): "compare/test_comparison.py::test_the_advice_replaces_a_damaged_profile",
    ("doctor/backup.py", "python -m pipeline sync"): _LOST,
    ("doctor/complete.py", "dvc repro -s -f register"): (
        "doctor/test_complete.py::test_the_command_that_doctor_names_completes_the_run"
    ),
    ("doctor/complete.py", "python -m pipeline sync"): _LOST,
    ("doctor/place.py", "python -m pipeline doctor --fix"): _MOVED,
    ("doctor/runs.py", "dvc repro"): (
        "doctor/test_runs.py::test_a_killed_training_is_ended_at_its_last_metric_and_can_be_resumed"
    ),
    ("ingest/known.py", "python -m pipeline run --dataset digits"): _OFFLINE,
    ("lost.py", "dvc repro -s -f register"): (
        "end_to_end/test_lost_store.py::test_a_run_made_again_from_the_outputs_has_its_evaluation_and_can_be_promoted"
    ),
    ("lost.py", "python -m pipeline sync"): _LOST,
    ("params.py", "dvc import-url URL data/source"): (
        "end_to_end/test_own_images.py::test_a_file_that_dvc_imported_from_a_web_server_is_found_in_the_source"
    ),
    ("process.py", "dvc repro"): "train/test_resume.py::test_a_stage_ends_when_its_dvc_is_killed",
    ("promotion/history.py", "python -m pipeline promote VERSION STAGE"): (
        "promotion/test_promote.py::test_on_the_command_line_a_refusal_is_a_table_and_one_line"
    ),
    ("promotion/writer.py", "python -m pipeline run"): _OFFLINE,
    ("tracking/backup.py", "python -m pipeline sync"): _LOST,
    ("tracking/database.py", "mlflow db upgrade {}"): (
        "tracking/test_failures.py::test_a_database_of_an_older_mlflow_is_upgraded_by_the_command_in_the_message"
    ),
    ("tracking/failures.py", "python -m pipeline sync"): _LOST,
    ("tracking/lock.py", "python -m pipeline sync"): (
        "sync/test_command.py::test_a_sync_that_was_killed_anywhere_is_completed_by_the_next"
    ),
    ("tracking/models.py", "dvc checkout"): "test_restore.py::test_the_advice_brings_the_good_copy_back",
    (
        "tracking/models.py",
        "dvc repro train",
    ): "train/test_resume.py::test_killed_twice_it_ends_with_the_same_weights_in_the_same_run",
    ("tracking/place.py", "python -m pipeline doctor --fix"): _MOVED,
    ("tracking/publishing.py", "dvc repro -s -f register"): (
        "end_to_end/test_lost_store.py::test_register_publishes_the_evaluation_that_evaluate_could_not"
    ),
    ("tracking/store.py", "python -m pipeline {}"): _LOST,
}


_WAY_BACK = ("restore.py", "rm -rf {} && dvc checkout {}")
# (file below pipeline/, command as its source has it) → state
STATES: Sequence[tuple[tuple[str, str], State]] = (
    *(
        (_WAY_BACK, State(do.garbage(path), pipeline("evaluate"), f"is not what {stage} writes"))
        for path, stage in (
            ("reports/baseline.parquet", "validate"),
            ("reports/features.parquet", "validate"),
            ("reports/history.csv", "train"),
            ("models/training.json", "train"),
            ("data/dataset/dataset.json", "ingest"),
        )
    ),
    (_WAY_BACK, State(do.garbage("models/training_images.npy"), pipeline("evaluate"), "training_images.npy cannot be read")),
    (_WAY_BACK, State(do.garbage("models/model.keras"), pipeline("evaluate"), "models/model.keras")),
    (_WAY_BACK, State(do.garbage("reports/evaluation.json"), pipeline("register"), "is not what evaluate writes")),
    (_WAY_BACK, State(do.garbage("data/dataset/dataset.json"), pipeline("compare", "1", "3"), "is not what ingest writes")),
    (
        ("baseline.py", "dvc repro -s -f validate"),
        State(do.relabelled("reports/baseline.parquet"), pipeline("evaluate"), "belongs to a different test split"),
    ),
    (
        ("evaluate/evaluation.py", "dvc repro -s -f validate"),
        State(do.relabelled("reports/features.parquet"), pipeline("evaluate"), "belongs to a different test split"),
    ),
    *(
        (
            key,
            State(do.garbage("registry/digits-classifier/version-3.json"), pipeline("doctor"), "is not what was written there"),
        )
        for key in (
            ("tracking/backup.py", "git checkout {}"),
            ("tracking/backup.py", "python -m pipeline doctor --fix"),
        )
    ),
    (
        ("verify/recorded.py", "python -m pipeline sync"),
        State(do.of_version(3, "evaluation/intervals.csv", None), pipeline("verify", "3", "--yes"), "cannot be rebuilt"),
    ),
    (("workspace.py", "dvc repro {}"), State(do.removed("models/model.keras"), pipeline("evaluate"), "does not exist yet")),
    (
        ("train/stage.py", "dvc repro validate"),
        State(
            do.replaced("data/validated.json", "[0-9a-f]{8}", "00000000"),
            pipeline("train"),
            "belongs to a different data set",
            again=("dvc", "repro"),
        ),
    ),
    (("params.py", "git checkout {}"), State(do.removed("params.yaml"), pipeline("versions"), "params.yaml does not exist")),
    (("params.py", "git checkout params.yaml"), State(do.garbage("params.yaml"), pipeline("versions"), "is not a mapping")),
    (
        ("predictions.py", "dvc repro -s -f evaluate"),
        State(
            do.of_version(3, "evaluation/predictions.parquet", b"?"),
            pipeline("compare", "1", "3"),
            "is not what evaluate writes",
        ),
    ),
    (
        ("compare/models.py", "dvc repro -s -f evaluate"),
        State(do.of_version(3, "evaluation/predictions.parquet", None), pipeline("compare", "1", "3"), "has no evaluation"),
    ),
    (
        ("compare/models.py", "dvc repro ingest"),
        State(do.removed("data/dataset"), pipeline("compare", "1", "3"), "were evaluated on different data"),
    ),
    (
        ("doctor/command.py", "python -m pipeline doctor --fix"),
        State(
            do.in_store("UPDATE model_version_tags SET value = 'archived' WHERE key = 'stage' AND version = 3"),
            pipeline("doctor"),
            "fixes 1 of 1",
        ),
    ),
    (
        ("doctor/runs.py", "python -m pipeline rollback"),
        State(do.files_of_version(2), pipeline("doctor"), "(production) is not what", moves=True),
    ),
    (
        ("doctor/runs.py", "python -m pipeline archive {version}"),
        State(do.files_of_version(3), pipeline("doctor"), "(staging) is not what", moves=True),
    ),
    (
        ("doctor/stages.py", 'python -m pipeline doctor --accept "why"'),
        State(do.DELETED_RECORD, pipeline("doctor"), "the history was changed"),
    ),
    (
        ("doctor/stages.py", "python -m pipeline sync"),
        State(do.DELETED_RECORD, pipeline("doctor"), "the history was changed"),
    ),
    (
        ("promotion/history.py", 'python -m pipeline doctor --accept "why"'),
        State(do.DELETED_RECORD, pipeline("history"), "acknowledges it"),
    ),
    (
        ("promotion/history.py", "python -m pipeline doctor --fix"),
        State(
            do.in_store("UPDATE registered_model_aliases SET version = 1 WHERE alias = 'production'"),
            pipeline("history"),
            "it was changed without promote",
            moves=True,
        ),
    ),
    (
        ("restore.py", "rm -rf {} && dvc checkout {}"),
        State(do.flipped("data/dataset/test/images.npy"), pipeline("evaluate"), "changed on disk since ingest wrote it"),
    ),
    (
        ("restore.py", "rm -f {} && {}"),
        State(
            do.each_of(do.flipped_in_cache("data/dataset/test/images.npy"), do.flipped("data/dataset/test/images.npy")),
            pipeline("evaluate"),
            "DVC's copy is damaged too",
        ),
    ),
    (
        ("register/stage.py", "dvc repro -s -f evaluate"),
        State(
            do.replaced("reports/metrics.json", r'"accuracy": 0\.\d+', '"accuracy": 0.5'),
            pipeline("register"),
            "says accuracy 0.5000",
        ),
    ),
    (
        ("evaluate/stage.py", "dvc repro train"),
        State(do.OTHER_DATA, pipeline("evaluate"), "was trained on other data", trains=True),
    ),
    (("register/stage.py", "dvc repro"), State(do.OTHER_DATA, pipeline("register"), "was trained on other data", trains=True)),
)
