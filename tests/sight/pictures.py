"""Pictures whose dominant colour is known, made on the spot; the same seed draws the same picture."""

from __future__ import annotations

import io
from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageDraw

#: (width, height), in points.
Size = tuple[int, int]
Colour = tuple[int, int, int]

#: Name -> shades that bear it, the purest first; so does whatever lies between them.
COLOURS: dict[str, tuple[Colour, ...]] = {
    "red": ((255, 0, 0), (200, 20, 20), (230, 40, 50)),
    "green": ((0, 255, 0), (0, 128, 0), (50, 180, 70)),
    "blue": ((0, 0, 255), (30, 80, 220), (20, 20, 150)),
    "yellow": ((255, 255, 0), (240, 215, 30), (250, 235, 90)),
    "black": ((0, 0, 0), (35, 35, 35), (15, 15, 20)),
    "white": ((255, 255, 255), (225, 225, 225), (245, 245, 235)),
    "orange": ((255, 165, 0), (255, 128, 0), (235, 125, 35)),
    "purple": ((128, 0, 128), (150, 40, 200), (95, 20, 130)),
}

#: The most of a picture that its second colour takes.
MINORITY = 0.3

#: What llama.cpp puts beside a picture that is not square: LLaVA's mean colour.
PADDING: Colour = (122, 116, 104)


def shade(random: Random, colour: str) -> Colour:
    """Anything that still bears the name."""
    weights = [random.random() for _ in COLOURS[colour]]
    mixed = np.average(np.array(COLOURS[colour]), axis=0, weights=weights)
    red, green, blue = (min(255, max(0, round(channel + random.uniform(-8, 8)))) for channel in mixed)
    return red, green, blue


def solid(colour: str, size: Size = (64, 64), seed: int | None = None) -> Image.Image:
    """The purest shade, or one of the seed's."""
    return Image.new("RGB", size, COLOURS[colour][0] if seed is None else shade(Random(seed), colour))


def noisy(colour: str, size: Size = (64, 64), seed: int = 0) -> Image.Image:
    """Each point a little off, by as much as the seed says."""
    random = Random(seed)
    grain = np.random.default_rng(seed).normal(0, random.uniform(5, 50), (size[1], size[0], 3))
    points = np.array(shade(random, colour)) + grain
    return Image.fromarray(points.clip(0, 255).astype(np.uint8))


def gradient(colour: str, size: Size = (64, 64), seed: int = 0) -> Image.Image:
    """From one shade of the colour to another, across or down."""
    random = Random(seed)
    start, end = np.array(shade(random, colour)), np.array(shade(random, colour))
    across, width, height = random.random() < 0.5, *size
    share = np.linspace(0, 1, width if across else height)
    line = start + share[:, None] * (end - start)
    points = np.broadcast_to(line[None] if across else line[:, None], (height, width, 3))
    return Image.fromarray(points.round().astype(np.uint8))


def blobs(colour: str, size: Size = (64, 64), seed: int = 0) -> Image.Image:
    """A second colour in spots before the first, or around it; the first has two thirds of the picture at the least."""
    random = Random(seed)
    second = random.choice([other for other in COLOURS if other != colour])
    if random.random() < 0.4:
        return _framed(random, colour, second, size)
    picture = Image.new("RGB", size, shade(random, colour))
    pen, taken = ImageDraw.Draw(picture), 0.0
    while (taken := taken + (part := random.uniform(0.02, 0.15))) < MINORITY:
        ratio = random.uniform(0.6, 1.6)
        width, height = size[0] * (part * ratio) ** 0.5, size[1] * (part / ratio) ** 0.5
        left, top = random.uniform(0, size[0] - width), random.uniform(0, size[1] - height)
        draw = random.choice([pen.ellipse, pen.rectangle])
        draw((left, top, left + width, top + height), fill=shade(random, second))
    return picture


def _framed(random: Random, colour: str, second: str, size: Size) -> Image.Image:
    side = random.uniform(1 - MINORITY, 0.95) ** 0.5
    width, height = max(1, round(size[0] * side)), max(1, round(size[1] * side))
    picture = Image.new("RGB", size, shade(random, second))
    corner = random.randint(0, size[0] - width), random.randint(0, size[1] - height)
    picture.paste(Image.new("RGB", (width, height), shade(random, colour)), corner)
    return picture


KINDS: dict[str, Callable[[str, Size, int], Image.Image]] = {
    "solid": solid,
    "noisy": noisy,
    "gradient": gradient,
    "blobs": blobs,
}


def some(random: Random, colour: str) -> Image.Image:
    """A picture of any kind and size."""
    size = random.randint(8, 160), random.randint(8, 160)
    if random.random() < 0.3:
        size = (size[0], size[0])
    return random.choice(list(KINDS.values()))(colour, size, random.getrandbits(32))


def encoded(picture: Image.Image, form: str = "PNG") -> bytes:
    """As a file: PNG, JPEG, WEBP, GIF, BMP, whatever Pillow writes."""
    file = io.BytesIO()
    picture.save(file, form)
    return file.getvalue()


def fitted(picture: Image.Image, side: int) -> np.ndarray:
    """(side, side, 3) bytes: what llama.cpp's `mtmd_image_preprocessor_fixed_size` makes of it.

    Its resampling is Pillow's bicubic one, and its sizes are computed in single precision.
    """
    if picture.size == (side, side):
        return np.asarray(picture)
    width, height = picture.size
    scale = min(np.float32(side) / np.float32(width), np.float32(side) / np.float32(height))
    new = min(int(np.ceil(np.float32(width) * scale)), side), min(int(np.ceil(np.float32(height) * scale)), side)
    square = Image.new("RGB", (side, side), PADDING)
    square.paste(picture.resize(new, Image.Resampling.BICUBIC), ((side - new[0]) // 2, (side - new[1]) // 2))
    return np.asarray(square)
