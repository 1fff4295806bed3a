"""One picture file → an array; whatever is wrong with it becomes one line that names it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SourceError
from pipeline.ingest.form import Form

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")  # not all of Pillow's: some start other programs
_EIGHT_BITS = frozenset({"1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr", "LAB", "HSV"})


@contextmanager
def strict() -> Iterator[None]:
    """Around all calls of `read`: a picture of more than Pillow's 89 million pixels is an error, not a warning.

    Around, not inside, because Python's warning filters are the process's, not the thread's.
    """
    from PIL import Image

    Image.init()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what remains are remarks on odd but readable files
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def read(path: Path, form: Form) -> NDArray[np.uint8]:
    """The picture in `path`, turned as its EXIF says, uint8 `(size, size, channels)`. Of an animation the first frame.

    Raises:
        SourceError: it is no picture, is damaged, too large, or has more than 8 bits per channel.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.mode not in _EIGHT_BITS:
                raise SourceError(f"{path} has pixels of type {image.mode}: save it with 8 bits per channel")
            image.draft(None, (2 * form.size, 2 * form.size))  # JPEG: decoded at 1/2, 1/4 or 1/8 where that is enough
            return form.of_image(ImageOps.exif_transpose(image))
    except SourceError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise SourceError(f"{path} has more than {Image.MAX_IMAGE_PIXELS:,} pixels: make it smaller") from None
    except UnidentifiedImageError:
        raise SourceError(f"{path} {_no_picture(path)}: delete it, or save it again as PNG or JPEG") from None
    except Exception as error:  # Pillow's decoders raise what they like: OSError, SyntaxError, ValueError, struct.error …
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"{path} cannot be read as a picture ({reason}): save it again, or delete it") from error


def _no_picture(path: Path) -> str:
    return "is empty" if path.stat().st_size == 0 else "is no picture, whatever its name says"
