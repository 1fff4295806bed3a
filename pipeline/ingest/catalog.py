"""The data sets known by name: what they hold and where they come from. Facts only; `sources.py` reads them.

A new kind of source is a new record here, a member of `Known`, and a `case` in `sources.read`; mypy names the places that
forgot it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.dataset import SourceFile
from pipeline.errors import SourceError


@dataclass(frozen=True)
class IdxFiles:
    """Pictures and labels as gzipped IDX files that are downloaded, with an official test set."""

    name: str
    class_names: tuple[str, ...]
    train_images: SourceFile
    train_labels: SourceFile
    test_images: SourceFile
    test_labels: SourceFile
    urls: tuple[str, ...]  # folders that hold the four files, best first
    horizontal_flip: bool  # an image and its horizontal flip are of the same class

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """All four files."""
        return self.train_images, self.train_labels, self.test_images, self.test_labels


@dataclass(frozen=True)
class Embedded:
    """Pictures that ship inside scikit-learn, without an official test set: needs no network."""

    name: str
    class_names: tuple[str, ...]
    horizontal_flip: bool


Known = IdxFiles | Embedded

_FASHION_MNIST = IdxFiles(
    name="fashion-mnist",
    class_names=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    train_images=SourceFile(
        "train-images-idx3-ubyte.gz", 26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
    ),
    train_labels=SourceFile(
        "train-labels-idx1-ubyte.gz", 29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
    ),
    test_images=SourceFile(
        "t10k-images-idx3-ubyte.gz", 4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
    ),
    test_labels=SourceFile(
        "t10k-labels-idx1-ubyte.gz", 5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
    ),
    urls=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
    ),
    horizontal_flip=True,
)
_DIGITS = Embedded(name="digits", class_names=tuple("0123456789"), horizontal_flip=False)

CATALOG: Mapping[str, Known] = {known.name: known for known in (_FASHION_MNIST, _DIGITS)}


def find(name: str) -> Known:
    """The data set called `name`.

    Raises:
        SourceError: there is none; the message lists those there are.
    """
    try:
        return CATALOG[name]
    except KeyError:
        raise SourceError(f"unknown data set {name!r}: ingest.dataset is one of {', '.join(CATALOG)}") from None
