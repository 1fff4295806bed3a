"""A lost registry made again from files, in another store, twice, after kills, and beside one that contradicts it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import tracking
from pipeline.commands import versions
from pipeline.doctor import command as doctor
from pipeline.errors import LockedError, RegistryError
from pipeline.project import Project
from pipeline.promotion import backup as records
from pipeline.promotion import command as promotion
from pipeline.promotion import transitions
from pipeline.promotion.record import Version
from pipeline.sync import plan
from pipeline.tracking import Source, backup, manifest
from pipeline.tracking.lock import UNFINISHED
from pipeline.tracking.manifest import MANIFEST, ORIGINAL_RUN, SIGNATURE
from tests import servers
from tests.compare.trainings import MODEL, PLAIN, Trainings
from tests.promotion.checkouts import move_without_gate
from tests.promotion.registry import on_each_write
from tests.sync.cases import Registry, files, other_store, sync, use, with_history


def test_a_lost_registry_is_the_same_again_and_a_second_call_publishes_nothing(
    candidates: Trainings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, written = with_history(candidates), files(candidates)
    use(other_store(candidates), monkeypatch)
    client = sync(candidates)
    assert "versions    2\n  records     4\n  aliases     1\n" in capsys.readouterr().out
    assert Registry.of(client, candidates) == before
    assert before.problems == ()
    assert files(candidates) == written
    assert sync(candidates)
    assert capsys.readouterr().out.startswith("nothing to publish: sqlite:///")
    move_without_gate(Trainings(candidates.workspace, client), "1", "staging")
    assert [*records.stored(client, MODEL)] == [1, 2, 3, 4, 5]
    assert doctor.run(False, Project.load(candidates.workspace)) is False  # record 5 was written without its file
    assert doctor.run(True, Project.load(candidates.workspace)) is True


@pytest.mark.exhaustive
def test_the_files_of_a_version_are_the_registered_ones_under_its_first_run(
    candidates: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_history(candidates)
    first = {each.version: each for each in candidates.client.search_model_versions(f"name = '{MODEL}'")}
    use(other_store(candidates), monkeypatch)
    client = sync(candidates)
    for number, before in first.items():
        now = client.get_model_version(MODEL, str(number))
        assert now.run_id != before.run_id
        assert now.tags[ORIGINAL_RUN] == client.get_run(now.run_id).data.tags[ORIGINAL_RUN] == before.run_id
        with tracking.model_folder(client, Source(f"version {number}", now.run_id, MODEL, str(number))) as folder:
            assert manifest.of(folder) == before.tags[MANIFEST]
    assert transitions.current_stages(client, MODEL).production == Version(
        "3", first[3].tags["weights_digest"], first[3].run_id
    )


@pytest.mark.exhaustive
def test_numbers_of_deleted_versions_are_not_given_again(candidates: Trainings, monkeypatch: pytest.MonkeyPatch) -> None:
    with_history(candidates)
    candidates.client.delete_model_version(MODEL, "3")
    records.save(candidates.client, candidates.workspace, MODEL)
    assert json.loads(files(candidates)["version-3.json"])["deleted"]
    use(other_store(candidates), monkeypatch)
    client = sync(candidates)
    assert [*backup.stored(client, MODEL).versions] == [1]
    assert sync(candidates)
    assert str(client.create_model_version(MODEL, "mlflow-artifacts:/any").version) == "4"


@pytest.mark.exhaustive
def test_signatures_and_the_time_of_a_version_are_kept(
    candidates: Trainings, signing_key: Path, ssh_keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert signing_key.exists()
    names = f'anna@example.org namespaces="pipeline-*" {(ssh_keys / "anna.pub").read_text()}'
    candidates.workspace.allowed_signers.write_text(names)
    entry = candidates.client.get_model_version(MODEL, "1")
    for name, value in manifest.signed(MODEL, entry.run_id, entry.tags).items():
        candidates.client.set_model_version_tag(MODEL, "1", name, value)
    before = with_history(candidates)
    assert before.records[4].signature.startswith("-----BEGIN SSH SIGNATURE")
    use(other_store(candidates), monkeypatch)
    client = sync(candidates)
    assert Registry.of(client, candidates) == before
    again = client.get_model_version(MODEL, "1")
    assert manifest.signature(again, candidates.workspace.allowed_signers).signer == "anna@example.org"
    assert manifest.created_ms(again) == entry.creation_timestamp
    assert SIGNATURE not in client.get_model_version(MODEL, "3").tags


@pytest.mark.exhaustive
@pytest.mark.usefixtures("predicted_here")
def test_promotions_go_on_in_the_new_store(candidates: Trainings, monkeypatch: pytest.MonkeyPatch) -> None:
    with_history(candidates)
    use(other_store(candidates), monkeypatch)
    client, project = sync(candidates), Project.load(candidates.workspace)
    promotion.rollback("the new one is worse", project)
    assert transitions.current_stages(client, MODEL).aliases == {"production": "1"}
    promotion.promote("3", "staging", "again", True, False, project)
    promotion.archive("3", "", project)
    versions.run(project)
    assert Registry.of(client, candidates).problems == ()
    assert [*backup.read(candidates.workspace, MODEL).versions] == [1, 3]
    assert [*records.read(candidates.workspace, MODEL)] == [1, 2, 3, 4, 5, 6, 7]


@pytest.fixture
def empty_server(tmp_path: Path) -> Iterator[str]:
    """The address of an MLflow server on PostgreSQL that no other test uses."""
    with servers.postgresql() as store, servers.mlflow(store, tmp_path / "served") as address:
        yield address


class Killed(BaseException):
    """Ends a sync as a kill does: nothing catches it."""


@pytest.mark.exhaustive
@pytest.mark.parametrize("store", ["sqlite", "server"])
def test_a_sync_that_was_killed_anywhere_is_completed_by_the_next(
    candidates: Trainings, store: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    before = with_history(candidates)
    for point in (4, 12, 18, 24, 30) if store == "sqlite" else (24,):
        address = f"sqlite:///{candidates.workspace.home}/{point}.db"
        use(address if store == "sqlite" else request.getfixturevalue("empty_server"), monkeypatch)
        with monkeypatch.context() as patched, pytest.raises(Killed):
            _kill_at(point, patched)
            sync(candidates)
        client = tracking.connect(candidates.workspace)
        if any(UNFINISHED in each.tags for each in client.search_registered_models(f"name = '{MODEL}'")):
            with pytest.raises(LockedError, match=r"a sync of .* was cut off: `python -m pipeline sync` completes it"):
                move_without_gate(Trainings(candidates.workspace, client), "1", "staging")
        assert Registry.of(sync(candidates), candidates) == before, point


@pytest.mark.exhaustive
def test_a_run_whose_original_was_not_named_before_a_kill_gets_it_from_the_next_sync(
    candidates: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_history(candidates)
    use(other_store(candidates), monkeypatch)
    client = sync(candidates)
    named = {run.info.run_id: run.data.tags[ORIGINAL_RUN] for run in client.search_runs(["1"], f"tags.`{ORIGINAL_RUN}` != ''")}
    assert named
    for run_id in named:
        client.delete_tag(run_id, ORIGINAL_RUN)
    sync(candidates)
    assert {run_id: client.get_run(run_id).data.tags.get(ORIGINAL_RUN) for run_id in named} == named


def _kill_at(point: int, patched: pytest.MonkeyPatch) -> None:
    connect, written = tracking.connect, []

    def count(name: str) -> None:
        written.append(name)
        if len(written) == point:
            raise Killed

    def counting(*arguments: Any, **options: Any) -> Any:
        client = connect(*arguments, **options)
        on_each_write(client, count)
        return client

    patched.setattr(tracking, "connect", counting)


@pytest.mark.exhaustive
def test_a_laptops_registry_goes_to_a_server_and_the_laptop_keeps_its_own(
    candidates: Trainings, empty_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = with_history(candidates)
    client = sync(candidates, empty_server)
    found = Registry.of(client, candidates)
    assert found.registered.versions == before.registered.versions
    assert found.records == before.records
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert Registry.of(tracking.connect(candidates.workspace), candidates) == before


@pytest.mark.exhaustive
def test_what_contradicts_the_store_is_named_and_left_and_the_rest_is_published(
    candidates: Trainings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_history(candidates)
    use(other_store(candidates), monkeypatch)
    client = tracking.connect(candidates.workspace, create=True)
    client.create_registered_model(MODEL)
    for number in "12":
        client.create_model_version(MODEL, "mlflow-artifacts:/any", tags={"weights_digest": number * 64})
    client.set_registered_model_alias(MODEL, "production", "2")
    there = Trainings(candidates.workspace, client)
    move_without_gate(there, "2", "staging")
    stored = backup.stored(client, MODEL)
    with pytest.raises(RegistryError, match=r"3 of these could not be published, nothing was overwritten"):
        sync(candidates)
    told = capsys.readouterr().err
    assert "version 1 is another model there: weights 111111111111, here 8c5721b73cc3" in told
    assert "record 1 differs: " in told
    assert "alias production is version 2 there" not in told  # it follows the history, and that is the store's
    now = backup.stored(client, MODEL)
    assert {number: now.versions[number] for number in (1, 2)} == stored.versions
    assert [*now.versions] == [1, 2, 3]
    assert now.model is not None
    assert stored.model is not None
    assert now.model.aliases == stored.model.aliases


@pytest.mark.exhaustive
def test_a_version_without_files_anywhere_is_made_all_the_same_and_completed_later(
    candidates: Trainings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = with_history(candidates)
    hidden = candidates.workspace.artifacts.readlink()
    candidates.workspace.artifacts.unlink()
    use(f"sqlite:///{candidates.workspace.home}/far/other.db", monkeypatch)
    with pytest.raises(RegistryError, match=r"4 of these could not be published"):
        sync(candidates)
    assert "version 1: its files are nowhere here" in capsys.readouterr().err
    candidates.workspace.artifacts.symlink_to(hidden)
    assert Registry.of(sync(candidates), candidates) == before
    assert sync(candidates)
    assert capsys.readouterr().out.rstrip().endswith("has what this checkout has")


def test_register_does_not_begin_again_where_the_lost_versions_can_be_made_again(
    candidates: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.save(candidates.client, candidates.workspace, MODEL)
    use(other_store(candidates), monkeypatch)
    client = tracking.connect(candidates.workspace, create=True)
    with pytest.raises(RegistryError, match=r"has no version of .*, and registry/.* holds 3: `python -m pipeline sync` makes"):
        backup.check_not_lost(client, candidates.workspace, MODEL)
    candidates.workspace.artifacts.unlink()  # in a clone of somebody else's repository, they cannot
    backup.check_not_lost(client, candidates.workspace, MODEL)


@pytest.mark.exhaustive
def test_files_of_another_registry_stay_as_they_are(
    candidates: Trainings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_history(candidates)
    written = files(candidates)
    use(other_store(candidates), monkeypatch)
    there = Trainings(candidates.workspace, tracking.connect(candidates.workspace, create=True))
    there.register(there.add(PLAIN))
    records.save(there.client, candidates.workspace, MODEL)
    assert files(candidates) == written
    assert "is about another registry than the tracking store's (version 1)" in capsys.readouterr().err
    assert plan.make(there.client, candidates.workspace, MODEL).conflicts
