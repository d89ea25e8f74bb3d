"""Clip folders of CAS(ME)^3: `color/<n>.jpg` with `depth/<n>.png`, or the PNG files in the clip folder itself.

The data set carries neither stamps nor a calibration: 30 frames a second as its annotation counts, numbers from the
file names (missing ones are gaps), one nominal camera, depth aligned to color. Its depth unit has to be given.
"""

from __future__ import annotations

from pathlib import Path

from .config import CaptureConfig
from .frame import Calibration, Intrinsics
from .image_folder import ImageFile, ImageFolderRecording
from .image_pairs import numbered
from .source import SourceError

FPS = 30.0
_FOCAL_PER_WIDTH = 0.72
"""Focal length of the color camera over the image's width, nominal: a horizontal view of 69.5 degrees."""


class CasmeRecording(ImageFolderRecording):
    """One clip."""

    container = "CAS(ME)^3 clip folder"
    writer = "CAS(ME)^3"

    def __init__(self, path: Path, config: CaptureConfig) -> None:
        """List the clip's images.

        Raises:
            SourceError: when the depth unit was not given.
        """
        color = numbered(path / "color", (".jpg", ".jpeg", ".png"))
        depth = numbered(path / "depth", (".png",)) or numbered(path, (".png",))
        files = [
            ImageFile("depth" if images is depth else "color", file, number, round(number * 1e9 / FPS))
            for images in (color, depth)
            for number, file in images
        ]
        if depth and config.depth_unit_m is None:
            raise SourceError(
                f"{path}: a CAS(ME)^3 clip does not say its depth unit; give it with --set capture.depth_unit_m=0.001"
            )
        super().__init__(path, config, files, FPS)
        self.depth_unit_m = config.depth_unit_m
        if self.color is not None:
            self._geometry = self._nominal(self.color.width, self.color.height)

    def _nominal(self, width: int, height: int) -> Calibration:
        """A camera of the usual view; said, because millimetres across the image depend on it."""
        if self.depth is not None and (self.depth.width, self.depth.height) != (width, height):
            raise SourceError(
                f"{self.path}: depth is {self.depth.width}x{self.depth.height}, color {width}x{height}; "
                "only aligned clips of one size can be used, for the data set holds no calibration"
            )
        self.warnings.append("the data set holds no calibration: a nominal camera was taken, depth as aligned to color")
        focal = _FOCAL_PER_WIDTH * width
        camera = Intrinsics(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
        return Calibration(camera, camera, depth_aligned=True)
