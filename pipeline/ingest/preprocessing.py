"""From an image file of any kind to the model's input: orientation, bit depth, transparency, colour, size and padding.

The one place that does it, for `ingest` and for predictions alike. Resizing is bilinear over every pixel that a smaller one
covers, as Pillow does it: no aliasing when a photo shrinks.

Pillow reads 16-bit colour by its high bytes alone, so such files are decoded twice, once for the high and once for the low
bytes: its decoder for the opposite byte order returns the low ones.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SourceError

if TYPE_CHECKING:
    from PIL.Image import Image

_HEIF = frozenset({".heic", ".heif"})
SUFFIXES = _HEIF | {
    *(".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".ppm", ".pgm", ".pbm", ".pnm")
}
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "AVIF", "PPM")  # not all of Pillow's: some start programs
_EIGHT_BIT_MODES = frozenset({"1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr", "LAB", "HSV"})
_BACKGROUND = (255, 255, 255, 255)  # behind transparent parts: drawings on nothing are mostly dark
_TWELVE_BITS = 4095
_OTHER_ORDER = {"RGB;16B": "RGB;16L", "RGB;16L": "RGB;16B", "RGBA;16B": "RGBA;16L", "RGBA;16L": "RGBA;16B"}
_GREY = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})


@dataclass(frozen=True)
class Preprocessing:
    """The size and channels that every image of a data set is brought to."""

    size: int  # pixels, height = width
    channels: int  # 1 grey · 3 colour
    resize: str  # of images that are not square: stretch · pad (borders in the colour of the corners) · crop (the middle)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.size, self.size, self.channels

    def apply(self, image: "Image") -> NDArray[np.uint8]:
        """Return a Pillow image as uint8 `(size, size, channels)`, 0-255."""
        from PIL import Image

        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, _BACKGROUND), image.convert("RGBA"))
        image = image.convert("L" if self.channels == 1 else "RGB")
        return np.asarray(self._square(image)).reshape(self.shape)

    def _square(self, image: "Image") -> "Image":
        from PIL import Image

        size, bilinear = self.size, Image.Resampling.BILINEAR
        width, height = image.size
        if self.resize == "crop":
            side = min(width, height)
            left, top = (width - side) / 2, (height - side) / 2
            return image.resize((size, size), bilinear, box=(left, top, left + side, top + side))
        if self.resize == "pad" and width != height:
            scale = size / max(width, height)
            inner = image.resize((max(1, round(width * scale)), max(1, round(height * scale))), bilinear)
            padded = Image.new(image.mode, (size, size), _corner_colour(image))
            padded.paste(inner, ((size - inner.width) // 2, (size - inner.height) // 2))
            return padded
        return image.resize((size, size), bilinear)


def _corner_colour(image: "Image") -> tuple[int, ...]:
    """Return the median of the four corners, per channel."""
    pixels = np.asarray(image)
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]].reshape(4, -1)
    return tuple(int(value) for value in np.median(corners, axis=0))


def decode(path: Path, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return the image in `path`, oriented by its EXIF tag, uint8 `(size, size, channels)`; of an animation the first frame.

    Raises:
        SourceError: the file is not an image, is damaged, too large, or has pixels of a type that is not supported.
    """
    from PIL import ImageOps

    with opened(path) as image:
        side = 2 * preprocessing.size
        image.draft(None, (side, side))  # decodes JPEG at 1/2, 1/4 or 1/8 where that is enough
        return preprocessing.apply(ImageOps.exif_transpose(_eight_bit(image, path)))


@contextmanager
def opened(path: Path) -> Iterator["Image"]:
    """Yield the image in `path`, not yet decoded; a SourceError says why it, or what is done with it, fails."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=_formats()) as image:
            yield image
    except SourceError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise SourceError(f"{path} has more than {Image.MAX_IMAGE_PIXELS:,} pixels: make it smaller") from None
    except UnidentifiedImageError:
        raise SourceError(f"{path} {_not_an_image(path)}") from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error …
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"{path} cannot be read as an image ({reason}): save it again, or delete it") from error


def _formats() -> tuple[str, ...]:
    """Return the formats to try; HEIF where the package pillow-heif is installed."""
    from PIL import Image

    return tuple(name for name in (*_FORMATS, "HEIF") if name in Image.OPEN)


def _not_an_image(path: Path) -> str:
    if path.stat().st_size == 0:
        return "is empty: delete it, or save it again as PNG or JPEG"
    suffix = path.suffix.lower()
    if suffix in _HEIF and "HEIF" not in _formats():
        return "is HEIC, which needs the package pillow-heif: install it, or save the image as JPEG"
    if suffix == ".avif" and "AVIF" not in _formats():
        return "is AVIF, which this Pillow cannot read: save it as JPEG"
    return "is not an image, despite its name: delete it, or save it again as PNG or JPEG"


@contextmanager
def strict_decoding() -> Iterator[None]:
    """Make an image of more than Pillow's 89 million pixels an error, not a warning.

    Around all calls of `decode`, not inside it, because Python's warning filters belong to the process, not the thread.
    """
    from PIL import Image

    Image.init()
    with warnings.catch_warnings():
        try:
            import pillow_heif  # type: ignore[import-not-found, unused-ignore]

            pillow_heif.register_heif_opener()
        except ImportError:
            pass
        warnings.simplefilter("ignore")  # the others are about odd but readable files
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _eight_bit(image: "Image", path: Path) -> "Image":
    """Return `image` with 8 bits per channel."""
    from PIL import Image

    raw = _raw_mode(image)
    if ";16" not in raw and not image.mode.startswith("I;16"):
        if image.mode not in _EIGHT_BIT_MODES:
            raise SourceError(f"{path} has pixels of type {image.mode}: save it with 8 bits per channel")
        return image
    exif = image.getexif()
    if image.mode in _GREY:
        values = np.asarray(image)[..., np.newaxis].astype(np.uint16)
    elif raw == "LA;16B":  # Pillow has no other order of it: its four bytes, as if they were four channels
        parts = _decode_as(path, "RGBA", "RGBA").astype(np.uint16)
        values = parts[..., 0::2] * np.uint16(256) + parts[..., 1::2]
    elif raw in _OTHER_ORDER:
        values = np.asarray(image).astype(np.uint16) * np.uint16(256) + _decode_as(path, image.mode, _OTHER_ORDER[raw])
    else:
        raise SourceError(f"{path} has pixels of type {raw}: save it with 8 bits per channel")
    colours = values.shape[2] - 1 + values.shape[2] % 2  # without alpha
    refuse_12_bits(values[..., :colours], str(path))
    pixels = from_16_bits(values)
    converted = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if exif:
        converted.info["exif"] = exif.tobytes()
    return converted


def _raw_mode(image: "Image") -> str:
    """Return how Pillow's decoder reads the pixels, such as RGB;16B; empty where the format has no such name."""
    arguments: Any = image.tile[0][3] if getattr(image, "tile", None) else ""  # type: ignore[attr-defined]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _decode_as(path: Path, mode: str, raw: str) -> NDArray[np.uint8]:
    """Return the pixels of `path`, `(height, width, channels)`, decoded by another raw mode."""
    from PIL import Image

    with Image.open(path, formats=_formats()) as image:
        image._mode = mode
        image.tile = [tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw) for tile in image.tile]
        return np.asarray(image)


def from_16_bits(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return `values`, 0-65535, as 0-255."""
    return np.rint(values / 257).astype(np.uint8)


def refuse_12_bits(values: NDArray[np.uint16], where: str) -> None:
    """Raise SourceError if no value needs more than 12 bits: such a camera's image would become black."""
    if 0 < int(values.max(initial=0)) <= _TWELVE_BITS:
        raise SourceError(
            f"{where} has 16 bits per channel, but no value above {_TWELVE_BITS:,}: it looks like 12-bit data, which would "
            "become black: multiply the values by 16, or save it with 8 bits per channel"
        )
