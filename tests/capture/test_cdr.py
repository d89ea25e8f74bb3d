"""The CDR parser: alignment, both byte orders, cut messages."""

from __future__ import annotations

import pytest

from sfam.capture import cdr
from tests.capture.cdr_writer import Cdr, camera_info, compressed, image, tree


@pytest.mark.parametrize("frame", ["", "a", "ab", "abc", "abcd", "camera_color_optical_frame"])
@pytest.mark.parametrize("big", [False, True])
def test_an_image_is_read_whatever_its_strings_do_to_the_alignment(frame: str, big: bool) -> None:
    got = cdr.image(image(5_000_000_007, frame, (4, 2), "mono16", bytes(range(16)), big=big))
    assert (got.stamp_ns, got.frame_id, got.width, got.height) == (5_000_000_007, frame, 4, 2)
    assert (got.encoding, got.big_endian, got.step, bytes(got.pixels)) == ("mono16", big, 8, bytes(range(16)))


@pytest.mark.parametrize("frame", ["", "a", "ab", "abc"])
def test_doubles_are_aligned_to_eight(frame: str) -> None:
    camera = cdr.camera_info(camera_info((640, 480), frame))
    assert camera is not None
    assert (camera.width, camera.height, camera.fx, camera.ppy) == (640, 480, 640.0, 240.0)
    rational = cdr.camera_info(camera_info((640, 480), frame, "rational_polynomial", 8))
    assert rational is not None
    assert len(rational.coeffs) == 8
    assert cdr.camera_info(camera_info((640, 480), frame, "equidistant", 4)) is None


@pytest.mark.parametrize("keep", [0, 3, 4, 9, 30, 60])
def test_a_cut_message_is_a_value_error(keep: int) -> None:
    whole = image(1, "abc", (4, 2), "mono16", bytes(16))
    assert len(whole) > keep
    with pytest.raises(ValueError, match="message"):
        cdr.image(whole[: min(keep, len(whole) - 1)])


def test_another_encapsulation_is_refused() -> None:
    with pytest.raises(ValueError, match="plain CDR"):
        cdr.string(b"\0\3\0\0" + bytes(20))


def test_compressed_images_and_trees_are_read() -> None:
    got = cdr.compressed_image(compressed(9, "f", "rgb8; jpeg compressed bgr8", b"xyz"))
    assert (got.stamp_ns, got.format, bytes(got.pixels)) == (9, "rgb8; jpeg compressed bgr8", b"xyz")
    poses = cdr.transforms(tree(("base", "depth", (1, 0, 0)), ("base", "color", (0, 2, 0))))
    assert poses["base", "color"].translation_m == (0, 2, 0)


def test_extrinsics_are_turned_from_columns_to_rows() -> None:
    data = Cdr().add("d", *range(9)).add("d", 1, 2, 3).done()
    assert cdr.extrinsics(data).rotation == (0, 3, 6, 1, 4, 7, 2, 5, 8)
