"""promote on real models in a real registry: three trainings of different quality, and what can go wrong."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.errors import EvaluationError, MissingInputError, PipelineError, RefusedError, RegistryError
from pipeline.project import Project
from pipeline.promotion import chain, ledger, lock, promote, rollback
from pipeline.promotion.record import Record
from tests.compare.trainings import MODEL, PLAIN, Trainings, write_data
from tests.promotion.checkouts import (
    BETTER,
    LABELS,
    MEDIUM,
    WEAK,
    checkout,
    no_data,
    pipeline,
    place,
    printed,
    records,
    stage_of,
    to,
)

pytestmark = pytest.mark.slow


def verdicts(record: Record) -> dict[str, str]:
    return {row.rule: row.verdict for row in record.rows}


def test_three_trainings_go_their_ways(either_shop: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    shop, times = either_shop, []
    with pytest.raises(RefusedError, match=r"version 1 may not go to staging: failed at accuracy; train a better one"):
        to(shop, WEAK, "staging")
    table = capsys.readouterr().out
    assert "FAILED" in table
    assert "0.25 (must be ≥ 0.45)" in table
    to(shop, MEDIUM, "staging")
    times.append(datetime.fromisoformat(ledger.now()))
    to(shop, "staging", "production", "the first")
    assert "nothing to compare" in capsys.readouterr().out
    times.append(datetime.fromisoformat(ledger.now()))
    to(shop, BETTER, "staging")
    to(shop, BETTER, "production", "the better one")
    assert "version 3 of fashion-mnist-classifier is in production now: version 2 was there and is archived" in printed(capsys)
    assert [stage_of(shop, version) for version in (WEAK, MEDIUM, BETTER)] == ["none", "archived", "production"]
    to(shop, MEDIUM, "staging")
    with pytest.raises(RefusedError, match="failed at as good as production, each class as good, calibration"):
        to(shop, MEDIUM, "production")
    assert "0 newly right, 30 newly wrong" in printed(capsys)
    to(shop, MEDIUM, "production", "we know", force=True)
    times.append(datetime.fromisoformat(ledger.now()))
    rollback.run("that was wrong", Project.load(shop.workspace))
    assert "version 3 of fashion-mnist-classifier is in production again: version 2 is archived; record 9" in printed(capsys)
    assert [stage_of(shop, version) for version in (WEAK, MEDIUM, BETTER)] == ["none", "archived", "production"]

    found = records(shop)
    kinds = ["refusal", *["promote"] * 5, "refusal", "force", "rollback"]
    assert [record.kind for record in found] == kinds
    assert (found[2].before, found[4].before, found[7].before, found[8].before) == (None, "2", "3", "2")
    assert (found[7].reason, found[7].source, found[7].target) == ("we know", "staging", "production")
    assert verdicts(found[6])["as good as production"] == "failed"
    assert verdicts(found[4])["as good as production"] == "passed"
    page = f"runs:/{shop.client.get_model_version(MODEL, BETTER).run_id}/promotion/compare-2-3.html"
    assert found[4].evidence == page
    assert "promotion/compare-2-3.html" in artifacts(shop, BETTER)
    entries = ledger.read(shop.client, MODEL)
    assert chain.examined(shop.client, shop.workspace, MODEL)[1] == []
    assert [ledger.in_production(entries, time)[-1] for time in times] == [None, "2", "2"]
    assert ledger.in_production(entries)[-1] == "3"


def artifacts(shop: Trainings, version: str) -> list[str]:
    run = shop.client.get_model_version(MODEL, version).run_id
    return [file.path for file in shop.client.list_artifacts(run, "promotion")]


def test_a_dry_run_says_what_the_gate_says_and_changes_nothing(shop: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    to(shop, MEDIUM, "staging", dry=True)
    assert printed(capsys).endswith("dry run, nothing moved: version 2 would go from none to staging")
    with pytest.raises(RefusedError, match=r"^dry run, nothing was recorded: version 1 may not go to staging: failed at "):
        to(shop, WEAK, "staging", dry=True)
    assert records(shop) == []
    assert stage_of(shop, MEDIUM) == "none"
    assert lock.holder_of(shop.client, MODEL) is None


def test_what_is_there_already_stays_and_says_so(shop: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    place(shop, MEDIUM, "staging")
    to(shop, MEDIUM, "staging")
    to(shop, MEDIUM, "staging", dry=True)
    assert capsys.readouterr().out.splitlines() == [
        "version 2 is in staging already: nothing to do",
        "version 2 is in staging already: there would be nothing to do",
    ]
    assert len(records(shop)) == 1


def test_a_step_is_skipped_by_force_only(shop: Trainings) -> None:
    with pytest.raises(RefusedError, match=r"version 2 is in none: from there it can go to staging or archived; to skip a"):
        to(shop, MEDIUM, "production")
    assert records(shop) == []
    to(shop, MEDIUM, "production", "no time", force=True)
    assert [(record.kind, record.source) for record in records(shop)] == [("force", "none")]
    assert stage_of(shop, MEDIUM) == "production"


def test_from_production_there_is_no_way_to_staging(shop: Trainings) -> None:
    place(shop, MEDIUM, "staging", "production")
    with pytest.raises(RefusedError, match="version 2 is in production: from there it can go to archived, not to staging"):
        to(shop, MEDIUM, "staging")


def test_a_version_whose_files_changed_goes_nowhere_by_no_force(shop: Trainings, damaged: str) -> None:
    with pytest.raises(RefusedError, match=damaged):
        to(shop, MEDIUM, "staging", "I must", force=True)
    assert [(record.kind, record.rows[0].verdict) for record in records(shop)] == [("refusal", "failed")]
    place(shop, MEDIUM, "staging", "production")
    place(shop, BETTER, "staging", "production")
    with pytest.raises(RefusedError, match=f"no rollback to version 2: .*{damaged}.*`promote` another version"):
        rollback.run("", Project.load(shop.workspace))
    assert stage_of(shop, BETTER) == "production"


def other_model(shop: Trainings) -> str:
    """A version of another data set's model, copied here in the UI."""
    shop.workspace.dataset.rename(shop.workspace.dataset.with_name("before"))
    write_data(shop.workspace, LABELS, names=("a", "b", "c"))
    return shop.register(shop.add(PLAIN, training_id="other", dataset_name="letters"))


def no_evaluation(shop: Trainings) -> str:
    return shop.register(shop.add(PLAIN, training_id="unfinished", evaluated=False))


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (lambda _: "9", RegistryError, r"fashion-mnist-classifier has no version or alias '9' \(it has 1, 2, 3\)"),
        (other_model, RefusedError, r"version 4 of fashion-mnist-classifier was trained on letters: it belongs to letters-cl"),
        (no_evaluation, EvaluationError, r"version 4 has no evaluation: its run .* holds no evaluation/predictions.parquet"),
        (no_data, MissingInputError, r"data/dataset does not exist.*`dvc repro ingest`"),
    ],
    ids=["unknown", "other-model", "no-evaluation", "no-data"],
)
def test_what_cannot_be_judged_is_one_line_and_no_record(
    shop: Trainings, spoil: Callable[[Trainings], str], kind: type[PipelineError], message: str
) -> None:
    version = spoil(shop)
    with pytest.raises(kind, match=message) as error:
        to(shop, version, "staging")
    assert "\n" not in str(error.value)
    assert records(shop) == []
    assert lock.holder_of(shop.client, MODEL) is None


def test_without_a_model_there_is_nothing_to_promote_or_to_roll_back(tmp_path: Path) -> None:
    workspace = checkout(tmp_path)
    with pytest.raises(RegistryError, match=r"fashion-mnist-classifier has no version or alias '1' \(it has none yet\)"):
        promote.run("1", "staging", "", False, False, Project.load(workspace))
    with pytest.raises(RegistryError, match=r"has no versions yet: `python -m pipeline run` trains and registers one"):
        rollback.run("", Project.load(workspace))


def test_production_of_other_data_answers_again_on_the_data_here(shop: Trainings) -> None:
    place(shop, MEDIUM, "staging", "production")
    shop.workspace.dataset.rename(shop.workspace.dataset.with_name("before"))
    write_data(shop.workspace, (0, 0, 0, 1, 1, 1, 1, 1) * 10)  # of which `HALF` has 70 right
    version = shop.register(shop.add(PLAIN, training_id="of other data"))
    place(shop, version, "staging")
    with pytest.raises(RefusedError, match="as good as production, each class as good"):
        to(shop, version, "production")
    row = next(row for row in records(shop)[-1].rows if row.rule == "as good as production")
    assert "accuracy 0.5000 against 0.8750 of version 2 (production)" in row.detail


def test_on_the_command_line_a_refusal_is_a_table_and_one_line(shop: Trainings) -> None:
    done = pipeline(shop.workspace, "promote", WEAK, "staging", COLUMNS="80", NO_COLOR="1")
    assert done.returncode == 1
    assert done.stderr.startswith("error: version 1 may not go to staging: failed at accuracy; ")
    assert done.stderr.count("\n") == 1
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout
