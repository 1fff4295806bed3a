"""Names in any script on plots: a font of this machine that has their characters, else words that stand for them.

DejaVu Sans comes with matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew, and many symbols. For other characters the fonts of
the system are searched. Where none has them, an emoji becomes its Unicode name, and a name in a missing script `class 3`, its
label. Colour fonts are left out: neither matplotlib nor Pillow can draw them at the size of a text.
"""

import importlib.util
import logging
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FAMILY = "DejaVu Sans"
_LATIN = 0x250  # the first character after Latin Extended-B, all of which DejaVu Sans has
_REGULAR = ("Regular", "Book", "Normal", "Roman", "Medium")
_SELECTORS = range(0xFE00, 0xFE10)  # of the emoji or text form of the character before


@dataclass(frozen=True)
class Drawable:
    """A text, and a font file that has all of its characters."""

    text: str
    font: Path


def drawable(names: Iterable[str]) -> list[Drawable]:
    """Return for each class name, by label, what to draw in its place: the name itself wherever a font has it."""
    return [_drawable(name, label) for label, name in enumerate(names)]


def families(drawn: Iterable[Drawable]) -> list[str]:
    """Return matplotlib's names of the fonts of `drawn`, DejaVu Sans first; those of the system are made known to it."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    logging.getLogger(font_manager.__name__).setLevel(logging.ERROR)  # it warns of each font that has no bold face
    others = sorted({each.font for each in drawn} - {dejavu()})
    for font in others:
        font_manager.fontManager.addfont(font)
    return [FAMILY, *(FT2Font(str(font)).family_name for font in others)]


@cache
def dejavu() -> Path:
    """Return the file of DejaVu Sans, without loading matplotlib."""
    package = importlib.util.find_spec("matplotlib")
    assert package is not None and package.origin is not None  # noqa: S101, PT018  # a dependency of the project
    return Path(package.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"


def shortened(name: str, most: int = 20) -> str:
    """Return `name` in at most `most` columns of a terminal: characters of East Asia are two wide."""
    widths = [0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF") for sign in name]
    if sum(widths) <= most:
        return name
    kept = next(end for end in range(len(name), -1, -1) if sum(widths[:end]) < most)
    return f"{name[:kept]}…"


@cache
def _drawable(name: str, label: int) -> Drawable:
    if all(ord(sign) < _LATIN for sign in name):
        return Drawable(name, dejavu())
    name = " ".join(name.split())  # fonts lack some of Unicode's blanks
    for font in (dejavu(), *_system_fonts()):
        visible = "".join(sign for sign in name if _has(font, sign) or not _invisible(sign))
        if visible and all(_has(font, sign) for sign in visible):
            return Drawable(visible, font)
    return Drawable(_in_words(name, label), dejavu())


def _in_words(name: str, label: int) -> str:
    """Return `name` with the Unicode names of symbols that DejaVu Sans lacks; `class 3` where it lacks a letter."""
    words = []
    for sign in name:
        if _invisible(sign):
            continue
        if _has(dejavu(), sign):
            words.append(sign)
        elif unicodedata.category(sign)[0] in "LMN":
            return f"class {label}"
        else:
            name_of_sign = unicodedata.name(sign, f"U+{ord(sign):X}").removeprefix("REGIONAL INDICATOR SYMBOL LETTER ")
            words.append(f" {name_of_sign.lower()} ")
    return " ".join("".join(words).split())


def _invisible(sign: str) -> bool:
    return unicodedata.category(sign) == "Cf" or ord(sign) in _SELECTORS


@cache
def _system_fonts() -> Sequence[Path]:
    """Return the outline fonts of the system in a fixed order, regular ones first."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FaceFlags, FT2Font

    found = []
    for path in map(Path, font_manager.findSystemFonts()):
        try:
            face = FT2Font(str(path))
        except (OSError, RuntimeError, ValueError):
            continue  # not every file there is a font that FreeType can read
        if FaceFlags.SCALABLE in face.face_flags and FaceFlags.COLOR not in face.face_flags and path.stem != "LastResort":
            found.append((face.style_name not in _REGULAR, path))
    return [path for _, path in sorted(found)]


@cache
def _characters(font: Path) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(font)).get_charmap())


def _has(font: Path, sign: str) -> bool:
    return ord(sign) in _characters(font)
