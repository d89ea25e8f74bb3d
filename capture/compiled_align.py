"""The compiled loop of alignment, and what it takes; None where it was not built (NumPy then does the same)."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray


class AlignKernel(Protocol):
    """What the extension module offers; sizes are checked, a wrong one is a ValueError; other threads run meanwhile."""

    def align(
        self,
        depth: NDArray[np.uint16],
        width: int,
        height: int,
        corners: NDArray[np.float32],
        add_z: float,
        add_x: float,
        add_y: float,
        two_corners: bool,
        first_row: int,
        last_row: int,
        first_column: int,
        last_column: int,
        left: int,
        top: int,
        box_width: int,
        box_height: int,
        usual_x: int,
        usual_y: int,
        memory: NDArray[np.uint16],
        out: NDArray[np.uint16],
    ) -> None:
        """Depth (height, width) on a box of the color image, `out` (box_height, box_width).

        `corners` (3, height + 1, width + 1): what a depth is multiplied with for the divisor, u and v of the upper left
        corner of each pixel; the `add` values are added. Rows and columns bound the depth pixels that are looked at.
        Depth pixels that cover `usual_x` x `usual_y` color pixels, or one more, are the quick ones; `memory` holds
        `layer_cells` values and is worked in.
        """
        ...


def layer_cells(width: int, height: int, usual_x: int) -> int:
    """How many uint16 the loop needs to work in, for a box of this size."""
    return 4 * (width + usual_x) * (height + 1)


def _load() -> AlignKernel | None:
    try:
        return cast(AlignKernel, import_module("._align", __package__))
    except ImportError:
        return None


kernel = _load()
