"""Image files as pixels: every format that is read, and what no other file gets past."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image, ImageOps
from tropilla.common.bitmaps import Bitmap, UnreadableImage, unpacked

MOST = 1_000_000
RED, BLUE, WHITE = b"\xff\x00\x00", b"\x00\x00\xff", b"\xff\xff\xff"


def file(image: Image.Image, form: str, **more: object) -> bytes:
    with io.BytesIO() as written:
        image.save(written, form, **more)
        return written.getvalue()


def colours(bitmap: Bitmap) -> set[bytes]:
    return {bitmap.pixels[at : at + 3] for at in range(0, len(bitmap.pixels), 3)}


@pytest.mark.parametrize(("form", "more"), [("PNG", {}), ("GIF", {}), ("WEBP", {"lossless": True})])
def test_a_picture_is_rows_of_its_points(form: str, more: dict[str, object]) -> None:
    image = Image.new("RGB", (3, 2), "blue")
    image.putpixel((1, 0), (255, 0, 0))
    assert unpacked(file(image, form, **more), most_pixels=MOST) == Bitmap(3, 2, BLUE + RED + BLUE * 4)


def test_a_photograph_is_about_right() -> None:
    bitmap = unpacked(file(Image.new("RGB", (16, 16), "red"), "JPEG"), most_pixels=MOST)
    assert (bitmap.width, bitmap.height, len(bitmap.pixels)) == (16, 16, 16 * 16 * 3)
    assert all(red > 240 and green < 15 and blue < 15 for red, green, blue in colours(bitmap))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "I;16", "LA", "RGBA"])
def test_whatever_its_points_are_they_become_red_green_and_blue(mode: str) -> None:
    form = "JPEG" if mode == "CMYK" else "PNG"
    bitmap = unpacked(file(Image.new(mode, (4, 4)), form), most_pixels=MOST)
    assert len(bitmap.pixels) == 4 * 4 * 3


def test_what_is_transparent_stands_on_white() -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 255, 0))
    image.putpixel((0, 0), (255, 0, 0, 255))
    assert unpacked(file(image, "PNG"), most_pixels=MOST).pixels == RED + WHITE


def test_a_picture_is_turned_as_its_camera_says() -> None:
    image = Image.new("RGB", (2, 1), "blue")
    image.putpixel((0, 0), (255, 0, 0))
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn clockwise
    assert unpacked(file(image, "PNG", exif=turned), most_pixels=MOST) == Bitmap(1, 2, RED + BLUE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_as_pillow_would_turn_it(orientation: int) -> None:
    image, exif = Image.new("RGB", (3, 2)), Image.Exif()
    image.putdata([(40 * at, 0, 0) for at in range(6)])
    exif[0x0112] = orientation
    data = file(image, "PNG", exif=exif)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert unpacked(data, most_pixels=MOST) == Bitmap(*turned.size, turned.tobytes())


def test_exif_that_cannot_be_written_again_is_no_reason_to_refuse_a_picture() -> None:
    """Found by chance changes to files: Pillow's own turning writes EXIF anew, and stumbles over a length in words."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "hello"
    told = exif.tobytes()
    description, length = (tag.to_bytes(2, "big" if b"MM" in told[:8] else "little") for tag in (0x010E, 0x0101))
    assert told.count(description) == 1
    data = file(Image.new("RGB", (2, 1)), "PNG", exif=told.replace(description, length))
    with pytest.raises(struct.error):
        ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert unpacked(data, most_pixels=MOST).height == 2


def test_of_an_animation_the_first_frame_counts() -> None:
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    for form in ("GIF", "WEBP"):
        data = file(red, form, save_all=True, append_images=[blue])
        assert all(first > last for first, _, last in colours(unpacked(data, most_pixels=MOST)))


@pytest.mark.parametrize("held", range(9))
def test_however_a_camera_was_held_it_is_turned_as_pillow_would(held: int) -> None:
    image = Image.new("RGB", (3, 2), "blue")
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = held
    data = file(image, "PNG", exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        upright = ImageOps.exif_transpose(opened)
    assert unpacked(data, most_pixels=MOST) == Bitmap(*upright.size, upright.tobytes())


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_whatever_is_spoilt_in_what_a_camera_says_only_one_thing_is_raised(form: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x8825] = 6, "hello", {1: "N", 2: (1.0, 2.0, 3.0)}
    whole = file(Image.new("RGB", (8, 8), "blue"), form, exif=exif)
    begin = whole.index(b"MM\0*") if b"MM\0*" in whole else whole.index(b"II*\0")
    for at in range(begin, begin + len(exif.tobytes()) - 6):
        for byte in (0, 3, 255):
            data = whole[:at] + bytes([byte]) + whole[at + 1 :]
            try:
                bitmap = unpacked(repaired(data) if form == "PNG" else data, most_pixels=MOST)
            except UnreadableImage:
                continue
            assert (bitmap.width, bitmap.height) == (8, 8)


def repaired(data: bytes) -> bytes:
    """A PNG file whose chunks have the checksums of what they hold."""
    whole, at = data[:8], 8
    while at < len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        whole += data[at:end] + struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return whole


def passes(image: Image.Image, more: int, **saved: object) -> bytes:
    """A JPEG file that tells the last pass over its picture so many times more."""
    whole = file(image, "JPEG", progressive=True, **saved)
    end = whole.rindex(b"\xff\xd9")
    return whole[:end] + whole[whole.rindex(b"\xff\xda") : end] * more + whole[end:]


def test_a_file_of_passes_without_end_is_refused_before_any_is_made() -> None:
    image = Image.new("RGB", (64, 64), "teal")
    assert unpacked(passes(image, 20), most_pixels=MOST) == unpacked(passes(image, 0), most_pixels=MOST)
    for behind in (b"", b"\xff\xd9" * 3):
        with pytest.raises(UnreadableImage, match="is told in 100010 passes; at most 64 are read"):
            unpacked(passes(image, 100_000) + behind, most_pixels=MOST)


def test_passes_that_stand_in_other_pictures_do_not_count() -> None:
    """In the small one of a header, and in the film that telephones put behind it."""
    image = Image.new("RGB", (64, 64), "teal")
    plain = unpacked(passes(image, 0), most_pixels=MOST)
    small = (b"\xff\xda" + bytes(9)) * 50 + b"\xff\xd9"
    assert unpacked(passes(image, 30, comment=small) + b"\xff\xda film" * 9999, most_pixels=MOST) == plain


def test_passes_are_not_hidden_in_segments() -> None:
    """Within a picture libjpeg passes over some lengths and takes others: none is trusted there."""
    whole = passes(Image.new("L", (64, 64)), 0)
    begin = whole.index(b"\xff\xda")
    hidden = whole[: begin + 20] + b"\xff\x02\xff\xff" + whole[begin:-2] * 100 + whole[-2:]
    with pytest.raises(UnreadableImage, match="passes; at most"):
        unpacked(hidden, most_pixels=MOST)


@pytest.mark.parametrize("form", ["BMP", "TIFF", "ICO", "PPM", "TGA", "PDF"])
def test_no_other_reader_of_pillows_is_let_near_a_file(form: str) -> None:
    with pytest.raises(UnreadableImage, match="is not a PNG, JPEG, WebP or GIF image"):
        unpacked(file(Image.new("RGB", (4, 4)), form), most_pixels=MOST)


@pytest.mark.parametrize("data", [b"", b"x", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP"])
def test_a_beginning_is_no_picture(data: bytes) -> None:
    with pytest.raises(UnreadableImage):
        unpacked(data, most_pixels=MOST)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_file_may_be_cut_anywhere(form: str) -> None:
    """It is refused, or shows all of its points; nothing else is raised."""
    whole = file(Image.radial_gradient("L").resize((32, 32)).convert("RGB"), form)
    for end in range(0, len(whole), max(1, len(whole) // 60)):
        try:
            bitmap = unpacked(whole[:end], most_pixels=MOST)
        except UnreadableImage:
            continue
        assert len(bitmap.pixels) == 32 * 32 * 3


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_points_are_counted_before_any_is_unpacked(form: str) -> None:
    data = file(Image.new("L", (100, 50)), form)
    with pytest.raises(UnreadableImage, match="has 100 x 50 pixels; at most 4999 are read"):
        unpacked(data, most_pixels=4999)
    assert unpacked(data, most_pixels=5000).width == 100


def test_a_header_that_lies_costs_nothing() -> None:
    """65,535 times as many points as there is data for."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 65535, 65535, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    for most in (40_000_000, 2**33):
        with pytest.raises(UnreadableImage, match="more than can be believed"):
            unpacked(data, most_pixels=most)
