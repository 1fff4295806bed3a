"""Whether the registry has the version that reports/registration.json names, found out in milliseconds: no library is loaded.

`.venv/bin/dvc repro` and `run` print what `notice` returns. It says nothing where it cannot know, as of a server that does
not answer at once: other messages are about that.
"""

import base64
import json
import os
import re
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing
from pathlib import Path

from pipeline.workspace import Workspace

_SECONDS = 0.2  # for a server's answer
_SQLITE = re.compile(r"sqlite(\+pysqlite)?:///([^?]+)")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_QUERY = """select t.value from model_versions v left join model_version_tags t
    on t.name = v.name and t.version = v.version and t.key = 'weights_digest'
    where v.name = ? and v.version = ? and v.current_stage != 'Deleted_Internal'"""


def notice(workspace: Workspace) -> str:
    """Return what to tell the user, one line; "" where the registry has the version, or that cannot be known."""
    try:
        content = json.loads(workspace.registration.read_bytes())
        name, version, digest = content["model_name"], int(content["version"]), content["weights_digest"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # nothing was registered here, or the file is damaged
        return ""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip() or f"sqlite:///{workspace.database}"
    if not re.fullmatch(r"[a-z0-9-]{1,200}", str(name)) or version < 1 or not _lacks(uri, name, version, digest, workspace):
        return ""
    kept = (workspace.registry / name / f"version-{version}.json").exists()
    way_out = "`python -m pipeline sync` publishes it again" if kept else "`dvc repro -s -f register` registers it again"
    return f"the registry lacks version {version} of {name}, which {workspace.shown(workspace.registration)} names: {way_out}"


def _lacks(uri: str, name: str, version: int, digest: str, workspace: Workspace) -> bool:
    try:
        if found := _SQLITE.match(uri):
            return _lacks_locally(workspace.home / urllib.parse.unquote(found.group(2)), name, version, digest)
        return uri.startswith(("http://", "https://")) and _lacks_there(uri, name, version)
    except (OSError, ValueError, sqlite3.Error):
        return False


def _lacks_locally(database: Path, name: str, version: int, digest: str) -> bool:
    if not database.exists():
        return True
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=_SECONDS)) as opened:
        row = opened.execute(_QUERY, (name, version)).fetchone()
    return row is None or row[0] not in (None, digest)


def _lacks_there(uri: str, name: str, version: int) -> bool:
    query = urllib.parse.urlencode({"name": name, "version": version})
    request = urllib.request.Request(f"{uri.rstrip('/')}/api/2.0/mlflow/model-versions/get?{query}")  # noqa: S310  # checked
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{part}", "") for part in ("USERNAME", "PASSWORD"))
    token = os.environ.get("MLFLOW_TRACKING_TOKEN", "")
    if user or token:
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {basic}" if user else f"Bearer {token}")
    direct = [urllib.request.ProxyHandler({})] if urllib.parse.urlsplit(uri).hostname in _LOOPBACK else []
    try:
        urllib.request.build_opener(*direct).open(request, timeout=_SECONDS).close()
    except urllib.error.HTTPError as error:
        with error:
            return error.code == 404 and b"RESOURCE_DOES_NOT_EXIST" in error.read(10_000)
    return False


if __name__ == "__main__":  # pragma: no cover  # run by .venv/bin/dvc
    if text := notice(Workspace(Path.cwd(), Path.cwd())):
        print(f"note: {text}", flush=True)
