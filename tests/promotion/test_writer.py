"""rollback and archive, what all moves share: one writer at a time, mending after a crash, notices."""

import json
import sys

import pytest

from pipeline.errors import LockedError, RefusedError
from pipeline.project import Project
from pipeline.promotion import archive, ledger, lock, rollback
from tests.compare.trainings import MODEL, Trainings
from tests.promotion.checkouts import (
    BETTER,
    MEDIUM,
    WEAK,
    move_without_gate,
    pipeline,
    printed,
    records,
    remove_data,
    set_params,
    stage_of,
)

pytestmark = pytest.mark.slow


def test_rollback_goes_where_history_says_and_needs_no_data(candidates: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RefusedError, match="no version of fashion-mnist-classifier was in production before now"):
        rollback.run("", Project.load(candidates.workspace))
    for version in (MEDIUM, BETTER):
        move_without_gate(candidates, version, "staging", "production")
    move_without_gate(candidates, WEAK, "archived")  # the one archived last was never in production
    remove_data(candidates)
    rollback.run("", Project.load(candidates.workspace))
    assert stage_of(candidates, MEDIUM) == "production"
    assert records(candidates)[-1].rows[0].detail == "in a fresh process; digests right"
    with pytest.raises(RefusedError, match="was in production before version 2: `python -m pipeline history`"):
        rollback.run("", Project.load(candidates.workspace))
    assert "version 2 of fashion-mnist-classifier is in production again" in printed(capsys)


def test_archiving_production_leaves_it_empty_and_says_so(candidates: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    move_without_gate(candidates, MEDIUM, "staging", "production")
    archive.run("production", "old labels", Project.load(candidates.workspace))
    archive.run(MEDIUM, "", Project.load(candidates.workspace))
    assert capsys.readouterr().out.splitlines() == [
        "version 2 of fashion-mnist-classifier is archived, it was in production: nothing is in production; record 3",
        "version 2 is archived already: nothing to do",
    ]
    assert stage_of(candidates, MEDIUM) == "archived"
    assert ledger.in_production(ledger.read(candidates.client, MODEL))[-1] is None


def test_who_holds_the_lock_is_said(candidates: Trainings) -> None:
    with (
        lock.held(candidates.client, MODEL),
        pytest.raises(LockedError, match=r"fashion-mnist-classifier is being changed by \w+ on .* \(process \d+, since 20"),
    ):
        archive.run(MEDIUM, "", Project.load(candidates.workspace))
    assert records(candidates) == []


NOTICE = "import sys; open('notices', 'a').write(sys.stdin.read() + '\\n')"


def test_the_record_goes_to_whoever_wants_it(candidates: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    (candidates.workspace.root / "notice.py").write_text(NOTICE)
    set_params(candidates.workspace, {'on_promotion: ""': f"on_promotion: {sys.executable} notice.py"})
    archive.run(WEAK, "never", Project.load(candidates.workspace))
    (told,) = (json.loads(line) for line in (candidates.workspace.root / "notices").read_text().splitlines())
    (record,) = records(candidates)
    assert (told["kind"], told["version"], told["reason"], told["digest"]) == ("archive", "1", "never", record.digest)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (f"{sys.executable} -c 'import sys; sys.exit(\"no mail today\")'", "it exited 1: no mail today"),
        ("no-such-program", "No such file or directory"),
    ],
)
def test_a_notice_that_fails_is_a_warning(
    candidates: Trainings, capsys: pytest.CaptureFixture[str], command: str, reason: str
) -> None:
    set_params(candidates.workspace, {'on_promotion: ""': f"on_promotion: {json.dumps(command)}"})
    archive.run(WEAK, "", Project.load(candidates.workspace))
    warning = capsys.readouterr().err
    assert warning.startswith("warning: promote.on_promotion = ")
    assert f"failed ({reason}); the stages stay as they are now" in warning
    assert stage_of(candidates, WEAK) == "archived"


def test_what_a_killed_promotion_left_the_next_command_finishes(candidates: Trainings) -> None:
    killed = pipeline(candidates.workspace, "promote", MEDIUM, "staging", PIPELINE_FAULT="alias")
    assert killed.returncode < 0
    done = pipeline(candidates.workspace, "archive", WEAK)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "the promote 1 of version 2 was cut short: finished now",
        "version 1 of fashion-mnist-classifier is archived, it was in none: record 2",
    ]
    assert stage_of(candidates, MEDIUM) == "staging"
