"""Self-contained HTML pages: one style, pictures and scripts inside, no request, light and dark.

A room's template extends `page.html.j2` and fills the blocks `title`, `headline` and `content`, and `style` where it has
its own. A page reads without its script.
"""

import base64
from pathlib import Path

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
