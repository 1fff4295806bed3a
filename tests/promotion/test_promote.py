"""promote on real models in a real registry: three trainings of different quality, and what can go wrong."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.errors import MissingInputError, PipelineError, RefusedError, RegistryError
from pipeline.project import Project
from pipeline.promotion import chain, command, ledger, timeline
from pipeline.promotion.record import Record
from pipeline.tracking import lock
from tests import stores
from tests.compare.trainings import MODEL, PLAIN, Trainings, write_data
from tests.promotion.checkouts import (
    BETTER,
    LABELS,
    MEDIUM,
    WEAK,
    checkout,
    move_without_gate,
    pipeline,
    printed,
    promote_to,
    records,
    remove_data,
    stage_of,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("predicted_here")]


def verdicts(record: Record) -> dict[str, str]:
    return {row.rule: row.verdict for row in record.rows}


def put_the_better_one_into_production(candidates: Trainings) -> None:
    """Write records 1 to 4: the medium version is replaced by the better one."""
    promote_to(candidates, MEDIUM, "staging")
    promote_to(candidates, "staging", "production", "the first")
    promote_to(candidates, BETTER, "staging")
    promote_to(candidates, BETTER, "production", "the better one")


def test_a_weak_version_is_refused_with_the_limit_that_it_misses(
    candidates: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RefusedError, match="failed accuracy, better than the baseline"):
        promote_to(candidates, WEAK, "staging")
    table = capsys.readouterr().out
    assert "FAILED" in table
    assert "0.25 (must be ≥ 0.45)" in table
    assert [record.kind for record in records(candidates)] == ["refusal"]
    assert stage_of(candidates, WEAK) == "none"


def test_a_better_version_replaces_the_one_in_production_after_a_comparison(
    candidates: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    put_the_better_one_into_production(candidates)
    shown = printed(capsys)
    assert "nothing to compare" in shown
    assert "version 3 of fashion-mnist-classifier is in production; version 2 was archived (record 4)" in shown
    assert [stage_of(candidates, version) for version in (WEAK, MEDIUM, BETTER)] == ["none", "archived", "production"]
    first, last = records(candidates)[1::2]
    assert (first.replaced, last.replaced) == (None, "2")
    assert verdicts(last)["not worse than production"] == "passed"
    page = f"runs:/{candidates.client.get_model_version(MODEL, BETTER).run_id}/promotion/compare-2-3.html"
    assert last.evidence == page
    assert "promotion/compare-2-3.html" in artifacts(candidates, BETTER)


def test_a_worse_version_needs_force_and_a_rollback_undoes_it(
    candidates: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    put_the_better_one_into_production(candidates)
    promote_to(candidates, MEDIUM, "staging")
    with pytest.raises(RefusedError, match="failed not worse than production, no class worse than production, calibration"):
        promote_to(candidates, MEDIUM, "production")
    assert "0 newly correct, 30 newly incorrect" in printed(capsys)
    promote_to(candidates, MEDIUM, "production", "we know", force=True)
    command.rollback("that was wrong", Project.load(candidates.workspace))
    assert "version 3 of fashion-mnist-classifier is in production again; version 2 was archived (record 8)" in printed(capsys)
    assert [stage_of(candidates, version) for version in (WEAK, MEDIUM, BETTER)] == ["none", "archived", "production"]
    refusal, forced, back = records(candidates)[5:]
    assert (refusal.kind, forced.kind, back.kind) == ("refusal", "force", "rollback")
    assert (forced.replaced, back.replaced) == ("3", "2")
    assert (forced.reason, forced.source, forced.target) == ("we know", "staging", "production")
    assert verdicts(refusal)["not worse than production"] == "failed"


def test_the_records_say_what_was_in_production_at_any_time(candidates: Trainings) -> None:
    before = datetime.fromisoformat(ledger.now())
    promote_to(candidates, MEDIUM, "staging")
    promote_to(candidates, "staging", "production", "the first")
    between = datetime.fromisoformat(ledger.now())
    promote_to(candidates, BETTER, "staging")
    promote_to(candidates, BETTER, "production", "the better one")
    command.rollback("that was wrong", Project.load(candidates.workspace))
    entries = ledger.read(candidates.client, MODEL).entries
    assert chain.check(candidates.client, candidates.workspace, MODEL).problems == []
    assert [entry.record.kind for entry in entries] == [*["promote"] * 4, "rollback"]
    assert timeline.production(entries, before)[-1] is None
    found = timeline.production(entries, between)[-1]
    assert found is not None
    assert found.number == "2"
    assert timeline.production(entries)[-1] == entries[-1].record.subject


def test_on_a_server_a_version_is_refused_or_promoted_to_production(candidates_on_server: Trainings) -> None:
    with pytest.raises(RefusedError, match=r"version 1 was refused for staging: failed accuracy"):
        promote_to(candidates_on_server, WEAK, "staging")
    move_without_gate(candidates_on_server, MEDIUM, "staging", "production")
    promote_to(candidates_on_server, BETTER, "production", "the better one", force=True)
    assert [stage_of(candidates_on_server, version) for version in (WEAK, MEDIUM, BETTER)] == ["none", "archived", "production"]
    assert [record.kind for record in records(candidates_on_server)] == ["refusal", "promote", "promote", "force"]
    assert "promotion/compare-2-3.html" in artifacts(candidates_on_server, BETTER)


def artifacts(candidates: Trainings, version: str) -> list[str]:
    run = candidates.client.get_model_version(MODEL, version).run_id
    return [file.path for file in candidates.client.list_artifacts(run, "promotion")]


def test_a_dry_run_judges_and_changes_nothing(candidates: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    promote_to(candidates, MEDIUM, "staging", dry=True)
    assert printed(capsys).endswith("dry run, nothing was changed: version 2 can be promoted to staging")
    with pytest.raises(RefusedError, match=r"^dry run, nothing was recorded: version 1 was refused for staging: failed "):
        promote_to(candidates, WEAK, "staging", dry=True)
    assert records(candidates) == []
    assert stage_of(candidates, MEDIUM) == "none"
    assert lock.read(candidates.client, MODEL) == {}


def test_a_version_that_is_there_already_stays(candidates: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    move_without_gate(candidates, MEDIUM, "staging")
    promote_to(candidates, MEDIUM, "staging")
    promote_to(candidates, MEDIUM, "staging", dry=True)
    assert capsys.readouterr().out.splitlines() == [
        "version 2 is already in staging: nothing to do",
        "version 2 is already in staging: nothing to do",
    ]
    assert len(records(candidates)) == 1


def test_a_step_is_skipped_by_force_only(candidates: Trainings) -> None:
    with pytest.raises(
        RefusedError,
        match=r"version 2 has no stage yet; .* \(add --force --reason TEXT to skip a step\)",
    ):
        promote_to(candidates, MEDIUM, "production")
    assert records(candidates) == []
    promote_to(candidates, MEDIUM, "production", "no time", force=True)
    assert [(record.kind, record.source) for record in records(candidates)] == [("force", "none")]
    assert stage_of(candidates, MEDIUM) == "production"


def test_from_production_there_is_no_way_to_staging(candidates: Trainings) -> None:
    move_without_gate(candidates, MEDIUM, "staging", "production")
    with pytest.raises(RefusedError, match=r"version 2 is in production; it can be archived \(not promoted to staging\)"):
        promote_to(candidates, MEDIUM, "staging")


def test_a_version_whose_files_changed_cannot_be_forced(candidates: Trainings, damaged: str) -> None:
    with pytest.raises(RefusedError, match=damaged):
        promote_to(candidates, MEDIUM, "staging", "I must", force=True)
    assert [(record.kind, record.rows[0].verdict) for record in records(candidates)] == [("refusal", "failed")]
    move_without_gate(candidates, MEDIUM, "staging", "production")
    move_without_gate(candidates, BETTER, "staging", "production")
    with pytest.raises(RefusedError, match=f"cannot roll back to version 2: .*{damaged}.*`promote` another version"):
        command.rollback("", Project.load(candidates.workspace))
    assert stage_of(candidates, BETTER) == "production"


def other_model(candidates: Trainings) -> str:
    """A version of another data set's model, copied here in the UI."""
    candidates.workspace.dataset.rename(candidates.workspace.dataset.with_name("before"))
    write_data(candidates.workspace, LABELS, names=("a", "b", "c"))
    return candidates.register(candidates.add(PLAIN, training_id="other", dataset_name="letters"))


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (lambda _: "9", RegistryError, r"fashion-mnist-classifier has no version or alias '9' \(it has 1, 2, 3\)"),
        (other_model, RefusedError, r"version 4 of fashion-mnist-classifier was trained on letters: it belongs to letters-cl"),
        (remove_data, MissingInputError, r"data/dataset does not exist.*`dvc repro ingest`"),
    ],
    ids=["unknown", "other-model", "no-data"],
)
def test_a_version_that_cannot_be_judged_is_one_line_and_no_record(
    candidates: Trainings, spoil: Callable[[Trainings], str], kind: type[PipelineError], message: str
) -> None:
    version = spoil(candidates)
    with pytest.raises(kind, match=message) as error:
        promote_to(candidates, version, "staging")
    assert "\n" not in str(error.value)
    assert records(candidates) == []
    assert lock.read(candidates.client, MODEL) == {}


def test_without_a_model_there_is_nothing_to_promote_or_to_roll_back(tmp_path: Path) -> None:
    workspace = checkout(tmp_path)
    stores.connect(workspace)
    with pytest.raises(RegistryError, match=r"fashion-mnist-classifier has no version or alias '1' \(it has none yet\)"):
        command.promote("1", "staging", "", False, False, Project.load(workspace))
    with pytest.raises(RegistryError, match=r"has no versions yet: `python -m pipeline run` trains and registers one"):
        command.rollback("", Project.load(workspace))


def test_production_of_other_data_is_predicted_again_on_the_data_here(candidates: Trainings) -> None:
    move_without_gate(candidates, MEDIUM, "staging", "production")
    candidates.workspace.dataset.rename(candidates.workspace.dataset.with_name("before"))
    write_data(candidates.workspace, (0, 0, 0, 1, 1, 1, 1, 1) * 10)  # of which `HALF` predicts 70 correctly
    version = candidates.register(candidates.add(PLAIN, training_id="of other data"))
    move_without_gate(candidates, version, "staging")
    with pytest.raises(RefusedError, match="not worse than production, no class worse than production"):
        promote_to(candidates, version, "production")
    row = next(row for row in records(candidates)[-1].rows if row.rule == "not worse than production")
    assert "accuracy 0.5000 vs. 0.8750 of version 2 (production)" in row.detail


def test_on_the_command_line_a_refusal_is_a_table_and_one_line(candidates: Trainings) -> None:
    done = pipeline(candidates.workspace, "promote", WEAK, "staging", COLUMNS="80", NO_COLOR="1")
    assert done.returncode == 1
    assert done.stderr.startswith("error: version 1 was refused for staging: failed accuracy, better than the baseline (p), ")
    assert done.stderr.count("\n") == 1
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout
