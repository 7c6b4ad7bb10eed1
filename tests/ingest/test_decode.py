"""Image files of all kinds become the pixels that the documented rules say."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from fmnist.ingest import decode
from fmnist.ingest.decode import BadImageError, ImageInfo, decode_image, read_info

RED = np.full((2, 3, 3), (200, 0, 0), np.uint8)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def test_grey_pixels_are_kept_as_they_are() -> None:
    pixels = np.arange(28 * 28, dtype=np.uint8).reshape(28, 28)
    data = encoded(Image.fromarray(pixels))
    assert (decode_image(data, (28, 28, 1))[:, :, 0] == pixels).all()
    assert (decode_image(data, (28, 28, 3)) == pixels[:, :, None]).all()
    assert read_info(data) == ImageInfo(height=28, width=28, channels=1)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "GIF"])
def test_lossless_formats_keep_colours(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(Image.fromarray(RED), form, **options)
    assert (decode_image(data, (2, 3, 3)) == RED).all()
    assert read_info(data) == ImageInfo(height=2, width=3, channels=3)


def test_colour_becomes_grey_by_itu_601() -> None:
    found = decode_image(encoded(Image.fromarray(RED)), (2, 3, 1))
    assert (found == round(0.299 * 200)).all()


def test_16_bits_keep_the_upper_8() -> None:
    deep = np.array([[0, 255, 256], [32_768, 65_280, 65_535]], np.uint16)
    found = decode_image(encoded(Image.fromarray(deep)), (2, 3, 1))
    assert found[:, :, 0].tolist() == [[0, 0, 1], [128, 255, 255]]


def test_black_and_white_is_0_and_255() -> None:
    data = encoded(Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1"))
    assert decode_image(data, (1, 2, 1)).ravel().tolist() == [0, 255]


def test_transparency_is_laid_on_black() -> None:
    pixels = np.array([[[255, 255, 255, 0], [255, 255, 255, 255]]], np.uint8)
    assert decode_image(encoded(Image.fromarray(pixels)), (1, 2, 1)).ravel().tolist() == [0, 255]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0])
    found = decode_image(encoded(palette, transparency=0), (1, 2, 3))
    assert found.tolist() == [[[0, 0, 0], [0, 255, 0]]]


XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize("where", ["exif", "xmp"])
def test_the_orientation_is_applied(where: str) -> None:
    pixels = np.array([[10, 20, 30]], np.uint8)
    if where == "exif":
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6  # shown turned by 90° clockwise
        data = encoded(Image.fromarray(pixels), exif=exif)
    else:
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP, zip=True)
        data = encoded(Image.fromarray(pixels), pnginfo=text)
    assert read_info(data) == ImageInfo(height=3, width=1, channels=1)
    assert decode_image(data, (3, 1, 1)).ravel().tolist() == [10, 20, 30]


def test_the_size_of_a_png_is_read_without_its_pixels() -> None:
    data = encoded(Image.fromarray(RED))
    assert read_info(data[: data.index(b"IDAT") + 8]) == ImageInfo(height=2, width=3, channels=3)


def test_other_sizes_are_scaled_to_bytes_that_never_change() -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
    found = decode_image(encoded(Image.fromarray(pixels)), (2, 3, 1))
    assert found[:, :, 0].tolist() == [[48, 56, 63], [126, 134, 141]]


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.fromarray(np.full((2, 2), value, np.uint8)) for value in (7, 9)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode_image(data, (2, 2, 1)) == 7).all()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no image in PNG"),
        (b"just text", "no image in PNG"),
        (encoded(Image.fromarray(RED), "TIFF"), "no image in PNG"),
        (encoded(Image.fromarray(RED).resize((300, 300)), "JPEG")[:600], "can't be decoded"),
        (encoded(Image.new("CMYK", (4, 4)), "JPEG"), "colours are CMYK"),
    ],
)
def test_what_is_no_usable_image_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(BadImageError, match=reason):
        decode_image(data, (8, 8, 3))


def test_an_image_that_would_inflate_is_refused_by_its_header(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = encoded(Image.fromarray(RED))
    monkeypatch.setattr(decode, "MOST_PIXELS", 5)
    with pytest.raises(BadImageError, match="3 × 2 pixels, expected at most 5"):
        read_info(data)


@given(
    st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "GIF"]),
    st.integers(0, 400),
    st.binary(max_size=40),
    st.booleans(),
)
def test_whatever_the_bytes_it_is_an_image_or_our_error(
    form: str, at: int, put: bytes, cut: bool
) -> None:
    data = encoded(Image.fromarray(RED).resize((20, 20)), form)
    at = min(at, len(data))
    changed = data[:at] + put + (b"" if cut else data[at + len(put) :])
    try:
        assert decode_image(changed, (4, 4, 3)).shape == (4, 4, 3)
    except BadImageError as error:
        assert str(error)
