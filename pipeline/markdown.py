"""Text from elsewhere, such as the name of a class, within Markdown that MLflow shows."""

_SIGNS = frozenset("\\`*_{}[]()<#|!~")  # not >: MLflow would show the backslash


def plain(text: str) -> str:
    """`text` so that it neither ends a table's cell nor becomes markup."""
    return "".join(f"\\{sign}" if sign in _SIGNS else sign for sign in text)
