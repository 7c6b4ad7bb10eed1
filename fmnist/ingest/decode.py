"""Decodes an image file into raw pixels: the same bytes for the same file on every machine.

The rules, in the order in which they are applied:

1. PNG, JPEG, WebP, BMP and GIF are read; of an animation the first frame.
2. The orientation in the EXIF data is applied, as viewers do.
3. 16-bit grey keeps its upper 8 bits; black and white become 0 and 255.
4. Transparent pixels are laid on black; a palette becomes the colours it stands for.
5. One channel is grey by ITU-R 601 (0.299 R + 0.587 G + 0.114 B); three are RGB, of a grey image
   three times the same. CMYK and other colour spaces are refused, since they need a profile.
6. The image is scaled to the height and width of the task by Pillow's antialiased bilinear filter,
   which computes in integers; the aspect ratio is not kept. An image that fits is left as it is.
"""

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fmnist.errors import first_line

# Pillow's names of the formats that are read, with the endings of their files.
FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
}
MOST_PIXELS = 1 << 26  # 67 million: a small file can claim to be much larger than memory
# Part of a data set's id; raised when the same files would give other pixels, labels or order.
RULES = 3
GREY_MODES = {"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I"}
COLOUR_MODES = {"RGB", "RGBA", "RGBa", "RGBX", "P", "PA"}
MODES = GREY_MODES | COLOUR_MODES
# One of these names is in a PNG file that has an orientation, never compressed.
PNG_ORIENTATIONS = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
TURNED = (5, 6, 7, 8)  # orientations that turn an image by 90°


class BadImageError(Exception):
    """This file is no image that can be used; the text says why, without the file's name."""


class RefusedImageError(BadImageError):
    """It is an image, but its size or its colours are refused."""


@dataclass(frozen=True, kw_only=True)
class ImageInfo:
    """Height and width in pixels as the image is shown, and 1 channel for grey or 3 for colour."""

    height: int
    width: int
    channels: int


def read_info(data: bytes) -> ImageInfo:
    """Size and channels, as far as possible from the file's header alone. Raises BadImageError."""
    with _opened(data) as image:
        height, width = image.height, image.width
        # Pillow decodes all pixels of a PNG file to look for an orientation behind them.
        upright = image.format == "PNG" and not any(name in data for name in PNG_ORIENTATIONS)
        if not upright and image.getexif().get(ExifTags.Base.Orientation) in TURNED:
            height, width = width, height
        return ImageInfo(height=height, width=width, channels=1 if image.mode in GREY_MODES else 3)


def decode_image(data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """The pixels of an image file, uint8 (height, width, channels). Raises BadImageError."""
    height, width, channels = shape
    with _opened(data) as image:
        image.load()
        if image.info:  # without any metadata, to look for an orientation takes a fifth of the time
            ImageOps.exif_transpose(image, in_place=True)
        plain = _to_channels(image, channels)
        if plain.size != (width, height):
            plain = plain.resize((width, height), Image.Resampling.BILINEAR)
        # Pillow's own interface for NumPy gives the same bytes, but more slowly.
        return np.frombuffer(plain.tobytes(), np.uint8).reshape(shape)


def check_raw(data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Pixels that need no decoding, uint8 (height, width, channels). Raises BadImageError."""
    if len(data) != math.prod(shape):
        expected = f"{math.prod(shape)} ({' × '.join(map(str, shape))})"
        raise BadImageError(f"it has {len(data)} bytes, expected {expected}")
    return np.frombuffer(data, np.uint8).reshape(shape)


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """Opens an image whose header is acceptable; whatever Pillow raises becomes a BadImageError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is refused here or harmless
            with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise RefusedImageError(
                        f"its header says {image.width} × {image.height} pixels, "
                        f"expected at most {MOST_PIXELS:,}"
                    )
                if image.mode not in MODES:
                    raise RefusedImageError(
                        f"its colours are {image.mode}, expected grey, RGB or a palette"
                    )
                yield image
    except BadImageError:
        raise
    except UnidentifiedImageError as error:
        raise BadImageError(f"it is no image in {' or '.join(FORMATS)} format") from error
    except Image.DecompressionBombError as error:
        message = f"it has too many pixels, expected at most {MOST_PIXELS:,}"
        raise RefusedImageError(message) from error
    except MemoryError as error:
        raise BadImageError("it takes more memory than there is") from error
    except Exception as error:  # damaged data make Pillow raise almost anything
        raise BadImageError(f"it can't be decoded: {first_line(error)}") from error


def _to_channels(image: Image.Image, channels: int) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
        values = np.asarray(image).astype(np.int64) >> 8
        image = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    if image.mode == "P" or image.mode.endswith(("A", "a")) or "transparency" in image.info:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)
