"""What is shown of URLs and secrets, whoever writes them."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.environment import redacted, shown_url

PROJECT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://localhost:5000", "http://localhost:5000"),
        ("https://me:SECRET@host/path", "https://host/path"),
        ("https://SECRET@host:8080/path?token=SECRET#SECRET", "https://host:8080/path"),
        ("https://me:SEC@RET@host/path", "https://host/path"),
        ("postgresql+psycopg2://me:SECRET@[::1]:5432/m?password=SECRET", "postgresql+psycopg2://[::1]:5432/m"),
        ("https://cdn.example.org/clothes@1.0/a.gz?sig=SECRET@SECRET", "https://cdn.example.org/clothes@1.0/a.gz"),
        ("sqlite:////home/me@work/x.db", "sqlite:////home/me@work/x.db"),
        ("s3://bucket/folder", "s3://bucket/folder"),
        ("/data/me@work/a?b", "/data/me@work/a?b"),
        ("./mlruns", "./mlruns"),
        ("localhost:5000", "localhost:5000"),
    ],
)
def test_a_url_is_shown_without_user_password_query_and_fragment(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:SEC/RET@host/path", "http://…"),
        ("http://me:SEC?RET@host/path", "http://…"),
        ("http://me:SEC#RET@host", "http://…"),
        ("http://me.name:123/SECRET@host", "http://…"),
        ("https://S/ECRET@host", "https://…"),
        ("http://me:SECRET", "http://me:…"),
        ("http://host:port", "http://host:…"),
        ("http://[", "http://["),
        ("http:/me:SECRET@host", "…"),
        ("//me:SECRET@host", "…"),
        ("me:SECRET@host:5000", "…"),
        ("me:SECRET@http://host", "…"),
        ("host/mlflow?sig=SECRET", "host/mlflow"),
        ("https://a\n:\x1b[2KSECRET\u202e@host/x", "https://host/x"),
        ("", ""),
    ],
)
def test_a_malformed_url_shows_no_part_that_may_be_a_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert "SECRET" not in shown


@pytest.mark.parametrize(
    ("variable", "value", "text", "shown"),
    [
        ("", "", "GET (http://me:SECRET@host:9), 'https://host/x?sig=SECRET'.", "GET (http://host:9), 'https://host/x'."),
        ("", "", "Pool(port=443): with url: /key?Signature=SECRET (Caused by", "Pool(port=443): with url: /key (Caused by"),
        ("", "", "run it? a=b: http://host:9: no, http://[::1] too", "run it? a=b: http://host:9: no, http://[::1] too"),
        ("MLFLOW_TRACKING_URI", "http://me:my SECRET@host", "at http://me:my SECRET@host/api", "at http://host/api"),
        ("MLFLOW_TRACKING_URI", "postgresql://me:SEC%20RET@db/me", "password 'SEC RET' of me", "password '***' of me"),
        ("MLFLOW_TRACKING_URI", "postgresql://db/m?sslmode=require&password=SECRET", "require SECRET", "require ***"),
        ("MLFLOW_TRACKING_URI", "postgresql://mlflow:mlflow@db/mlflow", "user mlflow", "user mlflow"),
        ("MLFLOW_TRACKING_URI", "https://SECRET@host", "user SECRET", "user ***"),
        ("DATASET_MIRROR", "https://host/a?sv=2&se=SECRETSECRETSECRET", "SECRETSECRETSECRET", "***"),
        ("MLFLOW_TRACKING_TOKEN", "SECRET\n", "header 'Bearer SECRET\\n'", "header 'Bearer ***\\n'"),
        ("DATASET_MIRROR", "/a folder?x=y", "in /a folder?x=y", "in /a folder"),
    ],
)  # fmt: skip
def test_a_text_that_quotes_urls_is_shown_without_their_secrets(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, text: str, shown: str
) -> None:
    if variable:
        monkeypatch.setenv(variable, value)
    assert redacted(text) == shown
    assert redacted(shown) == shown


GUARDED = "from pipeline import environment; environment.prepare(); environment.guard_output(); import os, sys, logging\n"


@pytest.mark.parametrize(
    "code",
    [
        "print('SECRET', 'SECRET', file=sys.stderr)",
        "logging.getLogger('sqlalchemy').error('with %s', os.environ['MLFLOW_TRACKING_URI'])",
        "import warnings; warnings.warn(os.environ['MLFLOW_TRACKING_URI'])",
        "raise OSError(os.environ['MLFLOW_TRACKING_URI'])",
        "raise OSError('https://me:' + 'SEC' + 'RET2@elsewhere/x')",
        "import threading; t = threading.Thread(target=os.chdir, args=('https://a:SECRET2@elsewhere/x',)); t.start(); t.join()",
    ],
)
def test_what_libraries_print_and_crashes_hold_no_secret(shell: Any, code: str) -> None:
    done = shell("python", "-c", GUARDED + code, cwd=PROJECT, check=False, MLFLOW_TRACKING_URI="http://me:SECRET@host")
    shown = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("    ")]  # not the code itself
    assert len(done.stderr) > 5
    assert "SECRET" not in "".join(shown)


def test_what_is_printed_can_be_coloured_but_moves_no_cursor_and_reorders_no_line(shell: Any) -> None:
    code = r"print('\x1b[1mb\x1b[0m \x1b[2K\x1b[1Ax \x1b]0;t\x07\x9b2J \u202ey', 'a\tb')"
    assert shell("python", "-c", GUARDED + code, cwd=PROJECT).stdout == "\x1b[1mb\x1b[0m [2K[1Ax ]0;t2J y a\tb\n"


def test_an_output_in_ascii_shows_what_it_can(shell: Any) -> None:
    code = (
        'print("a → b · 3 × ≥ 0.5 … 猫"); print("é", file=sys.stderr); os.system(sys.executable + " -c \'print(chr(8594))\'")'
    )
    done = shell("python", "-c", GUARDED + code, cwd=PROJECT, PYTHONIOENCODING="ascii", LC_ALL="C", LANG="C")
    assert {*done.stdout.splitlines()} == {"\\u2192", "a -> b - 3 x >= 0.5 ... \\u732b"}
    assert done.stderr == "\\xe9\n"


def test_variables_that_change_what_the_code_does_are_set_and_the_users_others_stay(shell: Any, tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    code = """
from pipeline import environment; environment.prepare()
import os, requests, urllib.request
print(*(os.environ[name] for name in ("KERAS_BACKEND", "KERAS_HOME", "MPLBACKEND", "DVC_SITE_CACHE_DIR", "no_proxy")))
for host in ("127.0.0.1:5000", "localhost", "[::1]:80", "inside.example", "elsewhere.example"):
    url = "http://" + host + "/health"
    print(bool(requests.utils.get_environ_proxies(url)), not urllib.request.proxy_bypass(host.partition(":")[0]))
"""
    theirs = {"KERAS_BACKEND": "torch", "KERAS_HOME": "/elsewhere", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    theirs |= {"DVC_SITE_CACHE_DIR": "/site", "http_proxy": "http://proxy.example:3128", "NO_PROXY": "inside.example"}
    done = shell("python", "-c", code, cwd=tmp_path, PYTHONPATH=str(PROJECT), **theirs)
    variables, *asked = done.stdout.splitlines()
    assert variables == f"tensorflow {tmp_path}/.cache/keras agg /site inside.example,localhost,127.0.0.1,::1"
    assert asked == ["False False", "False False", "False True", "False False", "True True"]  # urllib knows no IPv6 here


def test_file_names_are_utf8_whatever_the_locale_and_the_output_keeps_its_encoding(shell: Any, tmp_path: Path) -> None:
    code = """
import sys
from pipeline import environment
environment.read_names_as_utf8()
environment.guard_output()
print(sys.getfilesystemencoding(), sys.argv[1:], "Bär 猫")
"""
    (tmp_path / "show.py").write_text(code, encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # as in a locale with another encoding
    done = shell("python", "show.py", "Bär", cwd=tmp_path, PYTHONPATH=str(PROJECT), **ascii_only)
    assert done.stdout == "utf-8 ['B\\xe4r'] B\\xe4r \\u732b\n"
