"""The picture that stands for a run: in its description, and among its charts."""

import base64
from pathlib import Path
from typing import Any


def show(client: Any, run_id: str, picture: Path, folder: str) -> str:
    """Logs `picture`, a PNG, on the run; gives the Markdown that shows it at half its size, in the UI of any server.

    MLflow keeps the address of a picture in a description and drops its width, while one wider than its column pushes the rest
    of the page aside: an SVG around it says how large it is, and leaves it sharp on a retina screen.
    """
    from PIL import Image

    name = f"{folder}/{picture.stem}.svg"
    with Image.open(picture) as image:
        client.log_text(run_id, _svg(picture.read_bytes(), image.width // 2, image.height // 2), name)
        if not client.list_artifacts(run_id, "images"):  # each logging would add another
            client.log_image(run_id, image.convert("RGB"), key=picture.stem, step=0)
    return f"![{picture.stem}](get-artifact?run_uuid={run_id}&path={name})"


def _svg(png: bytes, width: int, height: int) -> str:
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    picture = f'<image width="{width}" height="{height}" href="{source}"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{picture}</svg>'
