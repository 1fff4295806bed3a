"""doctor, on registries in which somebody used the UI or a process was killed; in SQLite, and on a server over PostgreSQL."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.doctor import command
from pipeline.errors import LockedError
from pipeline.project import Project
from pipeline.promotion import ledger, transitions
from pipeline.tracking import lock
from tests.doctor.cases import DoctorCase
from tests.promotion.registry import COMPLETED, POINTS, REVERTED, Movers

PROJECT = Path(__file__).parents[2]
Shell = Callable[..., Any]
PRODUCTION, STAGING, ARCHIVED = (("production",) * 3, ("staging",) * 3, ("archived",) * 3)
FIELD = "MLflow's stage field"


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")


def test_of_a_healthy_registry_it_lists_what_it_checked(case: DoctorCase, capsys: pytest.CaptureFixture[str]) -> None:
    assert case.doctor() == (True, [])
    assert case.doctor(fix=True) == (True, [])
    command.run(False, Project.load(case.registry.workspace))
    checked = "the lock, the files of 4 versions, the content of 4 runs, the stages of 4 versions, 3 records of the history, "
    checked += "0 runs in state RUNNING, the runs of 4 versions, no files of the registry"
    assert capsys.readouterr().out.startswith(f"{case.model}: no problems found\nchecked {checked}\n")
    assert case.registry.shown() == {"1": PRODUCTION, "2": STAGING}
    assert len(case.registry.entries()) == 3
    assert lock.read(case.client, case.model) == {}


def move_alias(case: DoctorCase) -> None:
    case.client.set_registered_model_alias(case.model, "staging", "3")


def delete_alias(case: DoctorCase) -> None:
    case.client.delete_registered_model_alias(case.model, "staging")


def change_field(case: DoctorCase) -> None:
    transitions.set_field(case.client, case.model, "3", "production")


def archive_by_field(case: DoctorCase) -> None:
    transitions.set_field(case.client, case.model, "1", "archived")


def edit_tag(case: DoctorCase) -> None:
    case.client.set_model_version_tag(case.model, "2", "stage", "Prod")


def archive_by_tag(case: DoctorCase) -> None:
    case.client.set_model_version_tag(case.model, "4", "stage", "archived")


def second_alias(case: DoctorCase) -> None:
    case.client.set_registered_model_alias(case.model, "staging", "1")


AS_IT_WAS = {"1": PRODUCTION, "2": STAGING}


@pytest.mark.parametrize(
    ("change", "found", "after"),
    [
        (
            move_alias,
            [
                f"version 2: alias none, tag `stage` staging, {FIELD} staging$",
                f"version 3: alias staging, tag `stage` none, {FIELD} none$",
            ],
            {"1": PRODUCTION, "3": STAGING},
        ),
        (delete_alias, [f"version 2: alias none, tag `stage` staging, {FIELD} staging$"], {"1": PRODUCTION}),
        (change_field, [f"version 3: alias none, tag `stage` none, {FIELD} production$"], AS_IT_WAS),
        (archive_by_field, [f"version 1: alias production, tag `stage` production, {FIELD} archived$"], AS_IT_WAS),
        (edit_tag, [f"version 2: alias staging, tag `stage` Prod, {FIELD} staging$"], AS_IT_WAS),
        (archive_by_tag, [f"version 4: alias none, tag `stage` archived, {FIELD} none$"], {**AS_IT_WAS, "4": ARCHIVED}),
        (
            second_alias,
            [
                f"version 1: alias production and staging, tag `stage` production, {FIELD} production$",
                f"version 2: alias none, tag `stage` staging, {FIELD} staging$",
            ],
            {"1": PRODUCTION},
        ),
    ],
)
def test_what_was_changed_in_the_ui_follows_the_alias(
    local_case: DoctorCase, change: Callable[[DoctorCase], None], found: list[str], after: dict[str, Any]
) -> None:
    change(local_case)
    local_case.assert_fixes(*found)
    assert local_case.registry.shown() == after
    assert len(local_case.registry.entries()) == 3


def test_all_of_it_at_once(case: DoctorCase) -> None:
    for change in (second_alias, change_field, archive_by_tag):
        change(case)
    case.assert_fixes("^version 1: ", "^version 2: ", "^version 3: ", "^version 4: ")
    assert case.registry.shown() == {"1": PRODUCTION, "4": ARCHIVED}


def test_an_mlflow_without_stages_has_no_field_to_disagree(local_case: DoctorCase, monkeypatch: pytest.MonkeyPatch) -> None:
    change_field(local_case)
    monkeypatch.delattr(type(local_case.client), "transition_model_version_stage")
    assert local_case.doctor() == (True, [])
    edit_tag(local_case)
    local_case.assert_fixes("version 2: alias staging, tag `stage` Prod$")


def set_production(version: str) -> Callable[[DoctorCase], None]:
    return lambda case: case.client.set_registered_model_alias(case.model, "production", version)


def delete_production_alias(case: DoctorCase) -> None:
    case.client.delete_registered_model_alias(case.model, "production")


def deleted(case: DoctorCase) -> None:
    case.client.delete_model_version(case.model, "1")


@pytest.mark.parametrize(
    ("change", "found", "after", "record"),
    [
        (
            set_production("3"),
            "production is version 3; according to the history it is version 1",
            {"1": ARCHIVED, "2": STAGING, "3": PRODUCTION},
            ("3", "none", "production", "1"),
        ),
        (
            set_production("2"),
            "production is version 2; according to the history it is version 1",
            {"1": ARCHIVED, "2": PRODUCTION},
            ("2", "staging", "production", "1"),
        ),
        (
            delete_production_alias,
            "production is empty; according to the history it is version 1",
            {"1": ARCHIVED, "2": STAGING},
            ("1", "production", "archived", None),
        ),
        (
            deleted,
            "production is empty; according to the history it is version 1, which was deleted",
            {"2": STAGING},
            ("1", "production", "none", None),
        ),
    ],
)
def test_production_moved_outside_of_promote_stays_and_gets_its_record(
    case: DoctorCase, change: Callable[[DoctorCase], None], found: str, after: dict[str, Any], record: tuple[str, ...]
) -> None:
    change(case)
    in_production = transitions.current_stages(case.client, case.model).aliases.get("production")
    case.assert_fixes(f"^{found}$")
    assert case.registry.shown() == after
    written = case.registry.entries()[-1].record
    assert (written.version, written.source, written.target, written.replaced) == record
    assert (written.kind, written.reason[:15]) == ("force", "found by doctor")
    assert case.registry.in_production()[-2:] == ["1", in_production]
    assert case.registry.problems() == []


def test_a_registry_in_which_nobody_ever_promoted(local_case: DoctorCase) -> None:
    experiment = local_case.client.get_experiment_by_name(ledger.experiment_name(local_case.model))
    for run in local_case.client.search_runs([experiment.experiment_id]):
        local_case.client.delete_run(run.info.run_id)
    local_case.client.delete_registered_model_tag(local_case.model, ledger.HEAD)
    local_case.assert_fixes("^production is version 1; according to the history it is empty$")
    assert [entry.record.version for entry in local_case.registry.entries()] == ["1"]


SHORT = ("lock", "alias", "state")  # the others are similar, and tests/promotion kills at each of them too
ON_SQLITE = [pytest.param("local_case", each, marks=() if each in SHORT else pytest.mark.exhaustive) for each in POINTS]
ON_SERVER = [pytest.param("server_case", each, marks=pytest.mark.exhaustive) for each in POINTS]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "point"), [*ON_SQLITE, *ON_SERVER], indirect=["case"])
def test_what_a_killed_move_left_is_fixed(case: DoctorCase, point: str, movers: Movers) -> None:
    movers.kill(case.registry, "2", point)
    problems = ["^the lock .* was left behind$"] * (point != "unlock")
    if point in (*COMPLETED, *REVERTED):
        problems.append("^record 4: the force of version 2 to production was interrupted$")
    if point == "state":
        problems.append("^run .* is in state RUNNING, and the move it records is over$")
    if problems:
        case.assert_fixes(*problems)
    moved = point not in ("lock", *REVERTED)
    assert case.registry.shown() == ({"1": ARCHIVED, "2": PRODUCTION} if moved else AS_IT_WAS)
    assert len(case.registry.entries()) == (3 if point == "lock" else 4)
    assert case.registry.entries()[-1].state == ("undone" if point in REVERTED else "done")
    assert case.registry.problems() == []
    assert lock.read(case.client, case.model) == {}


def test_while_somebody_changes_stages_it_does_not_check(local_case: DoctorCase) -> None:
    change_field(local_case)
    for fix in (False, True):
        message = f"^{local_case.model} is being changed by .*: try again when it is done$"
        with lock.held(local_case.client, local_case.model), pytest.raises(LockedError, match=message):
            local_case.doctor(fix)


def test_a_registered_model_in_the_place_of_the_lock_is_left_alone(local_case: DoctorCase) -> None:
    change_field(local_case)
    name = lock.lock_name(local_case.model)
    local_case.client.create_registered_model(name)
    changed = f"^version 3: .* {FIELD} production$"
    local_case.assert_cannot_fix(f"^the registered model {name} has the name of the lock, and is not a lock$", changed)
    local_case.client.delete_registered_model(name)
    local_case.assert_fixes(changed)


@pytest.mark.slow
def test_the_exit_code_tells_whether_there_is_a_problem(case_with_files: DoctorCase, shell: Shell) -> None:
    change_field(case_with_files)
    results = []
    for options in ((), ("--fix",), ()):
        command = ("python", "-m", "pipeline", "doctor", *options)
        done = shell(*command, cwd=case_with_files.registry.workspace.root, check=False, PYTHONPATH=str(PROJECT))
        results.append((done.returncode, done.stdout.splitlines()[-1].partition(" of ")[0]))
    expected = [(1, "`python -m pipeline doctor --fix` fixes 1"), (0, "fixed 1"), (0, "checked the lock, the files")]
    assert results == expected


@pytest.mark.slow
def test_what_the_pipeline_itself_made_is_healthy(built: Path, shell: Shell) -> None:
    printed = shell("python", "-m", "pipeline", "doctor", cwd=built).stdout
    assert printed.startswith("digits-classifier: no problems found\nchecked the lock, the files of 1 version, ")
