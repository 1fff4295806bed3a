"""Where the artifacts of a SQLite store lie: beside the database, through whichever checkout, copy or link it is reached.

MLflow records absolute locations, so a store that was moved would look for its files in the old place, and one that was
copied would write into the original. `check` finds that out before MLflow is loaded, and `relocate` records where the files
are now. A folder elsewhere that was never this database's, such as that of another clone which shares it, is left in use.
"""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from pipeline.errors import TrackingError
from pipeline.workspace import replacing, replacing_folder

_SCHEME = re.compile(r"sqlite(\+pysqlite)?:///(?=[^?])")
_FOLDER = "mlartifacts"
_FOLDERS = (_FOLDER, "mlruns")  # where MLflow's own command line puts an experiment that it creates
_COLUMNS = (
    *(("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location")),
    *(("model_versions", "storage_location"), ("model_versions", "source")),
)
_OF_EXPERIMENTS = """select artifact_location from experiments
    union select replace(artifact_uri, '/' || run_uuid || '/artifacts', '') from runs"""  # few, however many the runs


def quoted(path: Path) -> str:
    """Return `path` as it stands in a SQLite URI, which SQLAlchemy decodes."""
    return re.sub(r"%(?=[0-9A-Fa-f]{2})|\?", lambda found: f"%{ord(found.group()):02X}", str(path))


def absolute(uri: str, home: Path) -> str:
    """Return a SQLite URI whose path counts from `home` with the absolute path; any other URI as it is."""
    file, (_, mark, query) = database(uri, home), uri.partition("?")
    if file is None:
        return uri
    path = quoted(file)
    # For `sqlite:` MLflow makes the parent folder, and forgets to decode its name.
    return f"{'sqlite' if path == str(file) else 'sqlite+pysqlite'}:///{path}{mark}{query}"


def database(uri: str, home: Path = Path("/")) -> Path | None:
    """Return the file of a SQLite URI, behind any link, where a relative path counts from `home`; None for a server."""
    scheme = _SCHEME.match(uri)
    return (home / unquote(uri[scheme.end() :].partition("?")[0])).resolve() if scheme else None


def artifact_location(uri: str, name: str = "") -> str | None:
    """Return the URI of the folder `name` among the artifacts of a SQLite store; None for a server, which decides itself.

    Raises:
        TrackingError: MLflow cannot write a path like this one.
    """
    file = database(uri)
    return (_root(file) / name).as_uri() if file else None


def _root(file: Path) -> Path:
    root = file.parent / _FOLDER
    if _path(root.as_uri()) != root:
        raise TrackingError(f"{file.parent} has a name that is not UTF-8, which MLflow cannot use: rename the folder")
    return root


@dataclass(frozen=True)
class Location:
    """One recorded location of files: where it says they are, and the same place beside the database."""

    table: str
    column: str
    row: int
    text: str
    there: Path
    here: Path


@dataclass(frozen=True)
class Elsewhere:
    """The locations that a database records below one folder of artifacts that is not beside it."""

    database: Path
    folder: Path
    locations: Sequence[Location]

    @cached_property
    def has_files_here(self) -> bool:
        """Whether files recorded there lie beside the database: it was moved or copied with them."""
        return any(_exists(each.here) for each in self._of_files)

    @cached_property
    def only_there(self) -> Sequence[Location]:
        """The folders that are in that folder alone, without those inside another; a link out of it is none."""
        files = {each.there: each for each in self._of_files if _exists(each.there) and not _exists(each.here)}
        outermost = [each for each in files.values() if files.keys().isdisjoint(each.there.parents)]
        return [each for each in outermost if each.there.resolve().is_relative_to(self.folder.resolve())]

    @cached_property
    def original(self) -> Path | None:
        """The database beside that folder which has runs of this one; this one is its copy."""
        runs = [(each.there.parent.name,) for each in self.locations if each.table == "runs"]
        other = self.folder.with_name(self.database.name)
        with suppress(sqlite3.Error), closing(_reading(other)) as found:
            known = (found.execute("select 1 from runs where run_uuid = ?", run).fetchone() for run in runs)
            return other if any(known) and not _same(other, self.database) else None
        return None

    @property
    def problem(self) -> str:
        """Why the store must not be used before `relocate`; "" where it may, because no other place has these files."""
        here = self.database.with_name(self.folder.name)
        store = f"the tracking store {self.database} records files in {self.folder}"
        if self.original and not self.has_files_here:
            return f"{store} as a copy of {self.original} without its files; a copy of those, in {here}, is to be used"
        if self.original or (self.has_files_here and _exists(self.folder)):
            return f"{store}, which still exists, but was copied or moved: its own files are in {here} and are to be used"
        moved = f"{store}, which is gone or not readable: it was moved, and its files are in {here}"
        return moved if self.has_files_here else ""

    @property
    def _of_files(self) -> Iterator[Location]:
        return (each for each in self.locations if each.table != "experiments")  # other stores' runs may lie there, too


def check(uri: str) -> None:
    """Refuse a SQLite store that was moved or copied and still records the old place; an unreadable one is not examined.

    Raises:
        TrackingError: it is one; or its files cannot lie beside it.
    """
    if file := database(uri):
        _root(file)
        for problem in filter(None, (found.problem for found in elsewhere(file))):
            raise TrackingError(f"{problem}: run `python -m pipeline doctor --fix`; nothing was changed")


def elsewhere(file: Path) -> Sequence[Elsewhere]:
    """Return the folders other than its own in which the database `file` records artifacts."""
    if not file.exists():
        return []
    with suppress(sqlite3.Error), closing(_reading(file)) as opened:
        known = {_path(location) for (location,) in opened.execute(_OF_EXPERIMENTS)}
        roots = {path.parent for path in known if path and path.parent.name in _FOLDERS}
        folders = [each for each in roots if not _same(each, file.with_name(each.name))]
        return [Elsewhere(file, each, list(_locations(opened, file, each))) for each in folders]
    return []


def relocate(found: Elsewhere) -> Path:
    """Record the files beside the database, copying those that are not there; return the database's backup.

    The old place stays as it is. Killed at any moment, all locations are the old ones or all are the new ones.
    """
    for each in found.only_there:
        with replacing_folder(each.here) as aside:
            shutil.copytree(each.there, aside, symlinks=True, dirs_exist_ok=True)
    try:
        with closing(sqlite3.connect(found.database, isolation_level=None)) as opened:
            opened.execute("begin immediate")
            backup = _back_up(found.database)
            for each in found.locations:
                value = each.here.as_uri() if each.text.startswith("file:") else str(each.here)
                change = f"update {each.table} set {each.column} = ? where rowid = ? and {each.column} = ?"  # noqa: S608
                opened.execute(change, (value, each.row, each.text))
            opened.execute("commit")
    except sqlite3.Error as error:
        raise _unwritable(found.database, error) from None
    return backup


def keep_beside(uri: str, experiment: Any) -> None:
    """Let new runs of an MLflow experiment store their files beside a SQLite database; those of older runs stay in use.

    Raises:
        TrackingError: the database cannot be written.
    """
    file, now = database(uri), _path(experiment.artifact_location)
    if file is None or now is None or now.parent.name != _FOLDER or _same(now.parent, _root(file)):
        return
    try:
        with closing(sqlite3.connect(file)) as opened, opened:
            change = "update experiments set artifact_location = ? where experiment_id = ?"
            opened.execute(change, (artifact_location(uri, now.name), int(experiment.experiment_id)))
    except sqlite3.Error as error:
        raise _unwritable(file, error) from None


def _locations(opened: sqlite3.Connection, file: Path, folder: Path) -> Iterator[Location]:
    """Yield what is recorded below `folder`, as far as the database's version has it."""
    own = file.with_name(folder.name)
    for table, column in _COLUMNS:
        with suppress(sqlite3.OperationalError):
            for row, text in opened.execute(f"select rowid, {column} from {table} where {column} like '%/%'"):  # noqa: S608
                there = _path(text)
                if there and there.is_relative_to(folder) and not there.is_relative_to(own):
                    yield Location(table, column, row, text, there, own / there.relative_to(folder))


def _path(location: str | None) -> Path | None:
    """Return the path of a local location; None for any other, and for one that leads out of its folder."""
    text = url2pathname(urlsplit(location).path) if location and location.startswith("file:") else location or ""
    path = Path(text)
    return path if path.is_absolute() and ".." not in path.parts else None


def _exists(path: Path) -> bool:
    return os.access(path, os.F_OK)  # `Path.exists` fails in a folder that may not be read


def _same(one: Path, other: Path) -> bool:
    return one == other or (_exists(one) and _exists(other) and one.samefile(other))


def _reading(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)


def _back_up(file: Path) -> Path:
    """Copy the database `file` beside it, under a name that is free."""
    names = (f"{file.name}.before-move{number}" for number in ("", *(f"-{each}" for each in range(2, 1000))))
    backup = next(path for path in map(file.with_name, names) if not path.exists())
    with replacing(backup) as aside, closing(_reading(file)) as old, closing(sqlite3.connect(aside)) as new:
        old.backup(new)
    return backup


def _unwritable(file: Path, error: sqlite3.Error) -> TrackingError:
    return TrackingError(f"the tracking store {file} cannot be written ({error}): get the right to write it, and try again")
