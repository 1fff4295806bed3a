"""The data sets known by name: what they hold, and where Fashion-MNIST's files come from.

Each file comes from the first that has it: data/downloads/; $DATASET_MIRROR/<data set>/, a folder or an http(s) URL; the
official mirrors. Folders are read in place. Pooch downloads to a temporary file and checks its SHA-256 before it is renamed.

An invalid file in a place that the user chose is an error, because silence would hide it; one from an official mirror is
reported on stderr, and the next mirror tried. A mirror that does not respond is tried once, not once per file.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from pipeline.dataset import SourceFile
from pipeline.environment import shown_url
from pipeline.errors import DownloadError, SourceError
from pipeline.ingest import idx
from pipeline.ingest.images import Arrays
from pipeline.ingest.source import Source
from pipeline.workspace import Workspace, sha256

MIRROR = "DATASET_MIRROR"
_TIMEOUT = (10, 30)  # seconds to connect, and between two bytes: a long download is fine, a silent one is not
_RETRIES = 1  # of a download that fails, after a second


@dataclass(frozen=True)
class Known:
    """A data set known by name; one without files is part of scikit-learn."""

    name: str
    class_names: tuple[str, ...]
    horizontal_flip: bool  # an image and its horizontal flip are of the same class
    limits: Mapping[str, float] = field(default_factory=dict)  # of a model to be registered, by the keys of `register`
    files: tuple[SourceFile, ...] = ()  # training images, training labels, test images, test labels
    urls: tuple[str, ...] = ()  # folders that hold the files, best first


_FASHION_MNIST = Known(
    name="fashion-mnist",
    class_names=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    horizontal_flip=True,
    limits={"min_accuracy": 0.9, "min_class_recall": 0.6, "max_calibration_error": 0.08, "min_slice_accuracy": 0.5},
    files=(
        SourceFile("train-images-idx3-ubyte.gz", 26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        SourceFile("train-labels-idx1-ubyte.gz", 29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        SourceFile("t10k-images-idx3-ubyte.gz", 4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        SourceFile("t10k-labels-idx1-ubyte.gz", 5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
    urls=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
    ),
)
CATALOG: Mapping[str, Known] = {
    "fashion-mnist": _FASHION_MNIST,
    "digits": Known("digits", tuple("0123456789"), horizontal_flip=False),
}


def read(name: str, workspace: Workspace, scratch: Path) -> Source:
    """Return the images of the data set called `name`, downloaded if necessary; `scratch` is for what must be unpacked.

    Raises:
        SourceError: a file is missing or invalid.
        OSError: `scratch` cannot be written.
    """
    known = CATALOG[name]
    if not known.files:
        return _read_digits(known)
    paths = fetch(known, workspace)
    where = " and ".join(dict.fromkeys(workspace.shown(path.parent) for path in paths))
    return replace(idx.read_four(paths, known.class_names, scratch), where=where, grows=False)


def _read_digits(known: Known) -> Source:
    """Return 1,797 grey images of 8×8 pixels, brought from 0-16 to 0-255.

    They are the test part of https://archive.ics.uci.edu/dataset/80.
    """
    from sklearn.datasets import load_digits

    content = load_digits()
    images = np.rint(content.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    shipped = resources.files("sklearn.datasets.data").joinpath("digits.csv.gz").read_bytes()
    file = SourceFile("scikit-learn digits.csv.gz", len(shipped), hashlib.sha256(shipped).hexdigest())
    return Source(known.class_names, Arrays(images, content.target.astype(np.int32)), None, (file,), file.name, grows=False)


def fetch(known: Known, workspace: Workspace) -> tuple[Path, ...]:
    """Return a local copy, checked, of each of the data set's files.

    Raises:
        DownloadError: no mirror provided a file.
        SourceError: a file in data/downloads or in the user's mirror is invalid.
        OSError: data/downloads cannot be written.
    """
    found = _find_local(known, workspace)
    if len(found) < len(known.files):
        with locked(workspace, "downloads"):
            found = _find_local(known, workspace)  # another process may have been faster
            missing = ", ".join(file.name for file in known.files if file.name not in found)
            if missing and (mirror := _mirror_folder(known, workspace)):
                print(f"{known.name}: {MIRROR}: {mirror} has no {missing}", file=sys.stderr)
            mirrors = _mirror_urls(known)
            for file in known.files:
                if file.name not in found:
                    found[file.name] = _download(file, known, mirrors, workspace)
    return tuple(found[file.name] for file in known.files)


def _find_local(known: Known, workspace: Workspace) -> dict[str, Path]:
    """Return the files in data/downloads or in the user's mirror folder, checked."""
    found = {}
    folders = {workspace.downloads: "delete it, so that it is downloaded again"}
    if mirror := _mirror_folder(known, workspace):
        folders[mirror] = f"put the correct file there, or unset {MIRROR}"
    for file in known.files:
        for folder, way_out in folders.items():
            path = folder / file.name
            if os.path.lexists(path):
                if problem := _problem(path, file):
                    raise SourceError(f"{workspace.shown(path)} {problem}: {way_out}")
                found[file.name] = path
                break
    return found


def _problem(path: Path, file: SourceFile) -> str | None:
    """Return why the content of `path` is not `file`, if it is not."""
    try:
        size = path.stat().st_size
        if size != file.bytes:
            return f"holds {size:,} bytes instead of {file.bytes:,}"
        digest = sha256(path)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if digest == file.sha256 else f"has SHA-256 {digest} instead of {file.sha256}"


def _mirror_folder(known: Known, workspace: Workspace) -> Path | None:
    """Return the user's mirror if it is a folder; a relative one is relative to the checkout, also in `dvc exp run --temp`."""
    mirror = os.environ.get(MIRROR, "").removeprefix("file://")
    return None if not mirror or "://" in mirror else (workspace.home / Path(mirror).expanduser() / known.name).resolve()


def _mirror_urls(known: Known) -> list[str]:
    """Return the folders to download from, best first.

    Raises:
        SourceError: `$DATASET_MIRROR` is a URL that cannot be used.
    """
    mirror = os.environ.get(MIRROR, "")
    scheme = mirror.partition("://")[0]
    if "://" not in mirror or scheme == "file":
        return [*known.urls]
    try:
        valid = scheme in ("http", "https") and urlsplit(mirror).port != 0
    except ValueError:  # a port that is not a number, or a password with a slash
        valid = False
    if not valid:
        raise SourceError(f"{MIRROR} is not a valid http:// or https:// URL: set it to one or to a folder, or unset it")
    return [_below(mirror, known.name), *known.urls]


def _below(url: str, name: str) -> str:
    """Return the address of `name` in the folder `url`; a query, such as a signature, stays at its end."""
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{name}", fragment="").geturl()


def _download(file: SourceFile, known: Known, mirrors: list[str], workspace: Workspace) -> Path:
    """Return `file` in data/downloads, from the first of `mirrors` that has it; those that do not respond are removed."""
    from requests import RequestException

    for url in tuple(mirrors):
        shown = shown_url(_below(url, file.name))
        print(f"downloading {file.name} ({file.bytes:,} bytes) from {shown}", file=sys.stderr)
        try:
            return _retrieve(url, file, workspace.downloads)
        except RequestException as error:
            status = error.response.status_code if error.response is not None else None
            print(f"{known.name}: {shown}: {f'HTTP status {status}' if status else 'no complete response'}", file=sys.stderr)
            if status != 404:
                mirrors.remove(url)
        except ValueError:
            problem = f"does not have the SHA-256 {file.sha256}"
            if url not in known.urls:
                raise SourceError(f"{shown} {problem}: put the correct file there, or unset {MIRROR}") from None
            print(f"{known.name}: {shown} {problem}", file=sys.stderr)
    folder, mirror = workspace.shown(workspace.downloads), shown_url(os.environ.get(MIRROR, ""))
    raise DownloadError(
        f"{known.name}: {file.name} is neither in {folder}/ nor in ${MIRROR} ({mirror or 'not set'}), and no official mirror "
        f"provided it: put the {len(known.files)} files into {folder}/, or set {MIRROR} to a folder or URL that holds "
        f"{known.name}/, or run `python -m pipeline run --dataset digits`, which needs no network"
    )


def _retrieve(url: str, file: SourceFile, folder: Path) -> Path:
    """Download `file` from the folder `url` into `folder`; raise what pooch raises, a ValueError for a wrong SHA-256."""
    import pooch

    pooch.get_logger().setLevel("ERROR")  # it would print the URL with its password
    downloader = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(),
        timeout=_TIMEOUT,
        headers={"Accept-Encoding": "identity"},
        hooks={"response": _keep_compressed},
    )
    partial = folder / ".partial"  # a folder of its own, so that what a killed download left can be removed
    files = pooch.create(
        partial,
        "",
        registry={file.name: f"sha256:{file.sha256}"},
        urls={file.name: _below(url, file.name)},
        retry_if_failed=_RETRIES,
    )
    try:
        path = Path(files.fetch(file.name, downloader=downloader))
        path.chmod(0o644)  # temporary files are made 0600, and the folder may be shared
        return path.replace(folder / file.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _keep_compressed(response: Any, **_: object) -> None:
    """Stop requests from unpacking a .gz file that a server labels "Content-Encoding: gzip"."""
    response.raw.headers.pop("Content-Encoding", None)


@contextmanager
def locked(workspace: Workspace, task: str) -> Iterator[None]:
    """Hold the lock of `task`, waiting for another process that has it; the system frees it when a process dies."""
    from filelock import FileLock, Timeout

    path = workspace.caches / f"{task}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another process: {task} …", file=sys.stderr)
        held = lock.acquire()
    with held:
        yield
