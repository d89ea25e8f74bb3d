"""TUM RGB-D folders: rgb.txt and depth.txt list stamps and files, depth is aligned to color, 5000 per metre."""

from __future__ import annotations

from pathlib import Path

from .config import CaptureConfig
from .file_time import ns_from_text
from .frame import Calibration, ClockDomain, Intrinsics
from .image_folder import ImageFile, ImageFolderRecording
from .pairing import Role
from .source import SourceError

DEPTH_UNIT_M = 1 / 5000
_FOCAL_PX = 525.0
"""The benchmark's recommended camera, for images 640 px wide; recordings do not carry their own."""


class TumRecording(ImageFolderRecording):
    """One TUM folder."""

    container = "TUM RGB-D folder"
    writer = "unknown"
    domain = ClockDomain.SYSTEM

    def __init__(self, path: Path, config: CaptureConfig) -> None:
        """List the images.

        Raises:
            SourceError: when a list holds a line that is no stamp and file.
        """
        super().__init__(path, config, [*_listed(path, "rgb.txt", "color"), *_listed(path, "depth.txt", "depth")])
        self.depth_unit_m = config.depth_unit_m or DEPTH_UNIT_M
        if self.color is not None:
            camera = default_camera(self.color.width, self.color.height)
            self._geometry = Calibration(camera, camera, depth_aligned=True)


def default_camera(width: int, height: int) -> Intrinsics:
    """The usual camera of structured-light sensors, 525 px at 640 x 480, scaled to the image."""
    scale = width / 640
    return Intrinsics(width, height, _FOCAL_PX * scale, _FOCAL_PX * scale, (width - 1) / 2, (height - 1) / 2)


def _listed(folder: Path, name: str, role: Role) -> list[ImageFile]:
    """Files of one list: `stamp path` per line, # for comments."""
    files = []
    for place, line in enumerate((folder / name).read_text("utf-8", "replace").splitlines(), 1):
        text = line.partition("#")[0].split()
        if not text:
            continue
        try:
            files.append(ImageFile(role, folder / text[1], -1, ns_from_text(text[0], 10**9)))
        except (ValueError, IndexError) as error:
            raise SourceError(
                f"{folder / name}: line {place} is {line!r}, expected a stamp in seconds and a file"
            ) from error
    return files
