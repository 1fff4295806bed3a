"""`history` on a real store: the table, what was in production at a time, JSON, and a history that was changed."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import tracking
from pipeline.errors import RegistryError, TrackingError
from pipeline.project import Project
from pipeline.promotion import history as command
from pipeline.promotion import ledger
from pipeline.promotion.record import Record, Row
from pipeline.workspace import Workspace
from tests import stores
from tests.compare.trainings import MODEL
from tests.promotion.registry import Registry

PARAMS = Path(__file__).parents[1] / "params.yaml"
RULES = (
    Row(rule="accuracy", verdict="failed", value=0.5, comparison="≥", limit=0.9),
    Row(rule="recall", verdict="failed", value=float("nan"), comparison="≥", limit=0.5, detail="bag"),
)
HOURS = ("10:00", "11:00", "12:00", "13:00", "14:00", "15:00")


@pytest.fixture(scope="module")
def five_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database to copy: hour by hour 1 to staging and production, 2 there by force, 3 refused, 1 back and archived."""
    root = tmp_path_factory.mktemp("records")
    workspace = Workspace(root, root)
    registry = Registry(workspace, stores.connect(workspace), MODEL)
    registry.add_versions()
    with pytest.MonkeyPatch.context() as patch:
        for hour, move in zip(HOURS, _moves(registry), strict=False):
            patch.setattr(ledger, "now", lambda hour=hour: f"2026-01-01T{hour}:00.000+00:00")
            move()
    return workspace.database


def _moves(registry: Registry) -> list[Callable[[], Any]]:
    return [
        lambda: registry.move("1", "staging"),
        lambda: registry.move("1", "production"),
        lambda: registry.move("2", "production", "force"),
        lambda: _refuse(registry),
        lambda: registry.move("1", "production", "rollback"),
        lambda: registry.move("1", "archived", "archive"),
    ]


def _refuse(registry: Registry) -> None:
    experiment = registry.client.get_experiment_by_name(ledger.experiment_name(MODEL)).experiment_id
    known = registry.entries()
    fields: dict[str, Any] = {"who": "somebody", "model": MODEL, "replaced": "2", "git_commit": None, "evidence": ""}
    record = Record(
        kind="refusal",
        when=ledger.now(),
        version="3",
        source="none",
        target="staging",
        reason="[b]try[/b]",
        rows=RULES,
        **fields,
    )
    ledger.append(registry.client, experiment, known, record, "done")


@pytest.fixture
def recorded(five_records: Path, tmp_path: Path) -> Registry:
    shutil.copy(PARAMS, tmp_path)
    workspace = Workspace(tmp_path, tmp_path)
    stores.copy(five_records, workspace)
    return Registry(workspace, tracking.connect(workspace), MODEL)


@pytest.fixture
def lines(recorded: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What the command prints in a terminal of so many columns."""

    def printed(at: str | None = None, as_json: bool = False, columns: int = 140) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        command.run(at, as_json, Project.load(recorded.workspace))
        return capsys.readouterr().out.splitlines()

    return printed


def test_a_row_for_each_record(lines: Callable[..., list[str]]) -> None:
    title, head, *rows = lines()
    assert title.strip() == f"{MODEL}, oldest first"
    assert head.split() == ["when", "(UTC)", "who", "what", "version", "from", "to", "replaced", "reason"]
    assert [re.split(r"  +", row.strip())[:9] for row in rows[:3]] == [
        ["1", "2026-01-01 10:00", "somebody", "promote", "1", "none", "staging", "–"],
        ["2", "2026-01-01 11:00", "somebody", "promote", "1", "staging", "production", "–"],
        ["3", "2026-01-01 12:00", "somebody", "force", "2", "none", "production", "1"],
    ]
    refusal = " ".join(rows[3:-2])
    assert "[b]try[/b]; accuracy 0.5" in refusal
    assert "(must be ≥ 0.9); recall nan" in re.sub(r"\s+", " ", refusal)
    assert rows[-1].split()[3:5] == ["somebody", "archive"]


@pytest.mark.parametrize("columns", [120, 100, 80, 60, 40])
def test_it_fits_the_terminal_and_tells_what_it_leaves_out(lines: Callable[..., list[str]], columns: int) -> None:
    printed = lines(columns=columns)
    assert max(map(len, printed)) <= columns
    assert any("a wider terminal shows more" in line for line in printed) == (columns < 110)
    assert sum("2026-01-01" in line for line in printed) == 6 or columns == 40


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (
            "2025-12-31",
            "no version was in production at 2025-12-31 00:00:00 UTC (the first record is of 2026-01-01 10:00:00 UTC)",
        ),
        ("2026-01-01T10:30", "(the first record is of 2026-01-01 10:00:00 UTC, without a promotion to production until then)"),
        (
            "2026-01-01T11:00",
            "version 1 was in production at 2026-01-01 11:00:00 UTC, since 2026-01-01 11:00:00 UTC (record 2, promote by",
        ),
        (
            "2026-01-01 12:59",
            "version 2 was in production at 2026-01-01 12:59:00 UTC, since 2026-01-01 12:00:00 UTC (record 3, force by",
        ),
        ("2026-01-01T13:30+01:00", "version 2 was in production at 2026-01-01 12:30:00 UTC"),
        ("2026-01-01T13:30Z", "version 2 was in production at 2026-01-01 13:30:00 UTC"),
        (
            "20260101T1430",
            "version 1 was in production at 2026-01-01 14:30:00 UTC, since 2026-01-01 14:00:00 UTC (record 5, rollback by",
        ),
        (
            "2026-01-02",
            "no version was in production at 2026-01-02 00:00:00 UTC, since 2026-01-01 15:00:00 UTC (record 6, archive by",
        ),
    ],
)
def test_what_was_in_production(lines: Callable[..., list[str]], at: str, message: str) -> None:
    (line,) = lines(at)
    assert line.startswith(f"{MODEL}: ")
    assert message in line


@pytest.mark.parametrize(
    "at", ["yesterday", "", "2026-13-01", "01.02.2026", "2026-01-01T25:00", "0001-01-01T00:00+14:00", "1735689600"]
)
def test_what_is_not_a_time_is_one_line_with_examples(lines: Callable[..., list[str]], at: str) -> None:
    with pytest.raises(
        RegistryError, match=rf"^--at '{re.escape(at)}' is not a time: write it as 2026-01-31 or .+\+01:00"
    ) as error:
        lines(at)
    assert "\n" not in str(error.value)


def test_a_time_in_the_future_is_refused(lines: Callable[..., list[str]]) -> None:
    with pytest.raises(RegistryError, match=r"--at 9000-01-01: 9000-01-01 00:00:00 UTC is in the future, it is 2"):
        lines("9000-01-01")


def test_json_holds_every_field(lines: Callable[..., list[str]]) -> None:
    records = json.loads("\n".join(lines(as_json=True)), parse_constant=pytest.fail)
    assert [record["number"] for record in records] == [1, 2, 3, 4, 5, 6]
    refusal = records[3]
    assert refusal["rows"][0]["verdict"] == "failed"
    assert refusal["rows"][1]["value"] is None
    assert refusal["previous"] == f"{records[2]['digest']} done"
    assert set(refusal) == {*Record.__dataclass_fields__, "state", "record_run_id", "digest"}


def test_json_of_a_time(lines: Callable[..., list[str]], recorded: Registry) -> None:
    assert json.loads("\n".join(lines("2026-01-01T13:30+01:00", as_json=True))) == {
        "model": MODEL,
        "at": "2026-01-01T12:30:00+00:00",
        "version": "2",
        "weights_digest": None,
        "run_id": recorded.client.get_model_version(MODEL, "2").run_id,
        "since": "2026-01-01T12:00:00.000+00:00",
        "record": 3,
    }
    before = json.loads("\n".join(lines("2025-01-01", as_json=True)))
    assert (before["version"], before["since"], before["record"]) == (None, None, None)


def test_a_changed_history_is_reported_after_the_rows(lines: Callable[..., list[str]], recorded: Registry, capsys: Any) -> None:
    recorded.client.delete_run(recorded.entries()[1].run_id)
    with pytest.raises(RegistryError, match="was changed: record 2 is missing; restore record 2 in the MLflow UI"):
        lines()
    assert sum("2026-01-01" in line for line in capsys.readouterr().out.splitlines()) == 5


def test_a_deleted_experiment_is_reported_with_the_command_that_restores_it(
    lines: Callable[..., list[str]], recorded: Registry
) -> None:
    experiment = recorded.client.get_experiment_by_name(ledger.experiment_name(MODEL)).experiment_id
    recorded.client.delete_experiment(experiment)
    with pytest.raises(TrackingError, match=f"mlflow experiments restore --experiment-id {experiment}"):
        lines()


def test_a_move_that_seems_interrupted_is_marked(lines: Callable[..., list[str]], recorded: Registry) -> None:
    recorded.client.set_tag(recorded.move("4", "staging").run_id, "state", "intent")
    with pytest.raises(RegistryError, match="record 7 has an altered tag on its run: state"):
        lines()


def test_without_promotions_it_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(PARAMS, tmp_path)
    workspace = Workspace(tmp_path, tmp_path)
    stores.connect(workspace)
    command.run(None, False, Project.load(workspace))
    assert (
        capsys.readouterr().out
        == f"{MODEL} has no history yet: `python -m pipeline promote VERSION STAGE` writes the first record\n"
    )
    command.run("2026-01-01", False, Project.load(workspace))
    assert "no version was in production at 2026-01-01 00:00:00 UTC (there are no records yet)" in capsys.readouterr().out
    command.run(None, True, Project.load(workspace))
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.slow
def test_the_command_line(shell: Callable[..., Any], recorded: Registry) -> None:
    (recorded.workspace.root / "dvc.yaml").touch()
    project = str(Path(__file__).parents[2])

    def ask(*arguments: str) -> Any:
        command = ("python", "-m", "pipeline", "history", *arguments)
        return shell(*command, cwd=recorded.workspace.root, check=False, PYTHONPATH=project, NO_COLOR="1", COLUMNS="120")

    done = ask()
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    recorded.client.delete_run(recorded.entries()[-1].run_id)
    done = ask("--at", "2026-01-01T11:30")
    assert done.returncode == 1
    assert "version 1 was in production" in done.stdout
    assert done.stderr.startswith(f"error: the history of {MODEL} was changed: record 6 is missing")
    assert done.stderr.count("\n") == 1
