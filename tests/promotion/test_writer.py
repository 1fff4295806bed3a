"""rollback and archive, and what all moves share: one writer at a time, recovery after a crash, notifications."""

import json
import sys

import pytest

from pipeline.errors import LockedError, RefusedError
from pipeline.project import Project
from pipeline.promotion import command, ledger, timeline
from pipeline.tracking import lock
from tests.compare.trainings import MODEL, Trainings
from tests.promotion.checkouts import (
    BETTER,
    MEDIUM,
    WEAK,
    move_without_gate,
    printed,
    records,
    remove_data,
    set_params,
    stage_of,
)
from tests.promotion.registry import Movers, Registry

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("predicted_here")]


def test_rollback_goes_where_history_says_and_needs_no_data(candidates: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        RefusedError, match="no version of fashion-mnist-classifier that still exists was in production before now"
    ):
        command.rollback("", Project.load(candidates.workspace))
    for version in (MEDIUM, BETTER):
        move_without_gate(candidates, version, "staging", "production")
    move_without_gate(candidates, WEAK, "archived")  # the one archived last was never in production
    remove_data(candidates)
    command.rollback("", Project.load(candidates.workspace))
    assert stage_of(candidates, MEDIUM) == "production"
    assert records(candidates)[-1].rows[0].detail == "in a fresh process; digests match"
    with pytest.raises(RefusedError, match="was in production before version 2: `python -m pipeline history`"):
        command.rollback("", Project.load(candidates.workspace))
    assert "version 2 of fashion-mnist-classifier is in production again" in printed(capsys)


def test_archiving_production_leaves_it_empty(candidates: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    move_without_gate(candidates, MEDIUM, "staging", "production")
    command.archive("production", "old labels", Project.load(candidates.workspace))
    command.archive(MEDIUM, "", Project.load(candidates.workspace))
    assert capsys.readouterr().out.splitlines() == [
        "version 2 of fashion-mnist-classifier was archived; nothing is in production now (record 3)",
        "version 2 is already archived: nothing to do",
    ]
    assert stage_of(candidates, MEDIUM) == "archived"
    assert timeline.production(ledger.read(candidates.client, MODEL).entries)[-1] is None


def test_who_holds_the_lock_is_named(candidates: Trainings) -> None:
    with (
        lock.held(candidates.client, MODEL),
        pytest.raises(LockedError, match=r"fashion-mnist-classifier is being changed by \w+ on .* \(process \d+, since 20"),
    ):
        command.archive(MEDIUM, "", Project.load(candidates.workspace))
    assert records(candidates) == []


NOTICE = "import sys; open('notices', 'a').write(sys.stdin.read() + '\\n')"


def test_the_record_goes_to_on_promotion(candidates: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    (candidates.workspace.root / "notice.py").write_text(NOTICE)
    set_params(candidates.workspace, {'on_promotion: ""': f"on_promotion: {sys.executable} notice.py"})
    command.archive(WEAK, "never", Project.load(candidates.workspace))
    (notice,) = (json.loads(line) for line in (candidates.workspace.root / "notices").read_text().splitlines())
    (entry,) = ledger.read(candidates.client, MODEL).entries
    assert (notice["kind"], notice["version"], notice["reason"], notice["digest"]) == ("archive", "1", "never", entry.digest)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (f"{sys.executable} -c 'import sys; sys.exit(\"no mail today\")'", "exit code 1: no mail today"),
        ("no-such-program", "No such file or directory"),
    ],
)
def test_a_notification_that_fails_is_a_warning(
    candidates: Trainings, capsys: pytest.CaptureFixture[str], program: str, reason: str
) -> None:
    set_params(candidates.workspace, {'on_promotion: ""': f"on_promotion: {json.dumps(program)}"})
    command.archive(WEAK, "", Project.load(candidates.workspace))
    warning = capsys.readouterr().err
    assert warning.startswith("warning: promote.on_promotion = ")
    assert f"failed ({reason}); the registry stages are changed anyway" in warning
    assert stage_of(candidates, WEAK) == "archived"


def test_a_killed_promotion_is_completed_by_the_next_command(
    candidates: Trainings, movers: Movers, capsys: pytest.CaptureFixture[str]
) -> None:
    move_without_gate(candidates, BETTER, "staging", "production")
    move_without_gate(candidates, MEDIUM, "staging")
    movers.kill(Registry(candidates.workspace, candidates.client, MODEL), MEDIUM, "alias")
    command.archive(WEAK, "", Project.load(candidates.workspace))
    assert capsys.readouterr().out.splitlines() == [
        "completed the interrupted force of version 2 (record 4)",
        "version 1 of fashion-mnist-classifier was archived (record 5)",
    ]
    assert stage_of(candidates, MEDIUM) == "production"
