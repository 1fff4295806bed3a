"""One image file becomes the model's input: orientation, size, colour, transparency, 16 bits."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import SourceError
from pipeline.ingest.preprocessing import Preprocessing, decode, strict_decoding
from tests.ingest.sources import png_16


def decoded(path: Path, resize: str = "stretch") -> list[list[int]]:
    """Return the image in `path`, grey and 8×8."""
    with strict_decoding():
        pixels: list[list[int]] = decode(path, Preprocessing(8, 1, resize))[..., 0].tolist()
    return pixels


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photo_is_turned_as_its_exif_says(tmp_path: Path, orientation: int) -> None:
    upright = np.repeat(np.repeat(np.arange(16, dtype=np.uint8).reshape(4, 4) * 16, 2, axis=0), 2, axis=1)
    undo = {3: 2, 6: 1, 8: 3}  # quarter turns that a camera held like this makes
    stored = {2: upright[:, ::-1], 4: upright[::-1], 5: upright.T, 7: upright[::-1, ::-1].T}.get(
        orientation, np.rot90(upright, undo.get(orientation, 0))
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "x.png", exif=exif)
    assert decoded(tmp_path / "x.png") == upright.tolist()


def test_resizing_of_images_that_are_not_square(tmp_path: Path) -> None:
    wide = np.zeros((8, 16), np.uint8)
    wide[:, 4:12] = 200
    Image.fromarray(wide).save(tmp_path / "x.png")
    assert decoded(tmp_path / "x.png", resize="crop") == [[200] * 8] * 8
    stretched = decoded(tmp_path / "x.png", resize="stretch")
    assert stretched[0] == stretched[7]
    assert stretched[0][0] == 0 < stretched[0][1] <= 200 == stretched[0][4]
    padded = decoded(tmp_path / "x.png", resize="pad")
    assert padded[:2] == padded[6:] == [[0] * 8] * 2
    assert padded[2] == stretched[0]


def test_a_line_of_pixels_survives_every_resizing(tmp_path: Path) -> None:
    Image.new("L", (3000, 1), 255).save(tmp_path / "x.png")
    for resize in ("stretch", "pad", "crop"):
        assert max(map(max, decoded(tmp_path / "x.png", resize=resize))) == 255


def test_transparent_parts_become_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "x.png")
    Image.new("P", (8, 8), 0).save(tmp_path / "y.gif", transparency=0)
    assert decoded(tmp_path / "x.png") == decoded(tmp_path / "y.gif") == [[255] * 8] * 8


def test_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    first, second = Image.new("L", (8, 8), 0), Image.new("L", (8, 8), 255)
    first.save(tmp_path / "x.gif", save_all=True, append_images=[second])
    assert decoded(tmp_path / "x.gif") == [[0] * 8] * 8


GREY_16 = (np.random.default_rng(0).integers(5000, 65536, size=(8, 8, 4))).astype(np.uint16)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_per_channel_are_read_by_both_bytes(tmp_path: Path, channels: int) -> None:
    pixels = GREY_16[..., :channels].copy()
    if channels % 2 == 0:
        pixels[..., -1] = 65535
    (tmp_path / "x.png").write_bytes(png_16(pixels))
    colours = pixels[..., : channels - 1 + channels % 2]
    expected = np.rint(colours / 257).astype(np.uint8)
    with strict_decoding():
        found = decode(tmp_path / "x.png", Preprocessing(8, 1 if colours.shape[2] == 1 else 3, "stretch"))
    assert np.array_equal(found, expected)


def test_12_bits_in_16_are_refused_rather_than_read_as_black(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png_16(GREY_16[..., :3] // 16))
    with strict_decoding(), pytest.raises(SourceError, match=r"no value above 4,095: it looks like 12-bit data"):
        decode(tmp_path / "x.png", Preprocessing(8, 3, "stretch"))


def test_grey_with_alpha_is_laid_on_white(tmp_path: Path) -> None:
    image = np.zeros((8, 8, 2), np.uint8)
    image[:4, :, 1] = 255
    Image.fromarray(image).save(tmp_path / "x.png")
    assert decoded(tmp_path / "x.png") == [[0] * 8] * 4 + [[255] * 8] * 4


def test_padding_has_the_colour_of_the_corners(tmp_path: Path) -> None:
    image = np.full((4, 8, 3), (200, 180, 90), np.uint8)
    image[0, 0] = 0  # one odd corner
    image[1:3, 2:6] = 255
    Image.fromarray(image).save(tmp_path / "x.png")
    with strict_decoding():
        padded = decode(tmp_path / "x.png", Preprocessing(8, 3, "pad"))
    assert padded[:2].tolist() == padded[6:].tolist() == [[[200, 180, 90]] * 8] * 2
