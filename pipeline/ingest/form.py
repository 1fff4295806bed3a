"""One picture → the size and the channels that all pictures of a data set share.

Bilinear, and over every pixel that a smaller one covers, as Pillow does it: no aliasing when a photo shrinks.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

_PAPER = (255, 255, 255, 255)  # behind transparent parts: drawings on nothing are mostly dark


@dataclass(frozen=True)
class Form:
    """What every picture becomes."""

    size: int  # pixels, height = width
    channels: int  # 1 grey · 3 colour
    rule: str  # for pictures that are not square: stretch · pad (black borders) · crop (the middle)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.size, self.size, self.channels

    def of_image(self, image: "Image") -> NDArray[np.uint8]:
        """uint8 `(size, size, channels)`, 0-255."""
        from PIL import Image

        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, _PAPER), image.convert("RGBA"))
        image = image.convert("L" if self.channels == 1 else "RGB")
        return np.asarray(self._square(image)).reshape(self.shape)

    def of_array(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The same for a picture as uint8 `(height, width, 1 or 3)`."""
        from PIL import Image

        return self.of_image(Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture))

    def _square(self, image: "Image") -> "Image":
        from PIL import Image

        size, bilinear = self.size, Image.Resampling.BILINEAR
        width, height = image.size
        if self.rule == "crop":
            side = min(width, height)
            left, top = (width - side) / 2, (height - side) / 2
            return image.resize((size, size), bilinear, box=(left, top, left + side, top + side))
        if self.rule == "pad" and width != height:
            scale = size / max(width, height)
            inner = image.resize((max(1, round(width * scale)), max(1, round(height * scale))), bilinear)
            black = Image.new(image.mode, (size, size))
            black.paste(inner, ((size - inner.width) // 2, (size - inner.height) // 2))
            return black
        return image.resize((size, size), bilinear)
