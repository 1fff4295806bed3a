"""Stores that were moved, copied or are shared: real databases with two real models, and files that can be told apart."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from pipeline import tracking
from pipeline.errors import TrackingError
from pipeline.tracking import Source, place
from pipeline.workspace import Workspace, sha256
from tests import stores
from tests.compare.trainings import MODEL, Trainings

_MANY_RUNS = """with recursive n(i) as (select 1 union all select i + 1 from n where i < 10000)
    insert into runs (run_uuid, name, status, lifecycle_stage, experiment_id, artifact_uri)
    select 'r' || i, 'r', 'FINISHED', 'active', 1, artifact_location || '/r' || i || '/artifacts'
    from n, experiments where experiment_id = 1"""
FIX = r"`python -m pipeline doctor --fix`"


def at(folder: Path) -> Workspace:
    return Workspace(folder, folder)


def copy_of(store: Path, folder: Path) -> Path:
    """Return `folder`, to which the database and the files of the store in `store` are copied."""
    folder.mkdir(parents=True)
    shutil.copy(store / "mlflow.db", folder)
    shutil.copytree(store / "mlartifacts", folder / "mlartifacts")
    return folder


def fix(folder: Path) -> None:
    for found in place.elsewhere(folder / "mlflow.db"):
        place.relocate(found)


@pytest.fixture(scope="module")
def at_home(versions: Trainings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two versions that records its files where they are."""
    folder = copy_of(versions.workspace.root, tmp_path_factory.mktemp("home") / "first")
    fix(folder)
    return folder


@pytest.fixture
def first(at_home: Path, tmp_path: Path) -> Path:
    folder = copy_of(at_home, tmp_path / "first")
    fix(folder)
    (folder / "mlflow.db.before-move").unlink()
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def locations(folder: Path) -> list[str]:
    """Every location that the database in `folder` records."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return [
            str(text)
            for table, column in place._COLUMNS
            for (text,) in database.execute(f"select {column} from {table} where {column} like 'file:%'")  # noqa: S608
        ]


def read_models(folder: Path) -> list[str]:
    """The digests of the two versions' model files, which their manifests are checked against as they are read."""
    client = stores.connect(at(folder))
    found = []
    for number in ("1", "2"):
        entry = client.get_model_version(MODEL, number)
        with tracking.model_folder(client, Source(f"version {number}", entry.run_id, MODEL, number)) as files:
            found.append(sha256(files / "data/model.keras"))
    return found


def new_run(folder: Path) -> Path:
    """Log a file on a new run, and return where it is."""
    client = stores.connect(at(folder))
    run = client.create_run(tracking.experiment_id(client, at(folder), "fashion-mnist"))
    client.log_text(run.info.run_id, "new", "new.txt")
    (path,) = folder.parent.glob(f"*/mlartifacts/*/{run.info.run_id}/artifacts/new.txt")
    return path


def test_a_moved_store_is_recognised_and_its_files_are_read_where_they_are_after_the_fix(first: Path) -> None:
    second = first.rename(first.with_name("second"))
    before = content(second)
    message = (
        rf"first/mlartifacts, which is gone or not readable: it was moved, and its files are in .*second/mlartifacts: run {FIX}"
    )
    with pytest.raises(TrackingError, match=message) as error:
        stores.connect(at(second))
    assert "\n" not in str(error.value)
    assert content(second) == before
    fix(second)
    assert locations(second)
    assert all(each.startswith(f"{second.as_uri()}/mlartifacts/") for each in locations(second))
    assert len(set(read_models(second))) == 2
    assert new_run(second).is_relative_to(second)
    assert not first.exists()
    with closing(sqlite3.connect(second / "mlflow.db.before-move")) as backup:
        assert backup.execute("select artifact_location from experiments limit 1").fetchone() == (
            f"{first.as_uri()}/mlartifacts/0",
        )


def test_a_copy_never_writes_into_the_original(first: Path) -> None:
    second, before = copy_of(first, first.with_name("second")), content(first)
    message = rf"first/mlartifacts, which still exists, but was copied or moved: its own files are in .*second/mlart.*{FIX}"
    with pytest.raises(TrackingError, match=message):
        stores.connect(at(second))
    fix(second)
    assert new_run(second).is_relative_to(second)
    assert content(first) == before
    assert read_models(first) == read_models(second)


def test_a_copy_whose_original_was_deleted_loses_nothing(first: Path) -> None:
    second = copy_of(first, first.with_name("second"))
    shutil.rmtree(first)
    with pytest.raises(TrackingError, match="which is gone"):
        stores.connect(at(second))
    fix(second)
    assert len(read_models(second)) == 2


def test_runs_that_a_copy_once_stored_in_the_original_are_copied(first: Path) -> None:
    second = first.with_name("second")
    new = new_run(first)
    copy_of(first, second)
    shutil.rmtree(second / new.parent.parent.relative_to(first))
    fix(second)
    assert (second / new.relative_to(first)).read_text() == new.read_text() == "new"


def test_a_database_copied_without_its_files_is_not_used_before_they_are_copied(first: Path) -> None:
    second, before = first.with_name("second"), content(first)
    second.mkdir()
    shutil.copy(first / "mlflow.db", second)
    with pytest.raises(TrackingError, match=rf"as a copy of .*first/mlflow\.db without its files; .*{FIX}"):
        stores.connect(at(second))
    fix(second)
    assert len(read_models(second)) == 2
    assert new_run(second).is_relative_to(second)
    assert content(first) == before


def test_a_database_moved_without_its_files_reads_them_where_they_are_and_stores_new_ones_beside_it(first: Path) -> None:
    second = first.with_name("second")
    second.mkdir()
    (first / "mlflow.db").rename(second / "mlflow.db")
    before = content(first)
    assert len(read_models(second)) == 2
    assert new_run(second).is_relative_to(second)
    fix(second)
    assert content(first) == before
    shutil.rmtree(first)
    assert len(read_models(second)) == 2


def test_clones_that_share_a_database_keep_their_files_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared/mlflow.db")
    client = tracking.connect(at(tmp_path / "clone"), create=True)
    made = client.get_experiment(tracking.experiment_id(client, at(tmp_path / "clone"), "toys"))
    assert made.artifact_location == f"{tmp_path.as_uri()}/shared/mlartifacts/toys"
    assert client.get_experiment("0").artifact_location == f"{tmp_path.as_uri()}/shared/mlartifacts/0"


def test_a_shared_database_whose_older_runs_lie_in_a_clone_stays_in_use(first: Path) -> None:
    shared = first.with_name("shared")
    shared.mkdir()
    (first / "mlflow.db").rename(shared / "mlflow.db")
    stores.connect(at(first))  # the clone has a store of its own again
    assert new_run(shared).is_relative_to(shared)
    assert len(read_models(shared)) == 2
    fix(shared)
    shutil.rmtree(first)
    assert len(read_models(shared)) == 2


def test_a_link_to_the_store_is_the_store(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (link := first.with_name("link")).symlink_to(first)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{link}/mlflow.db")
    tracking.check_place(at(link))
    assert place.database(tracking.tracking_uri(at(link))) == first / "mlflow.db"
    (first / "mlflow.db").rename(moved := first.with_name("big.db"))
    (first / "mlflow.db").symlink_to(moved)
    assert place.artifact_location(tracking.tracking_uri(at(first)), "toys") == f"{first.parent.as_uri()}/mlartifacts/toys"


def test_files_elsewhere_that_were_never_beside_the_database_are_left(first: Path) -> None:
    second = first.rename(first.with_name("second"))
    kept = ["s3://bucket/mlartifacts/toys", "file:///data/runs/1", f"{first.as_uri()}/mlartifacts/../../x", "models:/m-1"]
    with closing(sqlite3.connect(second / "mlflow.db")) as database, database:
        for number, location in enumerate(kept):
            columns = "(name, artifact_location, lifecycle_stage, workspace) values (?, ?, 'active', 'default')"
            database.execute(f"insert into experiments {columns}", (f"other {number}", location))
        database.execute(
            "update model_versions set source = ? where version = 1", (str(first / "mlartifacts/fashion-mnist/models"),)
        )
    fix(second)
    with closing(sqlite3.connect(second / "mlflow.db")) as database:
        found = [
            each
            for (each,) in database.execute("select artifact_location from experiments where name like 'other %' order by name")
        ]
        (source,) = database.execute("select source from model_versions where version = 1").fetchone()
    assert found == kept
    assert source == str(second / "mlartifacts/fashion-mnist/models")


def test_only_folders_of_artifacts_are_copied_and_no_link_out_of_them(first: Path, tmp_path: Path) -> None:
    secret = tmp_path / "home/mlartifacts/x/run/artifacts"
    secret.parent.mkdir(parents=True)
    (tmp_path / "private").mkdir()
    secret.symlink_to(tmp_path / "private")
    with closing(sqlite3.connect(first / "mlflow.db")) as database, database:
        database.execute("update runs set artifact_uri = ?", (secret.as_uri(),))
        database.execute("update experiments set artifact_location = ?", (secret.parents[1].as_uri(),))
        database.execute("update model_versions set source = ?, storage_location = ?", (str(tmp_path / "private"),) * 2)
    assert [(each.only_there, each.problem) for each in place.elsewhere(first / "mlflow.db")] == [([], "")]


@pytest.mark.exhaustive
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_locations(first: Path) -> None:
    with closing(sqlite3.connect(first / "mlflow.db")) as database, database:
        database.execute(_MANY_RUNS)
    second = first.rename(first.with_name("second"))
    code = "import sys; from pathlib import Path; from pipeline.tracking import place; file = Path(sys.argv[1])\n"
    code += "print(1, flush=True); [place.relocate(each) for each in place.elsewhere(file)]"
    found: list[set[bool]] = []
    process = None
    while process is None or process.returncode:
        process = subprocess.Popen([sys.executable, "-c", code, str(second / "mlflow.db")], stdout=subprocess.PIPE)
        assert process.stdout
        process.stdout.readline()
        time.sleep(0.1 * len(found))
        process.kill()
        process.communicate()
        found.append({each.startswith(second.as_uri()) for each in locations(second)})
    assert len(found) > 3
    assert {len(each) for each in found} == {1}  # all locations are old ones, or all are new ones
    states = [True in each for each in found]
    assert states == sorted(states)  # a kill after the change, and before the end of the process, finds it made
    assert (states[0], states[-1]) == (False, True)
    assert len(read_models(second)) == 2


@pytest.mark.parametrize("place_of_the_failure", [1, 4, 7])
def test_cut_off_between_two_changes_all_locations_are_the_old_ones(
    first: Path, monkeypatch: pytest.MonkeyPatch, place_of_the_failure: int
) -> None:
    second = first.rename(first.with_name("second"))
    before, (found,) = locations(second), place.elsewhere(second / "mlflow.db")
    done: list[int] = []

    def as_uri(path: Path) -> str:
        done.append(1)
        if len(done) == place_of_the_failure + 1:  # the first is of the backup
            raise KeyboardInterrupt
        return f"file://{path}"

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "as_uri", as_uri)
        place.relocate(found)
    assert locations(second) == before
    fix(second)
    assert len(read_models(second)) == 2
    assert sorted(path.name for path in second.glob("mlflow.db.*")) == ["mlflow.db.before-move", "mlflow.db.before-move-2"]


def test_a_database_that_cannot_be_read_is_left_to_mlflow(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database")
    assert place.elsewhere(tmp_path / "mlflow.db") == []
    with closing(sqlite3.connect(tmp_path / "older.db")) as database:
        database.execute("create table experiments (artifact_location)")
    assert place.elsewhere(tmp_path / "older.db") == []


NAMES = ["a b", "100%", "a%20b", "what?", "#1", "übung", "a;b&c=d", 'it\'s "x"']


@pytest.mark.parametrize("name", NAMES)
def test_a_path_may_have_any_character(empty_store: Path, tmp_path: Path, name: str) -> None:
    (folder := tmp_path / name).mkdir()
    stores.copy(empty_store, at(folder))
    (folder / "mlartifacts").unlink()
    assert new_run(folder).read_text() == "new"
    assert sorted(each.name for each in tmp_path.iterdir()) == [name]
    assert place.database(tracking.tracking_uri(at(folder))) == folder / "mlflow.db"


def test_a_path_that_mlflow_cannot_take_is_one_line(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    with pytest.raises(TrackingError, match=r"has a name that is not UTF-8, which MLflow cannot use: rename the folder"):
        tracking.check_place(at(folder))


@pytest.mark.exhaustive
def test_the_check_of_ten_thousand_runs_takes_no_time_that_one_notices(first: Path) -> None:
    with closing(sqlite3.connect(first / "mlflow.db")) as database, database:
        database.execute(_MANY_RUNS)
    started = time.perf_counter()
    tracking.check_place(at(first))
    at_home = time.perf_counter() - started
    second = first.rename(first.with_name("second"))
    started = time.perf_counter()
    with pytest.raises(TrackingError, match="it was moved"):
        tracking.check_place(at(second))
    moved = time.perf_counter() - started
    started = time.perf_counter()
    fix(second)
    fixed = time.perf_counter() - started
    print(f"\n10,000 runs: {1000 * at_home:.0f} ms where they are, {1000 * moved:.0f} ms moved, {1000 * fixed:.0f} ms the fix")
    assert at_home < 0.2
    assert moved < 2
    assert fixed < 10
