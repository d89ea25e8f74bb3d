"""Kinect v1 dumps as libfreenect's `record` writes them: INDEX.txt, d-*.pgm, r-*.ppm.

The body of the 16-bit PGM is little-endian against the format's rule; wall time and the sensor's ticks stand in the
name.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from .config import CaptureConfig
from .file_time import ns_from_text
from .frame import Calibration, ClockDomain, ColorImage, DepthImage
from .image_folder import ImageFile, ImageFolderRecording
from .source import SourceError
from .tum import default_camera

_NAME = re.compile(r"^([dr])-(\d{1,12}\.\d{1,12})-(\d{1,18})\.p[gp]m$", re.ASCII)
_HEADER = re.compile(rb"^P([56])\s+([1-9]\d{0,4})\s+([1-9]\d{0,4})\s+(\d{1,5})\s")
_NO_READING = 2047
"""Of the 11-bit disparity mode; no distance in mm of a face or wall dump stays below it and contains it."""


class FakenectRecording(ImageFolderRecording):
    """One dump folder; depth must be in registered mode (millimetres on the color grid)."""

    container = "fakenect dump"
    writer = "libfreenect record"
    domain = ClockDomain.SYSTEM

    def __init__(self, path: Path, config: CaptureConfig) -> None:
        """List the dump.

        Raises:
            SourceError: when depth is raw disparity.
        """
        names = (path / "INDEX.txt").read_text("utf-8", "replace").split()
        super().__init__(path, config, [file for name in names if (file := _listed(path, name))])
        self.depth_unit_m = config.depth_unit_m or 0.001
        if self.color is not None:
            camera = default_camera(self.color.width, self.color.height)
            self._geometry = Calibration(camera, camera, depth_aligned=True)
        self._refuse_disparity()

    def decode(self, file: ImageFile, data: bytes) -> ColorImage | DepthImage:
        """A PGM or PPM; see the base class."""
        header = _HEADER.match(data)
        if header is None:
            raise ValueError(f"{file.path.name} is no binary PGM or PPM")
        width, height, largest = (int(one) for one in header.groups()[1:])
        if (header.group(1) == b"5") != (file.role == "depth") or (largest > 255) != (file.role == "depth"):
            raise ValueError(f"{file.path.name} is no {file.role} image")
        count = width * height * (1 if file.role == "depth" else 3)
        kind = "<u2" if file.role == "depth" else np.uint8
        pixels = np.frombuffer(data, kind, count, header.end())
        if file.role == "color":
            return pixels.reshape(height, width, 3)
        return np.require(pixels.reshape(height, width), np.uint16, ["A"])

    def _refuse_disparity(self) -> None:
        """Dumps made without registration hold 11-bit disparities, not distances."""
        if self.depth is None:
            return
        _, image = self.first_readable("depth")
        if image.max(initial=0) == _NO_READING:
            raise SourceError(
                f"{self.path}: depth is 11-bit disparity (no value above {_NO_READING}); record in registered mode"
            )


def _listed(folder: Path, name: str) -> ImageFile | None:
    """An image of the index; None for other entries such as accelerometer dumps."""
    match = _NAME.match(name)
    if match is None:
        return None
    ticks_ns = int(match.group(3)) * 1_000 // 60  # the sensor's clock runs at 60 MHz
    stamp_ns = ns_from_text(match.group(2), 10**9)
    return ImageFile("depth" if match.group(1) == "d" else "color", folder / name, -1, stamp_ns, ticks_ns)
