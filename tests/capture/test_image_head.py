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


@pytest.mark.parametrize("cut", [len(PNG) - 1, len(PNG) - 14, 40])
def test_a_cut_png_is_refused_before_memory_is_taken_for_what_is_missing(cut: int) -> None:
    with pytest.raises(ValueError, match=r"chunk of|does not decode"):
        decode_png(PNG[:cut], "depth")


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff", JPEG[:30], b"GIF89a", PNG[:8], PNG[:11]])
def test_scraps_are_left_to_the_decoder(data: bytes) -> None:
    check_head(data)
