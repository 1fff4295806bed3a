"""Every command that a message advises is run in the state that produces the message; the state is good afterwards."""

import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from tests.advice.commands import advised, in_backticks
from tests.conftest import PROJECT, Shell

Break = Callable[[Path], None]


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


def _garbage(path: str) -> Break:
    def make(checkout: Path) -> None:
        (checkout / path).write_bytes(b"not what it was")

    return make


def _removed(path: str) -> Break:
    def make(checkout: Path) -> None:
        folder = checkout / path
        shutil.rmtree(folder) if folder.is_dir() else folder.unlink()

    return make


def _pipeline(*arguments: str) -> tuple[str, ...]:
    return ("python", "-m", "pipeline", *arguments)


def _other(path: str, old: str, new: str) -> Break:
    """Replace text in a file; what fits `old` first."""

    def make(checkout: Path) -> None:
        text = (checkout / path).read_text()
        assert re.search(old, text)
        (checkout / path).write_text(re.sub(old, new, text, count=1))

    return make


def _in_store(*statements: str) -> Break:
    def make(checkout: Path) -> None:
        with closing(sqlite3.connect(checkout / "mlflow.db")) as store:
            for statement in statements:
                assert store.execute(statement).rowcount > 0, statement
            store.commit()

    return make


def _of_version(version: int, path: str, content: bytes | None) -> Break:
    """Replace or remove an artifact of the version's run."""

    def make(checkout: Path) -> None:
        with closing(sqlite3.connect(checkout / "mlflow.db")) as store:
            find = "SELECT artifact_uri FROM runs JOIN model_versions ON run_uuid = run_id WHERE version = ?"
            folder = Path(store.execute(find, (version,)).fetchone()[0].removeprefix("file://"))
        assert (folder / path).is_file()
        (folder / path).write_bytes(content) if content is not None else (folder / path).unlink()

    return make


def _files_of_version(version: int) -> Break:
    """Alter the version's model file."""

    def make(checkout: Path) -> None:
        with closing(sqlite3.connect(checkout / "mlflow.db")) as store:
            find = "SELECT storage_location FROM model_versions WHERE version = ?"
            folder = Path(store.execute(find, (version,)).fetchone()[0].removeprefix("file://"))
        file = folder / "data/model.keras"
        file.write_bytes(file.read_bytes()[:-1] + b"?")

    return make


def _relabelled(path: str) -> Break:
    """Turn the labels in a table around, so that it is one of other images."""

    def make(checkout: Path) -> None:
        table = parquet.read_table(checkout / path)
        place = table.column_names.index("label")
        turned = table.set_column(place, "label", pyarrow.array(table["label"].to_pylist()[::-1], table["label"].type))
        parquet.write_table(turned, checkout / path)

    return make


def _all(*breaks: Break) -> Break:
    def make(checkout: Path) -> None:
        for each in breaks:
            each(checkout)

    return make


def _flipped(path: str) -> Break:
    """Flip a bit in the middle of the file, whose time stays."""

    def make(checkout: Path) -> None:
        _flip(checkout / path)

    return make


def _flipped_in_cache(path: str) -> Break:
    """Flip the same bit in DVC's copy of the file."""

    def make(checkout: Path) -> None:
        md5 = hashlib.md5((checkout / path).read_bytes(), usedforsecurity=False).hexdigest()
        _flip(checkout / ".dvc/cache/files/md5" / md5[:2] / md5[2:])

    return make


def _flip(file: Path) -> None:
    status, content = file.stat(), bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)
    file.chmod(status.st_mode)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def _ingest_other_data(checkout: Path) -> None:
    _other("params.yaml", "seed: 44", "seed: 45")(checkout)
    for stage in ("ingest", "validate"):
        subprocess.run([sys.executable, "-m", "pipeline", stage], cwd=checkout, check=True, capture_output=True)


_OTHER_DATA: Break = _ingest_other_data
_DELETED_RECORD = _in_store("UPDATE runs SET lifecycle_stage = 'deleted' WHERE name LIKE '2 promote%'")

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
        (_WAY_BACK, State(_garbage(path), _pipeline("evaluate"), f"is not what {stage} writes"))
        for path, stage in (
            ("reports/baseline.parquet", "validate"),
            ("reports/features.parquet", "validate"),
            ("reports/history.csv", "train"),
            ("models/training.json", "train"),
            ("data/dataset/dataset.json", "ingest"),
        )
    ),
    (_WAY_BACK, State(_garbage("models/training_images.npy"), _pipeline("evaluate"), "training_images.npy cannot be read")),
    (_WAY_BACK, State(_garbage("models/model.keras"), _pipeline("evaluate"), "models/model.keras")),
    (_WAY_BACK, State(_garbage("reports/evaluation.json"), _pipeline("register"), "is not what evaluate writes")),
    (_WAY_BACK, State(_garbage("data/dataset/dataset.json"), _pipeline("compare", "1", "3"), "is not what ingest writes")),
    (
        ("baseline.py", "dvc repro -s -f validate"),
        State(_relabelled("reports/baseline.parquet"), _pipeline("evaluate"), "belongs to a different test split"),
    ),
    (
        ("evaluate/evaluation.py", "dvc repro -s -f validate"),
        State(_relabelled("reports/features.parquet"), _pipeline("evaluate"), "belongs to a different test split"),
    ),
    *(
        (
            key,
            State(_garbage("registry/digits-classifier/version-3.json"), _pipeline("doctor"), "is not what was written there"),
        )
        for key in (
            ("tracking/backup.py", "git checkout {}"),
            ("tracking/backup.py", "python -m pipeline doctor --fix"),
        )
    ),
    (
        ("verify/recorded.py", "python -m pipeline sync"),
        State(_of_version(3, "evaluation/intervals.csv", None), _pipeline("verify", "3", "--yes"), "cannot be rebuilt"),
    ),
    (("workspace.py", "dvc repro {}"), State(_removed("models/model.keras"), _pipeline("evaluate"), "does not exist yet")),
    (
        ("train/stage.py", "dvc repro validate"),
        State(
            _other("data/validated.json", "[0-9a-f]{8}", "00000000"),
            _pipeline("train"),
            "belongs to a different data set",
            again=("dvc", "repro"),
        ),
    ),
    (("params.py", "git checkout {}"), State(_removed("params.yaml"), _pipeline("versions"), "params.yaml does not exist")),
    (("params.py", "git checkout params.yaml"), State(_garbage("params.yaml"), _pipeline("versions"), "is not a mapping")),
    (
        ("predictions.py", "dvc repro -s -f evaluate"),
        State(
            _of_version(3, "evaluation/predictions.parquet", b"?"),
            _pipeline("compare", "1", "3"),
            "is not what evaluate writes",
        ),
    ),
    (
        ("compare/models.py", "dvc repro -s -f evaluate"),
        State(_of_version(3, "evaluation/predictions.parquet", None), _pipeline("compare", "1", "3"), "has no evaluation"),
    ),
    (
        ("compare/models.py", "dvc repro ingest"),
        State(_removed("data/dataset"), _pipeline("compare", "1", "3"), "were evaluated on different data"),
    ),
    (
        ("doctor/command.py", "python -m pipeline doctor --fix"),
        State(
            _in_store("UPDATE model_version_tags SET value = 'archived' WHERE key = 'stage' AND version = 3"),
            _pipeline("doctor"),
            "fixes 1 of 1",
        ),
    ),
    (
        ("doctor/runs.py", "python -m pipeline rollback"),
        State(_files_of_version(2), _pipeline("doctor"), "(production) is not what", moves=True),
    ),
    (
        ("doctor/runs.py", "python -m pipeline archive {version}"),
        State(_files_of_version(3), _pipeline("doctor"), "(staging) is not what", moves=True),
    ),
    (
        ("doctor/stages.py", 'python -m pipeline doctor --accept "why"'),
        State(_DELETED_RECORD, _pipeline("doctor"), "the history was changed"),
    ),
    (
        ("doctor/stages.py", "python -m pipeline sync"),
        State(_DELETED_RECORD, _pipeline("doctor"), "the history was changed"),
    ),
    (
        ("promotion/history.py", 'python -m pipeline doctor --accept "why"'),
        State(_DELETED_RECORD, _pipeline("history"), "acknowledges it"),
    ),
    (
        ("promotion/history.py", "python -m pipeline doctor --fix"),
        State(
            _in_store("UPDATE registered_model_aliases SET version = 1 WHERE alias = 'production'"),
            _pipeline("history"),
            "it was changed without promote",
            moves=True,
        ),
    ),
    (
        ("restore.py", "rm -rf {} && dvc checkout {}"),
        State(_flipped("data/dataset/test/images.npy"), _pipeline("evaluate"), "changed on disk since ingest wrote it"),
    ),
    (
        ("restore.py", "rm -f {} && {}"),
        State(
            _all(_flipped_in_cache("data/dataset/test/images.npy"), _flipped("data/dataset/test/images.npy")),
            _pipeline("evaluate"),
            "DVC's copy is damaged too",
        ),
    ),
    (
        ("register/stage.py", "dvc repro -s -f evaluate"),
        State(
            _other("reports/metrics.json", r'"accuracy": 0\.\d+', '"accuracy": 0.5'),
            _pipeline("register"),
            "says accuracy 0.5000",
        ),
    ),
    (
        ("evaluate/stage.py", "dvc repro train"),
        State(_OTHER_DATA, _pipeline("evaluate"), "was trained on other data", trains=True),
    ),
    (("register/stage.py", "dvc repro"), State(_OTHER_DATA, _pipeline("register"), "was trained on other data", trains=True)),
)


@dataclass(frozen=True)
class Facts:
    """What advice must not change: that nothing was trained, registered, promoted or deleted again."""

    training: str
    weights: str
    runs: int
    versions: tuple[str, ...]
    aliases: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, checkout: Path) -> "Facts":
        training = json.loads((checkout / "models/training.json").read_text())
        with closing(sqlite3.connect(checkout / "mlflow.db")) as store:
            trained = "SELECT count(*) FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = 'digits'"
            runs = store.execute(f"{trained} AND runs.lifecycle_stage = 'active'").fetchone()[0]
            versions = store.execute("SELECT version, run_id FROM model_versions ORDER BY version").fetchall()
            aliases = store.execute("SELECT alias, version FROM registered_model_aliases ORDER BY alias").fetchall()
        return cls(
            training["training_id"], training["weights_digest"], runs, tuple(f"{a} {b}" for a, b in versions), tuple(aliases)
        )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, new_clone: Callable[[Path], Path], shell: Shell) -> Path:
    """A checkout of digits: version 1 archived, 2 in production, 3, of other splits, in staging; copies lie where it lay."""
    folder = new_clone(tmp_path_factory.mktemp("advice") / "project")
    seeds = {"1": ("train", "42"), "2": ("train", "43"), "3": ("ingest", "44")}
    # A gate that every model passes, after a short training.
    settings = ("dataset: fashion-mnist", "digits"), ("min_steps: 1000", "300"), (r"baseline_significance: 0\.05", "null")
    for old, new in settings:
        _other("params.yaml", old, f"{old.partition(':')[0]}: {new}")(folder)
    for version, (section, seed) in seeds.items():
        _other("params.yaml", rf"(?ms)^({section}:.*?\n  seed: )\d+", rf"\g<1>{seed}")(folder)
        shell("dvc", "repro", cwd=folder)
        for stage in ("staging", "production")[: 1 + (version != "3")]:
            shell(*_pipeline("promote", version, stage, "--force", "--reason", "to have one"), cwd=folder)
    shell("git", "add", "-A", cwd=folder)
    shell("git", "-c", "user.name=me", "-c", "user.email=me@localhost", "commit", "-q", "-m", "three versions", cwd=folder)
    shutil.rmtree(folder / ".checkpoints")  # with it, training again would cost nothing and change nothing
    return folder.rename(folder.with_name("original"))


@pytest.fixture
def checkout(original: Path) -> Iterator[Path]:
    folder = original.with_name("project")
    shutil.copytree(original, folder, symlinks=True)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("key", "state"), STATES, ids=lambda value: value.says if isinstance(value, State) else " ".join(value)
)
def test_advice_leads_to_a_good_state_and_does_no_harm(
    key: tuple[str, str], state: State, checkout: Path, shell: Shell
) -> None:
    before = Facts.of(checkout)
    state.make(checkout)
    failed = shell(*state.command, cwd=checkout, check=False, COLUMNS="1000")
    printed = failed.stdout + failed.stderr
    assert state.says in printed
    commands = in_backticks(printed)
    pattern = re.sub(r"\\{\w*\\}", "[^`]+", re.escape(key[1]))
    assert any(re.fullmatch(pattern, command) for command in commands), commands
    for command in commands:
        shell("bash", "-c", command, cwd=checkout)
    again = shell(*(state.again or state.command), cwd=checkout, check=not state.moves, COLUMNS="1000")
    assert state.says not in again.stdout + again.stderr
    after = Facts.of(checkout)
    if state.trains:
        assert after.training != before.training
        assert {*before.versions} <= {*after.versions}
        return
    assert (replace(after, aliases=before.aliases) if state.moves else after) == before
    assert "up to date" in shell("dvc", "status", cwd=checkout).stdout


def test_every_command_in_a_message_is_run_by_a_test() -> None:
    found = advised(PROJECT / "pipeline")
    tested = {*dict(STATES), *ELSEWHERE, *AFTER_A_CHANGE}
    untested = {key: line for key, line in found.items() if key not in tested and not SHOWN.fullmatch(key[1])}
    assert not untested
    assert not tested - {*found}, "no message has these any more"


@pytest.mark.parametrize("test", sorted({*ELSEWHERE.values()}))
def test_the_test_that_runs_a_command_exists(test: str) -> None:
    file, _, name = test.partition("::")
    assert f"def {name}(" in (PROJECT / "tests" / file).read_text(encoding="utf-8")
