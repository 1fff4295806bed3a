"""What a URL of one's own data may look like; params.yaml goes to git and MLflow, so nothing secret may be in it."""

import re

_FORM = re.compile(r"(file:///|(?!file:)[a-z][a-z0-9+.-]*://)\S(.*\S)?")


def problem_of(url: str) -> str | None:
    """What is wrong with `url`, in words that repeat no secret; nothing where it can be used."""
    if _has_secret(url):
        return "url holds a user, a password or a query, which git and MLflow would show: docs/data.md names another way"
    if not _FORM.fullmatch(url) or not url.isprintable() or ("::" in url and not _is_web(url)):  # a chain of URLs, to fsspec
        return f"url = {url!r} is no URL such as https://host/pets, s3://bucket/pets or file:///disk/pets.npz"
    return None


def _has_secret(url: str) -> bool:
    """Whether `url` holds a password, or is an http one with a user or a query, where tokens and signatures stand."""
    user, at, host = url.partition("://")[2].partition("/")[0].rpartition("@")
    port = host.rpartition("]")[2].partition(":")[2]  # after [an IPv6 address]
    cut = port and not port.isdecimal()  # by a / in the password
    return ":" in user or (_is_web(url) and bool(at or cut or "?" in url or "#" in url))


def _is_web(url: str) -> bool:
    return url.startswith(("http://", "https://"))
