"""Why a tracking store failed: one line with what happened and the way out, for whatever MLflow and its stores raise."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pipeline import environment
from pipeline.environment import shown_url
from pipeline.errors import PipelineError, UnreachableError
from pipeline.tracking import place

_AGAIN = "then run the command again"
# A pattern of the message, whose match is quoted · what is the matter with the store · the way out.
_REASONS: Sequence[tuple[str, str, str]] = (
    (
        r"No space left on device|database or disk is full|Disk quota exceeded|error code 507",
        "has a full disk",
        f"free some space there, {_AGAIN}",
    ),
    (
        r"database (table )?is locked",
        "is locked by another program",
        f"wait for it, or end it, {_AGAIN}",
    ),
    (
        r"file is not a database|database disk image is malformed|file is encrypted",
        "is damaged",
        "move the file away, or restore a copy; `python -m pipeline sync` makes a new one from the files of this project",
    ),
    (
        r"unable to open database file",
        "cannot be opened",
        "correct its path, or get the right to read it",
    ),
    (
        r"readonly database|Read-only file system|Permission denied|Operation not permitted",
        "cannot be written",
        "get the right to write it, or set MLFLOW_TRACKING_URI to another one",
    ),
    (
        r"error code 401|401 Client Error|UNAUTHENTICATED",
        "refuses the login",
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, to what it accepts",
    ),
    (
        r"password authentication failed|Access denied for user|no password supplied",
        "refuses the login",
        "correct the user and the password in MLFLOW_TRACKING_URI",
    ),
    (
        r'database "[^"]*" does not exist|Unknown database',
        "does not exist",
        "create the database (`createdb` of PostgreSQL), or correct its name in MLFLOW_TRACKING_URI",
    ),
    (
        r"error code 403|403 Client Error|PERMISSION_DENIED|permission denied for \w+",
        "does not let this user in",
        "ask who runs it for the right to read and write there",
    ),
    (
        r"ProxyError|Tunnel connection failed|error code 407",
        "cannot be reached through the proxy",
        "correct HTTPS_PROXY or HTTP_PROXY, or name its host in NO_PROXY",
    ),
    (
        r"certificate verify failed",
        "has a certificate that is not trusted here",
        "name the file of its authority in MLFLOW_TRACKING_SERVER_CERT_PATH",
    ),
    (
        r"Name or service not known|No address associated with hostname|name resolution|getaddrinfo failed",
        "cannot be found",
        "correct the host in MLFLOW_TRACKING_URI, or the network (DNS, VPN)",
    ),
    (
        r"No route to host|Network is unreachable|Host is down",
        "cannot be reached",
        "correct the host in MLFLOW_TRACKING_URI, or the network (VPN, firewall)",
    ),
    (r"Connection refused", "does not answer", "start it, or change MLFLOW_TRACKING_URI"),
    (r"[Tt]imed out|timeout", "does not answer in time", f"see whether it hangs or is overloaded, {_AGAIN}"),
    (
        r"too many (429|5\d\d) error responses|error code 5\d\d|5\d\d Server Error|INTERNAL_ERROR",
        "has an error of its own",
        "see its log; run the command again once that is solved",
    ),
    (
        r"error code 40[45]|not in a valid JSON format",
        "is no MLflow server",
        "correct MLFLOW_TRACKING_URI: http://HOST:PORT, without a page",
    ),
    (
        r"No module named '[\w.]+'",
        "needs another Python package",
        "install it, as `uv pip install boto3` for S3 and `uv pip install mysqlclient` for MySQL",
    ),
)
_ON_SERVER = (
    "start the server with `--artifacts-destination` in place of `--default-artifact-root`, to let it write files itself, "
    "and rename the experiment, which keeps its place; or get the right to write there"
)


def is_lost(error: BaseException) -> bool:
    """Return whether a call to MLflow failed because of a store of it, and not because of a mistake in this program.

    The stores of artifacts raise what their libraries raise, which have in common that Python itself does not define them.
    """
    if isinstance(error, PipelineError):
        return isinstance(error, UnreachableError)
    return isinstance(error, OSError | ImportError) or type(error).__module__ != "builtins"


def explained(uri: str, error: BaseException, otherwise: tuple[str, str]) -> UnreachableError:
    """Return what failed at the store `uri`, with the reason and the way out.

    Args:
        uri: The tracking URI.
        error: What MLflow raised.
        otherwise: What is the matter and the way out, for an error of an unknown kind.
    """
    if isinstance(error, UnreachableError):
        return error
    text = "\n".join(str(each) for each in _chain(error))
    known = ((re.search(pattern, text), what, way_out) for pattern, what, way_out in _REASONS)
    found, what, way_out = next((each for each in known if each[0]), (None, *otherwise))
    file = _file(error)
    reason = found.group() if found else (getattr(error, "strerror", None) or environment.message(error))
    if file and uri.startswith("http"):  # it told this process to write the files of the run there
        what, way_out = "has a folder for files that cannot be written here", _ON_SERVER
    if "is locked" in reason:
        reason = ", ".join([reason, *_programs_that_open(place.database(uri))])
    return UnreachableError(f"the tracking store {shown_url(uri)} {what} ({reason}{f': {file}' if file else ''}): {way_out}")


def _file(error: BaseException) -> str | None:
    """Return the file that the error is about: of a copy that failed, the one that was written."""
    if isinstance(error, shutil.Error) and error.args:
        return str(error.args[0][0][1])
    return getattr(error, "filename2", None) or getattr(error, "filename", None)


def _programs_that_open(file: Path | None) -> Iterator[str]:
    """Yield name and id of each other process that has `file` open, as far as this user may know."""
    import psutil

    for process in psutil.process_iter() if file else ():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and str(file) in {each.path for each in process.open_files()}:
                yield f"{process.name()} {process.pid}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__
