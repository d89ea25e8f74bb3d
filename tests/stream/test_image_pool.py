from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfam.stream.image_pool import ImagePool


def test_an_image_nobody_holds_is_used_again() -> None:
    pool = ImagePool((4, 6), (3, 5))
    color, depth = pool.take()
    assert color.shape == (4, 6, 3)
    assert depth.shape == (3, 5)
    assert color.dtype == np.uint8
    assert depth.dtype == np.uint16
    address = color.ctypes.data
    del color, depth
    assert pool.take()[0].ctypes.data == address


def test_images_that_are_held_in_any_way_are_left_alone() -> None:
    pool = ImagePool((4, 6), (3, 5))
    addresses = set()
    whole, _ = pool.take()
    addresses.add(whole.ctypes.data)
    part = pool.take()[0][1:, ::2]
    addresses.add(part.base.ctypes.data if part.base is not None else 0)
    part_of_part = pool.take()[1][1:][1:]
    transposed = pool.take()[0].T
    raw = np.asarray(pool.take()[0].data)
    held: list[NDArray[Any]] = [whole, part, part_of_part, transposed, raw]
    copies = [np.array(each) for each in held]
    for number in range(40):
        color, depth = pool.take()
        color[:], depth[:] = number, number
        assert color.ctypes.data not in addresses
    for each, copy in zip(held, copies, strict=True):
        assert np.array_equal(each, copy)


def test_the_pool_does_not_grow_with_what_is_held() -> None:
    pool = ImagePool((4, 6), (3, 5))
    held = [pool.take() for _ in range(100)]
    assert len({color.ctypes.data for color, _ in held}) == 100
    assert len(pool._pairs) == 16
