"""What is shown of a URL, whoever wrote it."""

import pytest

from pipeline.environment import shown_url


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
