"""Names in any script: drawn by a font that has them, or told in words; nothing is drawn as an empty box."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib import font_manager

from pipeline import fonts

OTHER = fonts.dejavu().with_name("STIXGeneral.ttf")  # comes with matplotlib too


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that holds all fonts of the system: none yet."""
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: sorted(map(str, tmp_path.iterdir())))
    for cached in (fonts._drawable, fonts._system_fonts):
        cached.cache_clear()
    yield tmp_path
    for cached in (fonts._drawable, fonts._system_fonts):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Käse & Brot", "Käse & Brot"),
        ("кошка", "кошка"),
        ("کتاب\u200cها", "کتاب\u200cها"),
        ("❤\ufe0f", "❤\ufe0f"),
        ("猫", "class 0"),
        ("cat 猫", "class 0"),
        ("a\u3000b\u202fcж", "a b cж"),
        ("🫠 face", "melting face face"),
        ("👨\u200d👩\u200d👧", "man woman girl"),
        ("🇩🇪", "d e"),
        ("\U0001fbff", "u+1fbff"),
    ],
)
@pytest.mark.usefixtures("system")
def test_what_no_font_has_is_told_in_words(name: str, text: str) -> None:
    assert fonts.drawable([name]) == [fonts.Drawable(text, fonts.dejavu())]


def test_a_font_of_the_system_is_used_where_dejavu_lacks_a_character(system: Path) -> None:
    (system / "broken.ttf").write_bytes(b"no font")
    shutil.copy(OTHER, system)
    missing = min(fonts._characters(OTHER) - fonts._characters(fonts.dejavu()))
    name = f"set {chr(missing)}"
    drawn = fonts.drawable(["cat", name])
    assert drawn == [fonts.Drawable("cat", fonts.dejavu()), fonts.Drawable(name, system / OTHER.name)]
    assert fonts.families(drawn) == ["DejaVu Sans", "STIXGeneral"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("12345", "12345"), ("123456", "1234…"), ("猫猫", "猫猫"), ("猫猫猫", "猫猫…"), ("e\u0301" * 5, "e\u0301" * 5)],
)
def test_names_are_shortened_by_the_space_they_take(name: str, text: str) -> None:
    assert fonts.shortened(name, 5) == text
