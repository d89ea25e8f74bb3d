"""What all recordings share that are folders of single color and depth images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .config import CaptureConfig
from .decode_ahead import DecodeAhead
from .encoding import decode_png
from .frame import Calibration, ClockDomain, ColorImage, DepthImage
from .pairing import Role
from .recording import FrameStamp, RecordedStream, Recording, StreamFrame
from .source import SourceError

_TRIED = 10
"""Unreadable images at the start that do not end the attempt."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of a folder."""

    role: Role
    path: Path
    number: int
    t_device_ns: int
    t_sensor_ns: int | None = None


class ImageFolderRecording(Recording):
    """A folder of image files; a form of folder lists its files and says its geometry."""

    domain = ClockDomain.FILE

    def __init__(self, path: Path, config: CaptureConfig, files: list[ImageFile], fps: float | None = None) -> None:
        """Take the listed files in order of time, depth first where stamps are equal.

        Raises:
            SourceError: when the first image of a stream does not decode.
        """
        super().__init__(path, config)
        self._files = sorted(files, key=lambda one: (one.t_device_ns, one.role == "color"))
        self.streams = tuple(
            stream
            for role in ("depth", "color")
            if (stream := self._stream("depth" if role == "depth" else "color", fps))
        )
        self.choose_streams()
        self._geometry: Calibration | None = None

    @property
    def calibration(self) -> Calibration:
        """Geometry as the folder's form defines it."""
        if self._geometry is None:
            raise SourceError(f"{self.path}: no calibration in this {self.container}")
        return self._geometry

    def frames(self) -> Iterator[StreamFrame]:
        """Images in order of time, decoded on two threads."""
        return self.frames_from(0)

    def frames_from(self, first: int) -> Iterator[StreamFrame]:
        """The same from the `first`-th image on."""
        for frame in DecodeAhead(self._frame).over(iter(self._files[first:])):
            if isinstance(frame, StreamFrame):
                yield frame
            else:
                self.unreadable[frame] += 1

    def stamps(self) -> Iterator[FrameStamp]:
        """Stamps from names and lists; no image is opened."""
        for one in self._files:
            yield FrameStamp(one.role, one.role, one.number, one.t_device_ns, self.domain)

    def close(self) -> None:
        """Nothing is held open."""

    def decode(self, file: ImageFile, data: bytes) -> ColorImage | DepthImage:
        """The image that a file's bytes hold.

        Raises:
            ValueError: when they do not decode.
        """
        return decode_png(data, file.role)

    def _frame(self, file: ImageFile) -> StreamFrame | Role:
        """The image as a frame, or the role of one that is missing or does not decode."""
        try:
            data = file.path.read_bytes()
            image = self.decode(file, data)
        except (OSError, ValueError):
            return file.role
        image.flags.writeable = False
        return StreamFrame(
            stream=file.role,
            role=file.role,
            image=image,
            number=file.number,
            t_device_ns=file.t_device_ns,
            clock_domain=self.domain,
            t_sensor_ns=file.t_sensor_ns,
            encoded=data if file.path.suffix.lower() in (".jpg", ".jpeg") else None,
        )

    def first_readable(self, role: Role) -> tuple[ImageFile, ColorImage | DepthImage]:
        """The first image of a stream that decodes, and its file.

        Raises:
            SourceError: when none of the first ten does.
        """
        files = [one for one in self._files if one.role == role]
        for file in files[:_TRIED]:
            try:
                return file, self.decode(file, file.path.read_bytes())
            except (OSError, ValueError):
                continue
        wanted = "16-bit images with one channel" if role == "depth" else "color images"
        raise SourceError(
            f"{self.path}: nothing readable among its {len(files)} {role} files such as {files[0].path.name!r}; "
            f"{wanted} were expected"
        )

    def _stream(self, role: Role, fps: float | None) -> RecordedStream | None:
        """A stream with the size of its first readable image; None where there is no file."""
        count = sum(one.role == role for one in self._files)
        if not count:
            return None
        file, image = self.first_readable(role)
        height, width = image.shape[:2]
        kind = {".jpg": "jpeg", ".jpeg": "jpeg"}.get(file.path.suffix.lower(), "mono16" if role == "depth" else "rgb8")
        return RecordedStream(role, str(file.path.parent), role, kind, width, height, count, fps)
