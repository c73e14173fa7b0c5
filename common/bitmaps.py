"""What an image file holds: checked before a request is let into a queue, and unpacked where a model looks at it.

PNG, JPEG, WebP and GIF, of which the first frame counts. A file is untrusted: its pixels are counted by its header before
any is unpacked, and no other of Pillow's many readers is let near it.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import ExifTags, UnidentifiedImageError
from PIL import Image as Pillow

#: Pillow's names of the formats, and what is said of them.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
#: Behind what is transparent.
PAPER = "white"
#: A JPEG file tells its picture in so many passes at the most; programs write about ten. Each takes a look at every point,
#: and need not have more than sixty bytes: in a file of the largest size there is room for hours of them.
MOST_SCANS = 64
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
#: EXIF's orientations that are not the upright one -> what makes them so. Pillow's own `exif_transpose` copies the picture
#: where there is nothing to turn, and writes EXIF anew, which a broken one does not survive.
_TURNS: Mapping[int, Pillow.Transpose] = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}

# What Pillow thinks is many pixels is not what the operator does, and what it remarks on broken files is for whoever sent
# them. Said once for all threads: `catch_warnings` is for one.
warnings.filterwarnings("ignore", module=r"PIL\.")
_STUMBLES = (OSError, ValueError, SyntaxError, LookupError, EOFError, TypeError, ArithmeticError, struct.error)


class UnreadableImage(Exception):
    """In words for whoever sent it, without a subject: "is not ..."."""


@dataclass(frozen=True, slots=True)
class Bitmap:
    """`pixels` are rows from the top, each pixel three bytes: red, green, blue."""

    width: int
    height: int
    pixels: bytes


def unpacked(data: bytes, *, most_pixels: int) -> Bitmap:
    """The first frame, the way up that its EXIF says, on white where it is transparent. Raises `UnreadableImage`."""
    try:
        with Pillow.open(io.BytesIO(_bounded(data)), formats=FORMATS) as opened:
            width, height = opened.size
            if width * height > most_pixels:
                raise UnreadableImage(f"has {width} x {height} pixels; at most {most_pixels} are read")
            return _upright(opened)
    except UnidentifiedImageError as error:
        raise UnreadableImage("is not a PNG, JPEG, WebP or GIF image") from error
    except Pillow.DecompressionBombError as error:
        raise UnreadableImage("unpacks to more than can be believed of it") from error
    # Each format has its own ways to be broken, and Pillow raises what its readers stumble over.
    except (*_STUMBLES, MemoryError) as error:
        raise UnreadableImage(f"is broken or cut off: {error}") from error


def _upright(opened: Pillow.Image) -> Bitmap:
    opened.load()
    turn = _TURNS.get(opened.getexif().get(ExifTags.Base.Orientation, 1))
    # Each step lets go of what it began with: a picture of 40 million pixels takes 160 MB, as Pillow keeps it.
    image = opened
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Pillow.new("RGBA", layer.size, PAPER)
        image.alpha_composite(layer)
        del layer
    if image.mode != "RGB":
        image = image.convert("RGB")
    if turn is not None:
        image = image.transpose(turn)
    return Bitmap(*image.size, image.tobytes())


def _bounded(data: bytes) -> bytes:
    """The file; of a JPEG file what may be read of it: up to the end of its picture. Raises `UnreadableImage`."""
    if not data.startswith(b"\xff\xd8"):
        return data
    begin = _first_scan(data)
    end = data.find(_END, begin)
    # Telephones put a film behind it, where any bytes may stand.
    picture = data if end < 0 else data[: end + len(_END)]
    if (scans := picture.count(_SCAN, begin)) > MOST_SCANS:
        raise UnreadableImage(f"is told in {scans} passes; at most {MOST_SCANS} are read")
    return picture


def _first_scan(data: bytes) -> int:
    """Where a JPEG file's picture begins, behind the segments of its header, which may hold a small one of their own; or
    where these make no sense.
    """
    at = 2
    while data[at : at + 1] == b"\xff" and (kind := data[at + 1 : at + 2]) not in (b"", b"\0", _SCAN[1:], _END[1:]):
        at += 1 if kind == b"\xff" else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at
