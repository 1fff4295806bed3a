"""Quiet the libraries and keep what they write inside the checkout, by environment variables set before they load.

Variables that the user set are left alone, except those that would change what the code computes or draws, such as a profile's
KERAS_BACKEND or a notebook's MPLBACKEND; and no proxy is asked for an address of this machine. Passwords and tokens in them are
never shown: `shown_url` and `redacted` for our messages, and a filter in stdout and stderr for those of libraries.
"""

import codecs
import gc
import io
import os
import re
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from types import TracebackType
from urllib.parse import unquote

from pipeline.errors import PipelineError
from pipeline.workspace import Workspace


def prepare() -> None:
    """Set this process's environment; child processes inherit it."""
    for name, value in settings().items():
        if name in _NEEDED or name not in os.environ:
            os.environ[name] = value
    bypassed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if "*" not in bypassed and any(name.lower() in _PROXIES for name in os.environ):
        os.environ |= dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(filter(None, (bypassed, *_LOOPBACK))))


def read_names_as_utf8() -> None:
    """Start this command again in Python's UTF-8 mode where the locale has another encoding; what is printed keeps that one.

    File names are bytes, in UTF-8 nearly everywhere, and DVC records them: they must not depend on a locale.
    """
    if sys.getfilesystemencoding() != "utf-8":
        own = os.environ.get("PYTHONIOENCODING") or f"{sys.stdout.encoding}:backslashreplace"
        os.environ |= {"PYTHONUTF8": "1", "PYTHONIOENCODING": own}
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (the same program and arguments)


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


def half_of_the_cores() -> AbstractContextManager[object]:
    """Limit BLAS to half of the cores: two at work with all of them would wait in busy loops, and take half as long again."""
    import scipy.linalg  # noqa: F401  # has a BLAS of its own beside NumPy's; only what is loaded can be limited
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(max(1, (os.cpu_count() or 1) // 2), user_api="blas")
    return limits


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


def redacted(text: str) -> str:
    """Return `text`, which may quote URLs, without the secrets in them: of our variables wherever they stand, else in URLs."""
    for name in _ADDRESSES:
        if "://" in (url := os.environ.get(name, "").strip()):
            text = text.replace(url, shown_url(url))
    text = re.sub(
        r"[A-Za-z][\w+.-]*://[^\s'\"`<>]*[^\s'\"`<>.,:;!?)\]}…]", lambda found: shown_url(found.group()), _filtered(text)
    )
    return re.sub(r"(?<=\S)\?[\w.~%-]+=[^\s'\"`<>)]*", "", text)  # a query behind a path alone, as urllib3 quotes it


def message(error: BaseException, most: int = 200) -> str:
    """Return the first words of the error's text, `most` characters at most, on one line and without secrets."""
    from pipeline.page import printable

    text = printable(redacted(str(error)) or type(error).__name__)
    return text if len(text) <= most else f"{text[: most - 2].rpartition(' ')[0] or text[: most - 2]} …"


def _filtered(text: str) -> str:
    """Return `text` without the secrets in the environment."""
    for secret in _secrets(*(os.environ.get(name, "") for name in (*_ADDRESSES, *_TOKENS))):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
    return text


@cache
def _secrets(*values: str) -> tuple[str, ...]:
    """Return what must not be shown, the longest first: `values` are those of `_ADDRESSES`, then of `_TOKENS`."""
    addresses, tokens = values[: len(_ADDRESSES)], values[len(_ADDRESSES) :]
    found = {secret for url in addresses if "://" in url for secret in _parts(url) if secret not in shown_url(url)}
    return tuple(sorted(filter(None, {*found, *map(str.strip, tokens)}), key=len, reverse=True))


def _parts(url: str) -> Iterator[str]:
    """Yield passwords, tokens and signatures in `url`, as they are written and decoded."""
    scheme, _, rest = url.partition("://")
    user, colon, password = rest.rpartition("@")[0].partition(":")
    found = [password] if colon else [user] if scheme.startswith("http") else []  # a database's user is no token
    for each in re.split(r"[?#&]", rest)[1:]:
        key, equals, value = each.partition("=")
        if len(value or key) >= _LONG or (equals and re.search(_SENSITIVE, key, re.IGNORECASE)):
            found.append(value or key)
    for each in found:
        yield from (each, unquote(each))


class _Stream(io.TextIOWrapper):
    """A text stream for terminals: without secrets of the environment, and without escapes that do more than colour.

    What a tag of the registry or a class name holds is printed somewhere; it must not move the cursor or reorder a line.
    """

    def write(self, text: str) -> int:
        return super().write(re.sub(_UNSAFE, "", _filtered(text)))


def guard_output() -> None:
    """Make stdout and stderr unable to show a secret or an escape, or to fail on a character their encoding lacks."""
    codecs.register_error("in_ascii", _in_ascii)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        own = stream is getattr(sys, f"__{name}__")  # not what a test or a notebook put in its place
        if own and isinstance(stream, io.TextIOWrapper) and not isinstance(stream, _Stream):
            stream.flush()
            buffered, through = stream.line_buffering, stream.write_through
            guarded = _Stream(stream.buffer, stream.encoding, "in_ascii", line_buffering=buffered, write_through=through)
            stream.detach()
            setattr(sys, name, guarded)
            setattr(sys, f"__{name}__", guarded)
    # For child processes, which know no handler of ours; their encoding stays as it is.
    os.environ["PYTHONIOENCODING"] = f"{os.environ.get('PYTHONIOENCODING', '').partition(':')[0]}:backslashreplace"
    sys.excepthook = _print_crash
    threading.excepthook = lambda crash: _print_crash(crash.exc_type, crash.exc_value, crash.exc_traceback)


def _print_crash(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    print(redacted("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr, flush=True)


def _in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace what an encoding lacks by how one types it; what has no such form by its escape."""
    text, place = codecs.backslashreplace_errors(error)
    if isinstance(error, UnicodeEncodeError):
        signs = error.object[error.start : error.end]
        text = "".join(_TYPED.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in signs)
    return text, place


_ADDRESSES = (
    *("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "DATASET_MIRROR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"),
)
_TOKENS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_UNSAFE = (
    r"\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"  # all but \t \n \r, colours
)
_SENSITIVE = r"pass|pwd|token|sig|secret|key|cred|auth"
_LONG = 16  # characters, of a value in a query that is no setting of a connection
_TYPED = dict(
    zip("·–—…×≥≤±→←✓“”‘’\u00a0", ("-", "-", "-", "...", "x", ">=", "<=", "+-", "->", "<-", "ok", *"\"\"'' "), strict=True)
)
_MASKED = "…"
_HOST_NAME = r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]+"
_NO_PORT = r"(?<!:):(?!(\d{0,5}|PORT)$)[^:\]]*$"  # perhaps a password, behind which the host was forgotten
_PROXIES, _LOOPBACK = ("http_proxy", "https_proxy", "all_proxy"), ("localhost", "127.0.0.1", "::1")
_NEEDED = ("KERAS_BACKEND", "KERAS_HOME", "MPLBACKEND", "MPLCONFIGDIR")  # the folders may hold a keras.json, a matplotlibrc
_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # it logs missing GPUs as errors; real errors are raised in Python too
    "GRPC_VERBOSITY": "ERROR",
    "KERAS_BACKEND": "tensorflow",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # each failure of a store is 60 lines on stderr, then an exception, which we report
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
