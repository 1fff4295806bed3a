"""Quiet the libraries and keep what they write inside the checkout, by environment variables set before they load.

Variables that the user set are left alone. What they may hold, passwords and tokens, is never shown: `shown_url`.
"""

import gc
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pipeline.errors import PipelineError
from pipeline.workspace import Workspace


def prepare() -> None:
    """Set this process's environment; child processes inherit it."""
    for name, value in settings().items():
        os.environ.setdefault(name, value)


def settings() -> Mapping[str, str]:
    """Variable → value, for every library the pipeline runs."""
    return {**_QUIET, **_folders()}


def load_tensorflow() -> None:
    """Import TensorFlow and Keras without their start-up messages; call it before `import keras`.

    Messages about missing CUDA libraries go to file descriptor 2 before any log level is read, so that descriptor is
    redirected meanwhile. If the import fails, they are shown.
    """
    if "keras" in sys.modules:
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notes:
        stderr = os.dup(2)
        os.dup2(notes.fileno(), 2)
        failed = True
        try:
            with loading(without=("sklearn", "matplotlib")):  # for keras.wrappers and keras.visualization, unused here
                import keras  # noqa: F401

            failed = False
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            if failed:
                notes.seek(0)
                sys.stderr.write(notes.read().decode(errors="replace"))


@contextmanager
def loading(without: tuple[str, ...] = ()) -> Iterator[None]:
    """Speed up the import of a heavy library: Keras 7.3 → 3.6 s, Great Expectations 5.2 → 4.0 s.

    An import creates millions of objects and drops few, so the garbage collector is paused. Optional dependencies named in
    `without` are hidden from the library.
    """
    hidden = [name for name in without if name not in sys.modules]
    enabled = gc.isenabled()
    gc.disable()
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: "there is no such module"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
        if enabled:
            gc.freeze()  # later collections need not walk through all of it
            gc.enable()


def shown_url(uri: str) -> str:
    """Return `uri` without user, password, query and fragment; where they cannot be told apart, as little as is certain."""
    from pipeline.page import printable  # loads NumPy, which --help does without

    text = printable(uri)
    scheme, slashes, rest = text.partition("://")
    if not slashes:  # a path, or host:port, whose scheme was forgotten
        return text if re.match(r"[.~]?/(?!/)", text) else _MASKED if "@" in text else re.split(r"[?#]", text)[0]
    authority, path, *_ = *re.split(r"(?=[/?#])", rest, maxsplit=1), ""
    if not re.fullmatch(r"[A-Za-z][\w+.-]*", scheme):
        return _MASKED
    if authority and "@" in path and not re.fullmatch(_HOST_NAME, authority):  # of a password with an unescaped / ? or #
        return f"{scheme}://{_MASKED}"
    host = re.sub(_NO_PORT, f":{_MASKED}", authority.rpartition("@")[2])
    return f"{scheme}://{host}{re.split('[?#]', path)[0]}"


_MASKED = "…"
_HOST_NAME = r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]+"
_NO_PORT = r"(?<!:):(?!\d{0,5}$)[^:\]]*$"  # perhaps a password, behind which the host was forgotten
_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # it logs missing GPUs as errors; real errors are raised in Python too
    "GRPC_VERBOSITY": "ERROR",
    "KERAS_BACKEND": "tensorflow",  # a user's keras.json could name another backend
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # with a server, MLflow prints a line per ended run
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the default, 7 with back-off, waits minutes for a server that is down
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MPLBACKEND": "agg",
}


def _folders() -> Mapping[str, str]:
    try:
        caches = Workspace.find().caches
    except PipelineError:  # outside a checkout only --help works, and it writes nothing
        return {}
    return {
        "KERAS_HOME": str(caches / "keras"),
        "MPLCONFIGDIR": str(caches / "matplotlib"),
        "DVC_SITE_CACHE_DIR": str(caches / "dvc"),
    }
