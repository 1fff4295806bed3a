"""`versions` on a real store: the table, stages by the aliases, and what does not agree."""

from collections.abc import Callable

import pytest

from pipeline.commands import versions as command
from pipeline.project import Project
from pipeline.workspace import Workspace
from tests import stores
from tests.compare.trainings import MODEL, PLAIN, Trainings, write_data
from tests.promotion.registry import Registry


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """Return a function that runs the command and returns the lines it prints."""

    def printed(workspace: Workspace) -> list[str]:
        command.run(Project.load(workspace))
        return capsys.readouterr().out.splitlines()

    return printed


@pytest.fixture
def moved(trainings: Trainings) -> Registry:
    """Four versions: 1 archived, 2 in production, 3 in staging, 4 nowhere."""
    write_data(trainings.workspace)
    registry = Registry(trainings.workspace, trainings.client, MODEL)
    registry.move("2", "production")
    for _ in range(2):
        trainings.register(trainings.add(PLAIN))
    registry.move("3", "staging")
    return registry


def test_stage_accuracy_and_verdict_of_each_version(moved: Registry, lines: Callable[..., list[str]]) -> None:
    run_id = moved.client.get_model_version(MODEL, "2").run_id
    moved.client.log_metric(run_id, "test/accuracy", 0.93456)
    moved.client.set_model_version_tag(MODEL, "2", "verified", "statistical 2026-11-24T18:30Z by a person")
    moved.client.set_model_version_tag(MODEL, "2", "gate", "passed")
    title, head, *rows = lines(moved.workspace)
    assert title == MODEL
    assert head.split() == ["version", "stage", "accuracy", "verified", "gate", "created", "(UTC)", "run"]
    assert [row.split()[:2] for row in rows] == [["4", "–"], ["3", "staging"], ["2", "production"], ["1", "archived"]]
    assert rows[2].split()[2:6] == ["0.9346", "statistical", "2026-11-24", "passed"]
    assert rows[2].split()[-1] == run_id[:8]
    assert rows[3].split()[2:5] == ["–", "–", "–"]
    assert all(len(line.rstrip()) <= 100 for line in (head, *rows))


def test_where_somebody_moved_an_alias_by_hand_it_points_to_doctor(moved: Registry, lines: Callable[..., list[str]]) -> None:
    moved.client.set_registered_model_alias(MODEL, "production", "4")
    printed = lines(moved.workspace)
    assert printed[2].split()[:2] == ["4", "production"]
    assert printed[4].split()[:2] == ["2", "–"]
    assert printed[-2:] == [
        "version 4: stage production by its alias, none by its tag; `python -m pipeline doctor` explains why",
        "version 2: stage none by its alias, production by its tag; `python -m pipeline doctor` explains why",
    ]


def test_a_version_whose_run_is_gone_for_good_has_a_row(moved: Registry, lines: Callable[..., list[str]]) -> None:
    moved.client.set_model_version_tag(MODEL, "4", "gate", "passed")
    moved.client._tracking_client.store._hard_delete_run(moved.client.get_model_version(MODEL, "4").run_id)  # as `mlflow gc`
    assert lines(moved.workspace)[2].split()[:5] == ["4", "–", "–", "–", "passed"]


def test_without_a_version_it_says_how_to_make_one(workspace: Workspace, lines: Callable[..., list[str]]) -> None:
    stores.connect(workspace)
    (line,) = lines(workspace)
    assert line == f"{MODEL} has no versions yet: `python -m pipeline run` trains and registers one"
