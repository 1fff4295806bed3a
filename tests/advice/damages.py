"""What can be wrong with a checkout: each is a function that does it to the one it is given."""

import hashlib
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow
from pyarrow import parquet

from tests.data_sets import flip

Break = Callable[[Path], None]


def garbage(path: str) -> Break:
    def make(checkout: Path) -> None:
        (checkout / path).write_bytes(b"not what it was")

    return make


def removed(path: str) -> Break:
    def make(checkout: Path) -> None:
        folder = checkout / path
        shutil.rmtree(folder) if folder.is_dir() else folder.unlink()

    return make


def replaced(path: str, old: str, new: str) -> Break:
    """Replace text in a file; what fits `old` first."""

    def make(checkout: Path) -> None:
        text = (checkout / path).read_text()
        assert re.search(old, text)
        (checkout / path).write_text(re.sub(old, new, text, count=1))

    return make


def in_store(*statements: str) -> Break:
    def make(checkout: Path) -> None:
        with closing(sqlite3.connect(checkout / "mlflow.db")) as store:
            for statement in statements:
                assert store.execute(statement).rowcount > 0, statement
            store.commit()

    return make


def of_version(version: int, path: str, content: bytes | None) -> Break:
    """Replace or remove an artifact of the version's run."""

    def make(checkout: Path) -> None:
        with closing(sqlite3.connect(checkout / "mlflow.db")) as store:
            find = "SELECT artifact_uri FROM runs JOIN model_versions ON run_uuid = run_id WHERE version = ?"
            folder = Path(store.execute(find, (version,)).fetchone()[0].removeprefix("file://"))
        assert (folder / path).is_file()
        (folder / path).write_bytes(content) if content is not None else (folder / path).unlink()

    return make


def files_of_version(version: int) -> Break:
    """Alter the version's model file."""

    def make(checkout: Path) -> None:
        with closing(sqlite3.connect(checkout / "mlflow.db")) as store:
            find = "SELECT storage_location FROM model_versions WHERE version = ?"
            folder = Path(store.execute(find, (version,)).fetchone()[0].removeprefix("file://"))
        file = folder / "data/model.keras"
        file.write_bytes(file.read_bytes()[:-1] + b"?")

    return make


def relabelled(path: str) -> Break:
    """Turn the labels in a table around, so that it is one of other images."""

    def make(checkout: Path) -> None:
        table = parquet.read_table(checkout / path)
        place = table.column_names.index("label")
        turned = table.set_column(place, "label", pyarrow.array(table["label"].to_pylist()[::-1], table["label"].type))
        parquet.write_table(turned, checkout / path)

    return make


def each_of(*breaks: Break) -> Break:
    def make(checkout: Path) -> None:
        for each in breaks:
            each(checkout)

    return make


def flipped(path: str) -> Break:
    """Flip a bit in the middle of the file, whose time stays."""

    def make(checkout: Path) -> None:
        flip(checkout / path, (checkout / path).stat().st_size // 2)

    return make


def flipped_in_cache(path: str) -> Break:
    """Flip the same bit in DVC's copy of the file."""

    def make(checkout: Path) -> None:
        md5 = hashlib.md5((checkout / path).read_bytes(), usedforsecurity=False).hexdigest()
        copy = checkout / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
        flip(copy, copy.stat().st_size // 2)

    return make


def ingest_other_data(checkout: Path) -> None:
    replaced("params.yaml", "seed: 44", "seed: 45")(checkout)
    for stage in ("ingest", "validate"):
        subprocess.run([sys.executable, "-m", "pipeline", stage], cwd=checkout, check=True, capture_output=True)


OTHER_DATA: Break = ingest_other_data
DELETED_RECORD = in_store("UPDATE runs SET lifecycle_stage = 'deleted' WHERE name LIKE '2 promote%'")
