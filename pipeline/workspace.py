"""Every path of a checkout, defined once, and the one way files are written: aside, then renamed.

A workspace has two folders. `root` is where the stages' inputs and outputs lie. `home` is where things live that outlast
one experiment (the tracking database, downloads): the same folder, except that `dvc exp run --temp` and queued experiments
run in a temporary copy while `DVC_ROOT` points at the project they were started from.
"""

import glob
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pipeline.errors import MissingInputError, PipelineError

_Kind = TypeVar("_Kind")
_FULL = r"(?i)no space left|disk quota|disk is full|\d+ requested and \d+ written"  # of the system, of SQLite, of NumPy
_MUCH = 100_000_000  # bytes; with so much free, a disk that is full is not ours
_MAX_JSON = 10_000_000  # bytes of one of our own JSON files; the largest holds a diff of a million


class _Below:
    """A path below one of a workspace's two folders, as an attribute."""

    def __init__(self, path: str, *, home: bool = False) -> None:
        self._path, self._home = path, home

    def __get__(self, workspace: "Workspace", _: object = None) -> Path:
        return (workspace.home if self._home else workspace.root) / self._path


@dataclass(frozen=True)
class Workspace:
    """The paths of one checkout."""

    root: Path
    home: Path

    params = _Below("params.yaml")
    allowed_signers = _Below("allowed_signers")  # whose signatures count; written by people
    # ingest
    dataset = _Below("data/dataset")
    samples_png = _Below("reports/samples.png")
    # validate
    validated = _Below("data/validated.json")  # exists only where the data passed; holds {"dataset_digest": …}
    validation_json = _Below("reports/validation.json")
    validation_html = _Below("reports/validation.html")
    features = _Below("reports/features.parquet")
    profile = _Below("reports/profile.json")
    baseline = _Below("reports/baseline.parquet")
    data_docs = _Below("reports/data_docs")  # on request only; not an output of the DVC stage
    # train
    model = _Below("models/model.keras")
    training = _Below("models/training.json")
    training_images = _Below("models/training_images.npy")  # sorted digests, see dataset.trained_on
    history = _Below("reports/history.csv")
    # evaluate
    metrics = _Below("reports/metrics.json")
    intervals = _Below("reports/intervals.csv")
    per_class = _Below("reports/per_class.csv")
    slices = _Below("reports/slices.csv")
    confusion_csv = _Below("reports/confusion_matrix.csv")
    confusion_normalized_csv = _Below("reports/confusion_matrix_normalized.csv")
    confusion_png = _Below("reports/confusion_matrix.png")
    confusion_pairs = _Below("reports/confusion_pairs.csv")  # one row per test image, for `dvc plots` to count
    confused_pairs_png = _Below("reports/confused_pairs.png")
    calibration_csv = _Below("reports/calibration.csv")
    calibration_png = _Below("reports/calibration.png")
    confidence_png = _Below("reports/confidence.png")
    precision_recall_png = _Below("reports/precision_recall.png")
    network_png = _Below("reports/network.png")
    curves_png = _Below("reports/training_curves.png")
    predictions = _Below("reports/predictions.parquet")
    predictions_png = _Below("reports/predictions.png")
    model_card = _Below("reports/model_card.md")
    report = _Below("reports/report.html")
    evaluation = _Below("reports/evaluation.json")  # what the run of the training gets; written last
    # register
    registration = _Below("reports/registration.json")
    # shared by all experiments of a checkout
    downloads = _Below("data/downloads", home=True)
    database = _Below("mlflow.db", home=True)
    artifacts = _Below("mlartifacts", home=True)
    checkpoints = _Below(".checkpoints", home=True)
    registry = _Below("registry", home=True)  # versions and records of the registry, as files
    promotions_seen = _Below(".cache/promotions.json", home=True)  # the last record of each history that was seen here
    caches = _Below(".cache", home=True)  # of libraries that would otherwise write into the user's home folder

    def comparison(self, a: str, b: str) -> Path:
        """Return the path of the page that compares the models `a` and `b`."""
        return self.root / "reports" / f"compare-{a}-{b}.html"

    @classmethod
    def find(cls, start: Path | None = None) -> "Workspace":
        """Return the workspace around `start` (default: the current folder).

        Raises:
            PipelineError: no `dvc.yaml` in `start` or any folder above it.
        """
        start = (start or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / "dvc.yaml").is_file():
                home = os.environ.get("DVC_ROOT") if "DVC_STAGE" in os.environ else None
                return cls(folder, Path(home).resolve() if home else folder)
        raise PipelineError(f"no dvc.yaml in {start} or above it: run this inside a checkout of the pipeline")

    def shown(self, path: Path) -> str:
        """Return `path` as one types it: relative to the checkout if it lies inside."""
        for folder in (self.root, self.home):
            if path.is_relative_to(folder):
                return str(path.relative_to(folder))
        return str(path)

    def need(self, path: Path, stage: str) -> Path:
        """Return `path`, an output of `stage`.

        Raises:
            MissingInputError: it does not exist yet.
        """
        if not path.exists():
            raise MissingInputError(
                f"{self.shown(path)} does not exist yet: the {stage} stage makes it; `dvc repro {stage}` runs it"
            )
        return path


def full_disk(error: BaseException, workspace: Workspace) -> str:
    """Return which folder is full, if that is what `error` or an error behind it comes from; else ""."""
    places = (
        *("data", "models", "reports"),
        workspace.checkpoints,
        workspace.artifacts,
        workspace.caches,
        tempfile.gettempdir(),
    )
    free = {path: shutil.disk_usage(path).free for place in places if (path := workspace.root / place).is_dir()}
    fullest = min(free, key=lambda path: free[path], default=workspace.root)
    found: BaseException | None = error
    while found:
        ours = isinstance(found, OSError) or free.get(fullest, _MUCH) < _MUCH  # else it is another machine's disk
        if ours and re.search(_FULL, str(found)):
            break
        found = found.__context__
    else:
        return ""
    named = isinstance(found, OSError) and (found.filename2 or found.filename)  # where a copy fails, the first is its source
    folder = next(path for path in (Path(str(named)), *Path(str(named)).parents) if path.is_dir()) if named else fullest
    left = shutil.disk_usage(folder).free / 1e6
    return (
        f"{workspace.shown(folder)} cannot be written: its disk is full ({left:,.1f} MB are free, more are needed): free some "
        "space, then run the same command again"
    )


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; rename it to `path` on success, remove it on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        yield aside
        aside.replace(path)
    except OSError as error:
        if error.filename not in (None, str(aside)):
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error  # NumPy and a full disk name none
    finally:
        with suppress(OSError):  # it does not exist, or nothing can be written here: that is told already
            aside.unlink()


def _remove_left(path: Path) -> None:
    """Remove the temporary paths beside `path` whose process was killed."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part*"):
        import psutil

        pid = left.name.removeprefix(f".{path.name}.").partition(".")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def read_json(kind: type[_Kind], path: Path) -> _Kind:
    """Return the JSON in `path`, which anybody may have written, as the dataclass `kind`: types, ranges and size are checked.

    Raises:
        OSError: it cannot be read.
        ValueError: it is something else; the message is one line.
    """
    from pydantic import TypeAdapter, ValidationError

    if path.stat().st_size > _MAX_JSON:
        raise ValueError(f"more than {_MAX_JSON:,} bytes")
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ascii(".".join(str(part)[:50] for part in first["loc"]) or "the file")[1:-1]  # keys may be terminal escapes
        raise ValueError(f"{place}: {first['msg']}"[:200]) from None


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, as `replacing` does."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` to fill; rename it to `path` on success, remove it on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(path)
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.{os.getpid()}.", suffix=".part", dir=path.parent))
    aside.chmod(0o755)  # mkdtemp makes 0700, and the folder may be shared
    try:
        yield aside
        shutil.rmtree(path, ignore_errors=True)
        aside.replace(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
