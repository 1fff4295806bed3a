"""Self-contained HTML pages: one style, images and scripts inside, no request, light and dark.

A template extends `page.html.j2` and fills the blocks `title`, `headline` and `content`, and `style` where it has its own.
`parts.html.j2` holds the macros and `*.js` the scripts that several pages use. A page can be read without its script.
"""

import base64
import io
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_MARKDOWN = frozenset("\\`*_{}[]()<#|!~")  # not >: MLflow would show the backslash
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they reorder the text around them
_CELLS = 20_000  # of a heat map with a number; a million images and a thousand classes can have 300,000
_SIDE = 96  # pixels, about, of an embedded image's longer side


@dataclass(frozen=True)
class Plot:
    """A PNG for an `<img>`, shown at half its pixels: sharp on a high-density screen."""

    source: str  # a data URI
    width: int  # CSS pixels
    height: int


def render(template: Path, **facts: object) -> str:
    """Return the page that `template` (Jinja2, beside the caller) makes of `facts`; every value is HTML-escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(facts)


def trusted(text: str) -> object:
    """Return `text` as markup that is not escaped, such as a script of ours."""
    import markupsafe

    return markupsafe.Markup(text)  # noqa: S704  # never called with text of users


def data_for_script(value: object) -> object:
    """Return `value` as JSON inside a `<script>`; no text in it can end the script."""
    return trusted(json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c"))


def plot(png: bytes) -> Plot:
    """Return the PNG file `png` for the macro `plot`, with its size, so that the page does not jump while it loads."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        return Plot(embedded(png), image.width // 2, image.height // 2)


def embedded(png: bytes) -> str:
    """Return the PNG file `png` as a data URI: relative files do not load in the MLflow UI."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def embedded_pixels(pixels: NDArray[np.uint8]) -> str:
    """Return an image, uint8 `(h, w, c)`, as the data URI of a PNG, scaled by a whole factor to about 96 pixels.

    Of two channels, or more than four, only the first is shown.
    """
    step = max(1, -(-max(pixels.shape[:2]) // _SIDE))
    colours = (pixels if pixels.shape[2] in (3, 4) else pixels[..., 0])[::step, ::step]
    zoom = max(1, _SIDE // max(colours.shape[:2]))
    return _png(colours.repeat(zoom, axis=0).repeat(zoom, axis=1))


@dataclass(frozen=True)
class HeatMap:
    """A pixel per cell of a matrix over classes, for the macro `heat_map`."""

    source: str  # a data URI
    data: object  # for heat_map.js


def heat_map(pixels: NDArray[np.uint8], counts: NDArray[np.int64], class_names: Sequence[str], step: int) -> HeatMap:
    """Return `pixels`, uint8 `(h, w, 3)`, as a heat map of `counts`, `(classes, classes)`; `step` classes share a pixel."""
    rows = np.flatnonzero(counts)
    rows = rows[np.argsort(-np.abs(counts.flat[rows]), kind="stable")[:_CELLS]]
    keys = (f"{actual}-{predicted}" for actual, predicted in zip(*(np.divmod(rows, len(counts))), strict=True))
    cells = dict(zip(keys, counts.flat[rows].tolist(), strict=True))
    return HeatMap(_png(pixels), data_for_script({"names": class_names, "step": step, "cells": cells}))


def _png(pixels: NDArray[np.uint8]) -> str:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(content, "png")
    return embedded(content.getvalue())


def printable(text: str) -> str:
    """Return `text` on one line, without control characters, terminal escapes and bidirectional overrides.

    The joiners and marks that Persian, Hebrew and emoji need stay (https://trojansource.codes lists what does not).
    """
    line = " ".join(text.split())
    return "".join(sign for sign in line if sign not in _BIDI and unicodedata.category(sign) not in ("Cc", "Cs"))


def plain(text: str) -> str:
    """Return `text` escaped so that it neither ends a Markdown table's cell nor becomes markup."""
    return "".join(f"\\{sign}" if sign in _MARKDOWN else sign for sign in text)
