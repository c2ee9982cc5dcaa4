"""One encoded image to pixels: grey or colour, on white where it is transparent, square at a wanted side.

Cropping to the centre and antialiased resizing are Pillow's (`ImageOps.fit`, Lanczos), as EDM's data sets are made.
Refused rather than changed in silence: more than 8 bits per channel, and several frames.
"""

import io
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["MOST_PIXELS", "decode", "fit", "pixels_of"]

MOST_PIXELS = 64 * 1024**2
"""Pixels of one image."""
PNG = b"\x89PNG\r\n\x1a\n"
DEEP = ("I", "F")
"""Beginnings of Pillow's modes of more than 8 bits."""
GREY = ("1", "L")


def decode(data: bytes) -> NDArray[np.uint8]:
    """The pixels of an encoded image, uint8 (H, W, C), C = 1 if it is stored in grey, else 3.

    Raises:
        ValueError: it is no image, damaged, too large, of more than 8 bits per channel, or of several frames.
    """
    if data.startswith(PNG) and len(data) > 24 and data[24] == 16:
        raise ValueError("it has 16 bits per channel: save it with 8")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            with Image.open(io.BytesIO(data)) as image:
                return pixels_of(image)
    except UnidentifiedImageError:
        raise ValueError("it is no image that Pillow reads") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f"it has more than {MOST_PIXELS:,} pixels") from None
    except (OSError, SyntaxError, EOFError, IndexError, TypeError, OverflowError) as error:
        raise ValueError(f"it is damaged ({' '.join(str(error).split())})") from None


def pixels_of(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels of an opened image, as `decode`."""
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"it has {image.width} x {image.height} pixels: at most {MOST_PIXELS:,} are read")
    if image.mode.startswith(DEEP):
        raise ValueError(f"it has more than 8 bits per channel (mode {image.mode}): save it with 8")
    if getattr(image, "n_frames", 1) > 1:
        raise ValueError(f"it has {getattr(image, 'n_frames', 1)} frames: save the one that is wanted")
    upright: Image.Image = ImageOps.exif_transpose(image)
    grey = upright.mode in (*GREY, "LA")
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    pixels = np.asarray(upright.convert("L" if grey else "RGB"))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def fit(pixels: NDArray[np.uint8], size: int | None, channels: Literal[1, 3]) -> NDArray[np.uint8]:
    """Pixels uint8 (H, W, 1 or 3) as an image (C, size, size), or (C, H, W) without a size.

    Colour becomes grey by luma (ITU-R BT.601); grey becomes colour by repetition.
    """
    same = size is None or pixels.shape[:2] == (size, size)
    if same and pixels.shape[2] == channels:
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if not same:
        assert size is not None
        image = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    fitted: NDArray[Any] = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return np.ascontiguousarray(fitted[None] if channels == 1 else fitted.transpose(2, 0, 1))
