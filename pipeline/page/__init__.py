"""Self-contained HTML pages: one style, pictures and scripts inside, no request, light and dark.

A template extends `page.html.j2` and fills the blocks `title`, `headline` and `content`, and `style` where it has its own.
`parts.html.j2` holds the macros, `sort.js` the script of more than one page. A page reads without its script.
"""

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SIDE = 96  # pixels of an embedded picture's longer side, about
_MIME = {".png": "image/png", ".svg": "image/svg+xml"}


def render(template: Path, **facts: object) -> str:
    """The page that `template` (Jinja2, beside the caller) makes of `facts`; every value is HTML-escaped."""
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
    """`text` of our own that goes into the page as it stands, such as a script."""
    import markupsafe

    return markupsafe.Markup(text)  # noqa: S704  # callers give no text of users


def embedded(picture: Path) -> str:
    """`picture` as a data URI for an `<img src>`: relative files do not load in the MLflow UI."""
    return embedded_bytes(picture.read_bytes(), picture.suffix)


def embedded_bytes(content: bytes, suffix: str) -> str:
    """A picture's file `content` as a data URI; `suffix` as a file of its kind would have it: `.png`, `.svg`."""
    return f"data:{_MIME[suffix]};base64,{base64.b64encode(content).decode()}"


def embedded_pixels(pixels: NDArray[np.uint8]) -> str:
    """A picture, uint8 `(h, w, c)`, as the data URI of a PNG, enlarged or thinned out by whole steps to about 96 pixels.

    Of two channels, or more than four, only the first is shown.
    """
    from PIL import Image

    step = max(1, -(-max(pixels.shape[:2]) // _SIDE))
    colours = (pixels if pixels.shape[2] in (3, 4) else pixels[..., 0])[::step, ::step]
    zoom = max(1, _SIDE // max(colours.shape[:2]))
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(colours.repeat(zoom, axis=0).repeat(zoom, axis=1))).save(content, "png")
    return embedded_bytes(content.getvalue(), ".png")
