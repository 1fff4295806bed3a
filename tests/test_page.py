"""Text of people, as it is printed."""

import pytest

from pipeline.page import printable


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("\x1b[2K\x1b[1Apromoted", "[2K[1Apromoted"),
        ("two\nlines\r\n\tand\u2028more\x85", "two lines and more"),
        ("ver\u202esion\u202c \u2066x\u2069", "version x"),
        ("\x9b31mred\x07\x00\udc80", "31mred"),
        ("می\u200cخواهم 👩\u200d🔬 T-shirt/top", "می\u200cخواهم 👩\u200d🔬 T-shirt/top"),
    ],
)
def test_what_is_printed_is_one_line_without_escapes_and_overrides(text: str, printed: str) -> None:
    assert printable(text) == printed
