"""Every path of a checkout, once, and the one way files are written: aside, then renamed.

A workspace has two folders. `root` is where the stages' inputs and outputs lie. `home` is where things live that outlast
one experiment (the tracking database, downloads): the same folder, except that `dvc exp run --temp` and queued experiments
run in a temporary copy while `DVC_ROOT` points at the project they were started from.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import MissingInputError, PipelineError


@dataclass(frozen=True)
class Workspace:
    """The paths of one checkout."""

    root: Path
    home: Path

    @classmethod
    def find(cls, start: Path | None = None) -> "Workspace":
        """The workspace around `start` (default: the current folder).

        Raises:
            PipelineError: no `dvc.yaml` in `start` or any folder above it.
        """
        start = (start or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / "dvc.yaml").is_file():
                home = os.environ.get("DVC_ROOT") if "DVC_STAGE" in os.environ else None
                return cls(folder, Path(home).resolve() if home else folder)
        raise PipelineError(f"no dvc.yaml in {start} or above it: run this inside a checkout of the pipeline")

    # What the user edits.
    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    # Outputs of ingest.
    @property
    def dataset(self) -> Path:
        return self.root / "data" / "dataset"

    @property
    def samples_png(self) -> Path:
        return self.root / "reports" / "samples.png"

    # Outputs of validate.
    @property
    def validated(self) -> Path:
        """Exists where the data passed, and says only which data: {"dataset_digest": …}."""
        return self.root / "data" / "validated.json"

    @property
    def validation_json(self) -> Path:
        return self.root / "reports" / "validation.json"

    @property
    def validation_html(self) -> Path:
        return self.root / "reports" / "validation.html"

    @property
    def features(self) -> Path:
        return self.root / "reports" / "features.parquet"

    @property
    def profile(self) -> Path:
        return self.root / "reports" / "profile.json"

    @property
    def data_docs(self) -> Path:
        """Made on request only, and no output of DVC's."""
        return self.root / "reports" / "data_docs"

    # Outputs of train.
    @property
    def model(self) -> Path:
        return self.root / "models" / "model.keras"

    @property
    def training(self) -> Path:
        return self.root / "models" / "training.json"

    @property
    def history(self) -> Path:
        return self.root / "reports" / "history.csv"

    # Outputs of evaluate.
    @property
    def metrics(self) -> Path:
        return self.root / "reports" / "metrics.json"

    @property
    def intervals(self) -> Path:
        return self.root / "reports" / "intervals.csv"

    @property
    def per_class(self) -> Path:
        return self.root / "reports" / "per_class.csv"

    @property
    def slices(self) -> Path:
        return self.root / "reports" / "slices.csv"

    @property
    def confusion_csv(self) -> Path:
        return self.root / "reports" / "confusion_matrix.csv"

    @property
    def confusion_normalized_csv(self) -> Path:
        return self.root / "reports" / "confusion_matrix_normalized.csv"

    @property
    def calibration_png(self) -> Path:
        return self.root / "reports" / "calibration.png"

    @property
    def calibration_csv(self) -> Path:
        """The reliability curve: a row per bin, as `dvc plots` draws it."""
        return self.root / "reports" / "calibration.csv"

    @property
    def confidence_png(self) -> Path:
        return self.root / "reports" / "confidence.png"

    @property
    def precision_recall_png(self) -> Path:
        return self.root / "reports" / "precision_recall.png"

    @property
    def confused_pairs_png(self) -> Path:
        """One example of each of the most frequent mistakes."""
        return self.root / "reports" / "confused_pairs.png"

    @property
    def network_png(self) -> Path:
        """What the network sees, layer by layer."""
        return self.root / "reports" / "network.png"

    @property
    def confusion_png(self) -> Path:
        return self.root / "reports" / "confusion_matrix.png"

    @property
    def confusion_pairs(self) -> Path:
        """One row per test picture, as the `confusion` template of `dvc plots` counts them."""
        return self.root / "reports" / "confusion_pairs.csv"

    @property
    def curves_png(self) -> Path:
        return self.root / "reports" / "training_curves.png"

    @property
    def predictions(self) -> Path:
        return self.root / "reports" / "predictions.parquet"

    @property
    def predictions_png(self) -> Path:
        return self.root / "reports" / "predictions.png"

    @property
    def model_card(self) -> Path:
        return self.root / "reports" / "model_card.md"

    @property
    def report(self) -> Path:
        return self.root / "reports" / "report.html"

    # Output of register; and of compare, which is no stage.
    @property
    def registration(self) -> Path:
        return self.root / "reports" / "registration.json"

    def comparison(self, a: str, b: str) -> Path:
        """The page that compares two models."""
        return self.root / "reports" / f"compare-{a}-{b}.html"

    # What outlasts an experiment.
    @property
    def downloads(self) -> Path:
        return self.home / "data" / "downloads"

    @property
    def database(self) -> Path:
        return self.home / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        return self.home / "mlartifacts"

    @property
    def checkpoints(self) -> Path:
        return self.home / ".checkpoints"

    @property
    def caches(self) -> Path:
        """Where libraries put what they would otherwise write into the user's home folder."""
        return self.home / ".cache"

    def shown(self, path: Path) -> str:
        """`path` as a person would type it: relative to the checkout where it lies inside."""
        for folder in (self.root, self.home):
            if path.is_relative_to(folder):
                return str(path.relative_to(folder))
        return str(path)

    def need(self, path: Path, stage: str) -> Path:
        """`path`, which `stage` makes.

        Raises:
            MissingInputError: it does not exist yet.
        """
        if not path.exists():
            raise MissingInputError(
                f"{self.shown(path)} does not exist yet: the {stage} stage makes it; `dvc repro {stage}` runs it"
            )
        return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write a file to; it becomes `path` when the block ends well, and vanishes when not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        yield aside
        aside.replace(path)
    except OSError as error:
        if error.filename:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error  # a full disk does not say which file
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` to fill; it becomes `path` when the block ends well, and vanishes when not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    aside.chmod(0o755)  # mkdtemp makes 0700, and the folder may be shared
    try:
        yield aside
        shutil.rmtree(path, ignore_errors=True)
        aside.replace(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
