"""A history that survives daily life: what people and lost answers do to it, what is repaired, and what is acknowledged."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.errors import RefusedError, RegistryError
from pipeline.project import Project
from pipeline.promotion import chain, command, history, ledger, timeline, transitions
from pipeline.promotion.record import Version
from pipeline.promotion.writer import open_writer
from tests.doctor.cases import DoctorCase


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")


def project(case: DoctorCase) -> Project:
    return Project.load(case.registry.workspace)


def shown(case: DoctorCase, capsys: pytest.CaptureFixture[str], at: str | None = None) -> str:
    """What `history` prints; it must find nothing wrong."""
    capsys.readouterr()
    history.run(at, False, project(case))
    return capsys.readouterr().out


def complaint(case: DoctorCase, at: str | None = None) -> str:
    with pytest.raises(RegistryError) as error:
        history.run(at, False, project(case))
    assert "\n" not in str(error.value)
    return str(error.value)


def edit(case: DoctorCase, number: int, **fields: str) -> None:
    """Alters the text of a record."""
    (entry,) = (entry for entry in case.registry.entries() if entry.record.number == number)
    case.client.set_tag(entry.run_id, "record.1", replace(entry.record, **fields).text())  # type: ignore[arg-type]


def test_what_the_ui_shows_of_a_record_is_compared_with_it_and_written_again(
    local_case: DoctorCase, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = local_case.registry.entries()[1].run_id
    edited = {"state": "undone", "version": "3", "mlflow.user": "chief", "mlflow.note.content": "all is well"}
    for name, value in edited.items():
        local_case.client.set_tag(run_id, name, value)
    local_case.client.update_run(run_id, name="7 promote 3 → staging")
    found = "record 2 has an altered tag on its run: version, state, user, note.content, runName"
    assert f"{found}; `python -m pipeline doctor --fix`" in complaint(local_case)
    assert local_case.registry.in_production() == [None, "1"]
    local_case.assert_fixes(f"^{found}$")
    assert "accept" not in shown(local_case, capsys)


def lose_the_first(case: DoctorCase) -> None:
    case.client.delete_run(case.registry.entries()[0].run_id)


def edit_a_reason(case: DoctorCase) -> None:
    edit(case, 1, reason="another")


def damage(case: DoctorCase) -> None:
    case.client.set_tag(case.registry.entries()[0].run_id, "record.1", "{")


def lose_the_last(case: DoctorCase) -> None:
    case.client.delete_run(case.registry.entries()[2].run_id)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param(lose_the_first, "record 1 is missing", marks=pytest.mark.exhaustive),
        (edit_a_reason, "record 1 was altered: record 2 holds a different digest of it"),
        pytest.param(damage, "record 1 cannot be read: run ", marks=pytest.mark.exhaustive),
        (lose_the_last, "record 3 is missing"),
    ],
)
def test_a_gap_can_be_acknowledged_and_stays_visible(
    local_case: DoctorCase, change: Callable[[DoctorCase], None], found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "oldest first" in shown(local_case, capsys)
    change(local_case)
    assert found in complaint(local_case)
    assert local_case.doctor(accept="cleaned up by mistake") == (True, [])
    local_case.registry.move("3", "staging")
    printed = shown(local_case, capsys)
    assert found in printed
    assert "accepted by record 4: cleaned up by mistake" in printed
    note = local_case.registry.entries()[-2].tags["mlflow.note.content"]
    assert note.startswith("**accept**: changes of the history of toys-classifier, by ")


def test_an_acknowledgement_covers_no_later_change(local_case: DoctorCase) -> None:
    lose_the_first(local_case)
    local_case.doctor(accept="by mistake")
    edit(local_case, 3, reason="another")
    assert complaint(local_case).startswith("the history of toys-classifier was changed: record 3 was altered: record 4 holds")


def test_without_a_gap_nothing_is_acknowledged(local_case: DoctorCase) -> None:
    local_case.doctor(accept="just so")
    assert len(local_case.registry.entries()) == 3


def test_of_a_record_that_a_repeated_request_wrote_twice_one_counts(
    local_case: DoctorCase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create = local_case.client.create_run

    def answer_lost(*arguments: Any, **options: Any) -> Any:
        create(*arguments, **options)
        return create(*arguments, **options)

    monkeypatch.setattr(local_case.client, "create_run", answer_lost)
    local_case.registry.move("3", "staging")
    monkeypatch.undo()
    assert [(entry.record.number, entry.state) for entry in local_case.registry.entries()] == [
        (1, "done"),
        (2, "done"),
        (3, "done"),
        (4, "done"),
    ]
    monkeypatch.setenv("COLUMNS", "1000")
    assert "record 4 is stored twice: its equal, run " in shown(local_case, capsys)
    assert local_case.doctor() == (True, [])
    assert local_case.registry.move("4", "staging").record.number == 5
    assert local_case.registry.problems() == []


def test_a_run_that_contradicts_the_chain_is_found(local_case: DoctorCase) -> None:
    """As whoever writes to the database can make it, and the UI cannot."""
    run_id = local_case.registry.entries()[1].run_id
    local_case.client.set_tag(run_id, "state", "undone")
    local_case.client.set_terminated(run_id, "KILLED")
    assert "record 2 is undone according to its run, done according to the chain" in complaint(local_case)
    assert local_case.registry.in_production() == [None, "1"]


def roll_head_back(case: DoctorCase) -> None:
    """Deletes the last record, and sets the head to the one before: what remains is whole."""
    before, last = case.registry.entries()[-2:]
    case.client.delete_run(last.run_id)
    case.client.set_registered_model_tag(case.model, ledger.HEAD, f"{before.record.number} {before.seal}")


def test_a_checkout_that_has_seen_the_last_record_misses_it(local_case: DoctorCase, capsys: pytest.CaptureFixture[str]) -> None:
    roll_head_back(local_case)
    shown(local_case, capsys)  # nothing is wrong as far as this checkout can tell
    local_case.registry.move("2", "none", "force")
    shown(local_case, capsys)
    roll_head_back(local_case)
    lost = "record 3 is missing or not the one that this checkout has seen (.cache/promotions.json)"
    assert lost in complaint(local_case)
    local_case.registry.move("2", "archived", "archive")
    assert lost in complaint(local_case)
    assert local_case.doctor(accept="restored from a backup")[0]
    assert lost in shown(local_case, capsys)


@pytest.mark.parametrize("at", [None, "now"])
def test_an_alias_that_the_records_do_not_know_is_said(local_case: DoctorCase, at: str | None) -> None:
    local_case.client.set_registered_model_alias(local_case.model, "production", "3")
    message = complaint(local_case, at)
    assert message.startswith("production is version 3; according to the history it is version 1: ")
    assert message.endswith("`python -m pipeline doctor --fix` records it")
    local_case.doctor(fix=True)
    history.run(at, False, project(local_case))


def test_rollback_warns_of_gaps_and_reads_on(local_case: DoctorCase, capsys: pytest.CaptureFixture[str]) -> None:
    damage(local_case)
    with open_writer(local_case.client, project(local_case)) as writer:
        writer.check_history()
        with pytest.raises(RefusedError, match="no version of toys-classifier that still exists was in production before"):
            command._previous(writer)
    warned = capsys.readouterr().err
    assert warned.startswith("warning: the history was changed: record 1 cannot be read: run ")
    assert warned.count("\n") == 1


def made_again(case: DoctorCase) -> None:
    """Deletes the registered model, whose version 2 followed version 1 in production, and trains two new ones."""
    case.registry.move("2", "production")
    case.client.delete_registered_model(case.model)
    case.client.create_registered_model(case.model)
    for _ in range(2):
        case.register(case.train())


def test_a_new_version_with_the_number_of_an_old_one_is_never_rolled_back_to(
    case_with_files: DoctorCase, capsys: pytest.CaptureFixture[str]
) -> None:
    made_again(case_with_files)
    case_with_files.client.set_registered_model_alias(case_with_files.model, "production", "1")
    with open_writer(case_with_files.client, project(case_with_files)) as writer, pytest.raises(RefusedError):
        command._previous(writer)
    gone = "warning: version 2, which was in production before, was deleted: its number is another model's now\n"
    assert gone in capsys.readouterr().err


def test_a_new_version_with_the_number_of_an_old_one_is_left_alone_by_doctor(case_with_files: DoctorCase) -> None:
    made_again(case_with_files)
    old = "production is empty; according to the history it is version 2, another model than today's version 2"
    is_healthy, problems = case_with_files.doctor()
    assert not is_healthy
    assert problems[0].startswith(old)
    case_with_files.doctor(fix=True)
    assert case_with_files.registry.shown() == {}
    assert case_with_files.registry.in_production()[-1] is None
    written = case_with_files.registry.entries()[-1].record
    now = transitions.current_stages(case_with_files.client, case_with_files.model)
    assert (written.version, written.target, now.has(written.subject)) == ("2", "none", False)
    assert case_with_files.doctor() == (True, [])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Version("2", "a", "r"), Version("2", "a", "r"), True),
        (Version("2", "a", "r"), Version("2", "b", "r"), False),
        (Version("2", "a", "r"), Version("2", "a", "s"), False),
        (Version("2"), Version("2", "a", "r"), True),
        (Version("2", "a", "r"), Version("1", "a", "r"), False),
        (Version("2", "a", "r"), None, False),
    ],
)
def test_a_version_is_known_by_number_weights_and_run(one: Version, other: Version | None, same: bool) -> None:
    assert one.is_same(other) is same


def test_control_characters_reach_neither_the_record_nor_the_terminal(
    local_case: DoctorCase, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "<b>eve</b>\x1b[2K\x9b")
    command.archive("4", "clean\x1b[2K\u202e\nsecond line", project(local_case))
    entry = local_case.registry.entries()[-1]
    assert (entry.record.reason, entry.record.who) == ("clean[2K second line", "<b>eve</b>[2K")
    assert "by \\<b>eve\\</b>\\[2K, " in entry.tags["mlflow.note.content"]
    edit(local_case, 4, reason="\x1b[2Kforged\x9b", who="\x1beve")
    for as_json in (False, True):
        with pytest.raises(RegistryError):
            history.run(None, as_json, project(local_case))
    assert not {"\x1b", "\x9b", "\u202e"} & set(capsys.readouterr().out)


def test_what_was_in_production_is_a_version_not_a_number(local_case: DoctorCase) -> None:
    (version,) = filter(None, timeline.production(local_case.registry.entries()))
    assert version == transitions.current_stages(local_case.client, local_case.model).versions["1"]
    assert version.run_id
    assert chain.check(local_case.client, local_case.registry.workspace, local_case.model).problems == []
