from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from sfam.capture.encoding import decode_png
from sfam.capture.image_head import check_head

DEPTH = np.arange(48, dtype=np.uint16).reshape(6, 8)
PNG = cv2.imencode(".png", DEPTH)[1].tobytes()
JPEG = cv2.imencode(".jpg", np.full((6, 8, 3), 99, np.uint8))[1].tobytes()


def test_whole_images_pass() -> None:
    check_head(PNG)
    check_head(memoryview(JPEG))
    assert np.array_equal(decode_png(PNG, "depth"), DEPTH)
    assert decode_png(JPEG, "color").shape == (6, 8, 3)


def test_a_png_of_a_size_that_no_camera_has_is_not_decoded() -> None:
    head = b"IHDR" + struct.pack(">II", 30_000, 30_000) + PNG[24:29]
    grown = PNG[:12] + head + struct.pack(">I", zlib.crc32(head)) + PNG[33:]
    with pytest.raises(ValueError, match="30000x30000"):
        decode_png(grown, "depth")


def test_a_jpeg_of_a_size_that_no_camera_has_is_not_decoded() -> None:
    place = JPEG.index(b"\xff\xc0") + 5
    grown = JPEG[:place] + struct.pack(">HH", 60_000, 50_000) + JPEG[place + 4 :]
    with pytest.raises(ValueError, match="50000x60000"):
        decode_png(grown, "color")


@pytest.mark.parametrize(("width", "height"), [(8, 8_000_000), (300_000, 6)])
def test_a_png_of_more_pixels_than_its_bytes_can_hold_is_not_decoded(width: int, height: int) -> None:
    head = b"IHDR" + struct.pack(">II", width, height) + PNG[24:29]
    grown = PNG[:12] + head + struct.pack(">I", zlib.crc32(head)) + PNG[33:]
    with pytest.raises(ValueError, match=rf"{width}x{height} pixels is not in {len(grown)} bytes"):
        decode_png(grown, "depth")


def test_a_jpeg_of_more_pixels_than_its_bytes_can_hold_is_not_decoded() -> None:
    place = JPEG.index(b"\xff\xc0") + 5
    grown = JPEG[:place] + struct.pack(">HH", 6_000, 6_000) + JPEG[place + 4 :]
    with pytest.raises(ValueError, match=rf"6000x6000 pixels is not in {len(JPEG)} bytes"):
        decode_png(grown, "color")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_emptiest_images_that_can_be_stored_pass(bits: int, channels: int) -> None:
    shape = (2000, 3000) if channels == 1 else (2000, 3000, channels)
    black = np.zeros(shape, np.uint8 if bits == 8 else np.uint16)
    check_head(cv2.imencode(".png", black, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes())
    if bits == 8 and channels != 4:
        for progressive in (0, 1):
            flags = [
                cv2.IMWRITE_JPEG_PROGRESSIVE,
                progressive,
                cv2.IMWRITE_JPEG_OPTIMIZE,
                1,
                cv2.IMWRITE_JPEG_QUALITY,
                1,
            ]
            check_head(cv2.imencode(".jpg", black, flags)[1].tobytes())


@pytest.mark.parametrize("cut", [len(PNG) - 1, len(PNG) - 14, 40])
def test_a_cut_png_is_refused_before_memory_is_taken_for_what_is_missing(cut: int) -> None:
    with pytest.raises(ValueError, match=r"chunk of|without pixels"):
        decode_png(PNG[:cut], "depth")


DAMAGED = {
    "no more than a signature": PNG[:8],
    "a cut head": PNG[:30],
    "a head of another length": PNG[:11] + b"\x05" + PNG[12:],
    "a head that its checksum denies": PNG[:20] + b"\xff" + PNG[21:],
    "something before the head": PNG[:8] + PNG[33:] + PNG[8:33],
    "no pixels": PNG[:33] + PNG[-12:],
    "an end that is cut": PNG[:38],
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=list(DAMAGED))
def test_a_damaged_png_is_refused_before_any_decoder_sees_it(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"with a damaged head|without pixels"):
        check_head(data)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff", JPEG[:30], b"GIF89a"])
def test_scraps_are_left_to_the_decoder(data: bytes) -> None:
    check_head(data)
