"""Size and colors of the overlay window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .overlay_text import Color

Picture = NDArray[np.uint8]

WIDTH, HEIGHT = 1024, 600
VIEW_WIDTH, VIEW_HEIGHT = 640, 480
UNKNOWN = "-"

# blue, green, red
BACKGROUND: Color = (24, 20, 17)
PANEL: Color = (33, 28, 24)
RULE: Color = (58, 50, 44)
TEXT: Color = (238, 234, 230)
MUTED: Color = (160, 150, 140)
ACCENT: Color = (196, 186, 72)
REGION: Color = (208, 204, 201)
ARROW_EDGE: Color = (60, 44, 20)
THRESHOLD: Color = (92, 176, 240)
STATE_COLORS: dict[str, Color] = {
    "provisional": (92, 176, 240),
    "confirmed": (108, 108, 244),
    "withdrawn": (110, 104, 98),
}
