"""Azure Kinect and Femto recordings (.mkv), through PyAV as a demultiplexer; the pixels are decoded here.

Tracks are named by title, raw depth is big-endian gray, the calibration is an attachment. Lenses are rational: depth
stays as sensed and `align` undoes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .config import CaptureConfig
from .decode_ahead import DecodeAhead
from .encoding import color_image, decode_png, depth_image
from .frame import Calibration, ClockDomain, ColorImage, DepthImage, Distortion, Extrinsics, Intrinsics
from .matroska_blocks import MatroskaBlocks, missing_bytes
from .pairing import Role
from .recording import FrameStamp, RecordedStream, Recording, StreamFrame
from .source import SourceError
from .video import VideoRecording
from .video_container import open_container, pyav

_DEPTH_MODES = {
    "NFOV_2X2BINNED": (512, 96, 90),
    "NFOV_UNBINNED": (1024, 192, 180),
    "WFOV_2X2BINNED": (512, 0, 0),
    "WFOV_UNBINNED": (1024, 0, 0),
}
"""Side of the (binned) square sensor and where the mode's image begins on it."""
_TITLES: dict[str, Role | None] = {"COLOR": "color", "DEPTH": "depth", "IR": None}
_START_OFFSET = "K4A_START_OFFSET_NS"
_TIME_NS = re.compile(r"[0-9]{1,18}")
_Job = tuple[RecordedStream, int, bytes]


def open_mkv(path: Path, config: CaptureConfig) -> Recording:
    """Open a Matroska file by its tracks: an Azure Kinect's, else ordinary video.

    Raises:
        SourceError: when nothing in it can be read, or it is ordinary video and color alone was not asked for.
    """
    with open_container(path) as file:
        titles = {track.metadata.get("title", "") for track in file.streams}
    return KinectMkvRecording(path, config) if titles & _TITLES.keys() else VideoRecording(path, config)


class KinectMkvRecording(Recording):
    """One Azure Kinect file."""

    container = "Azure Kinect Matroska file"

    def __init__(self, path: Path, config: CaptureConfig) -> None:
        """Read tracks, tags and the calibration attachment.

        Raises:
            SourceError: when PyAV is missing or this is no Azure Kinect recording.
        """
        super().__init__(path, config)
        self._file = open_container(path)
        self._missing_bytes = missing_bytes(path)
        try:
            self._describe()
        except SourceError:
            self.close()
            raise
        self.depth_unit_m = 0.001

    @property
    def calibration(self) -> Calibration:
        """Both cameras, cut and scaled to the recorded modes."""
        color, depth = self.require_streams()
        content = self._attachment()
        try:
            cameras = {
                one["Location"].partition("Location")[2]: one for one in content["CalibrationInformation"]["Cameras"]
            }
            depth_camera, color_camera = cameras["D0"], cameras["PV0"]
            return Calibration(
                color_intrinsics(color_camera, color.width, color.height),
                _depth_intrinsics(depth_camera, self._mode("DEPTH", "K4A_DEPTH_MODE"), depth.width, depth.height),
                _pose(color_camera).after(_pose(depth_camera).inverse()),
            )
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise SourceError(
                f"{self.path}: calibration.json is not as an Azure Kinect writes it ({error!r})"
            ) from error

    def details(self) -> dict[str, str | int | float | bool]:
        """Modes of the two cameras."""
        return {
            "depth_mode": self._mode("DEPTH", "K4A_DEPTH_MODE"),
            "color_mode": self._mode("COLOR", "K4A_COLOR_MODE"),
        }

    def frames(self) -> Iterator[StreamFrame]:
        """Color and depth images in file order, decoded on two threads."""
        return self.frames_from(0)

    def frames_from(self, first: int) -> Iterator[StreamFrame]:
        """The same from the `first`-th image on."""
        given = 0
        for frame in DecodeAhead(self._decode).over(islice(self._packets(), first, None)):
            if isinstance(frame, StreamFrame):
                given += 1
                yield frame
            else:
                self.unreadable[frame] += 1
        if self.recovered:
            self._note_damage(f"recovered {given} frames before the damage")

    def stamps(self) -> Iterator[FrameStamp]:
        """Stamps from the heads of the blocks; images are neither read nor decoded."""
        chosen = {self._tracks[one.source].index: one for one in (self.color, self.depth) if one is not None}
        video = sum(track.type != "attachment" for track in self._file.streams)
        blocks = MatroskaBlocks(self.path)
        given = 0
        for place, time_ns in blocks.stamps():
            if len(blocks.tracks) != video:
                break
            if place in chosen:
                given += 1
                yield self._stamp(chosen[place], time_ns + self._offset_ns)
        if blocks.whole and len(blocks.tracks) == video:
            self._note_end()
            return
        self.warn("the file's blocks are damaged or packed unusually: all of it is read")
        for stream, stamp_ns, _ in islice(self._packets(), given, None):
            yield self._stamp(stream, stamp_ns)

    def color_camera(self) -> Intrinsics | None:
        """The color camera, cut and scaled to the recorded mode."""
        if self.color is None:
            return None
        try:
            cameras = self._attachment()["CalibrationInformation"]["Cameras"]
            (camera,) = [one for one in cameras if one["Location"].endswith("PV0")]
            return color_intrinsics(camera, self.color.width, self.color.height)
        except (SourceError, KeyError, ValueError, TypeError) as error:
            self.warn(f"the color camera's calibration is not readable ({error})")
            return None

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _describe(self) -> None:
        """Tracks and tags.

        Raises:
            SourceError: no Azure Kinect track, or not the one asked for.
        """
        self._tracks = {track.metadata.get("title", ""): track for track in self._file.streams}
        for title, track in list(self._tracks.items()):
            if track.type == "video" and track.codec_context is None:
                del self._tracks[title]
                self.warn(f"track {title!r} names a codec that does not exist; it is left out")
        self.writer = self._file.metadata.get("encoder", "unknown")
        self._offset_ns = self._start_offset_ns()
        self.streams = tuple(self._recorded(title) for title in _TITLES if title in self._tracks)
        if not self.streams:
            raise SourceError(f"{self.path}: a Matroska file without Azure Kinect tracks")
        self.choose_streams()

    def _start_offset_ns(self) -> int:
        """Device time at the file's zero; 0, said and counted as damage, where the tag is no time."""
        text = self._file.metadata.get(_START_OFFSET, "0")
        if _TIME_NS.fullmatch(text):
            return int(text)
        self._note_damage(f"damaged: {_START_OFFSET} is {text!r}; device time counts from the file's beginning instead")
        return 0

    def _stamp(self, stream: RecordedStream, t_device_ns: int) -> FrameStamp:
        """A stamp of one of the chosen streams."""
        return FrameStamp(stream.name, self._role(stream), -1, t_device_ns, ClockDomain.HARDWARE)

    def _role(self, stream: RecordedStream) -> Role:
        """What a chosen stream is used as."""
        return "depth" if stream is self.depth else "color"

    def _packets(self) -> Iterator[_Job]:
        """(stream, device time in ns, payload) in file order, up to the end or the damage."""
        chosen = {self._tracks[one.source].index: one for one in (self.color, self.depth) if one is not None}
        av = pyav(self.path)
        try:
            # opened anew: a seek to 0 goes to the first color image and leaves out the depth before it
            with open_container(self.path) as file:
                for packet in file.demux([file.streams[index] for index in chosen]):
                    if packet.pts is None or packet.is_corrupt:
                        continue
                    stamp_us = round(packet.pts * packet.time_base * 1_000_000)
                    yield chosen[packet.stream.index], stamp_us * 1000 + self._offset_ns, bytes(packet)
        except av.error.FFmpegError as error:
            self._note_damage(f"truncated or damaged: {error}")
            return
        self._note_end()

    def _note_end(self) -> None:
        """Say what the file's length says of its end."""
        if self._missing_bytes > 0:
            self._note_damage(f"truncated: {self._missing_bytes} bytes are missing at the end")
        elif self._missing_bytes < 0:
            self._note_damage("unindexed: the recorder was stopped before it closed the file")

    def _note_damage(self, text: str) -> None:
        """Say it once."""
        self.recovered = True
        self.warn(text)

    def _decode(self, job: _Job) -> StreamFrame | Role:
        """The packet as a frame, or the role of one that does not decode."""
        stream, stamp_ns, data = job
        role = self._role(stream)
        try:
            image = self.pixels(stream, data)
        except (ValueError, cv2.error):
            return role
        image.flags.writeable = False
        lossy = data if stream.encoding == "mjpg" else None
        return StreamFrame(stream.name, role, image, -1, stamp_ns, ClockDomain.HARDWARE, stamp_ns, encoded=lossy)

    @staticmethod
    def pixels(stream: RecordedStream, data: bytes) -> ColorImage | DepthImage:
        """One image of a track, by its encoding.

        Raises:
            ValueError: when it does not decode.
        """
        width, height = stream.width, stream.height
        if stream.encoding == "b16g":
            return depth_image(data, "mono16", width, height, 0, big=True)
        if stream.encoding == "mjpg":
            return decode_png(data, "color")
        if stream.encoding == "nv12":
            planes = np.frombuffer(data, np.uint8, width * height * 3 // 2).reshape(height * 3 // 2, width)
            return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_NV12), np.uint8)
        return color_image(data, stream.encoding, width, height, 0)

    def _mode(self, title: str, tag: str) -> str:
        """A mode tag of a track."""
        track = self._tracks.get(title)
        return str(track.metadata.get(tag, "unknown")) if track is not None else "unknown"

    def _recorded(self, title: str) -> RecordedStream:
        """A track as the contract wants it."""
        track = self._tracks[title]
        mode = self._mode(title, "K4A_COLOR_MODE").partition("_")[0].lower()
        encoding = {"bgra": "bgra8", "yuy2": "yuyv"}.get(mode, mode) if title == "COLOR" else "b16g"
        name = {"IR": "infrared"}.get(title, title.lower())
        fps = float(track.average_rate) if track.average_rate else None
        return RecordedStream(name, title, _TITLES[title], encoding, track.width, track.height, None, fps)

    def _attachment(self) -> Any:
        """Content of calibration.json."""
        for track in self._file.streams:
            if track.type == "attachment" and track.name == "calibration.json":
                try:
                    return json.loads(bytes(track.data).decode("utf-8-sig").rstrip("\0"))
                except ValueError as error:
                    raise SourceError(f"{self.path}: calibration.json does not parse ({error})") from error
        raise SourceError(f"{self.path}: no calibration.json attached; depth and color cannot be brought together")


def _parameters(camera: dict[str, Any]) -> tuple[tuple[float, float, float, float], tuple[float, ...]]:
    """(cx, cy, fx, fy), normalised, and the coefficients in OpenCV's order."""
    cx, cy, fx, fy, k1, k2, k3, k4, k5, k6, _, _, p2, p1 = (
        float(one) for one in camera["Intrinsics"]["ModelParameters"]
    )
    return (cx, cy, fx, fy), (k1, k2, p1, p2, k3, k4, k5, k6)


def _depth_intrinsics(camera: dict[str, Any], mode: str, width: int, height: int) -> Intrinsics:
    """The depth camera cut to its mode; normalised centres count from the corner of the first pixel."""
    side, left, top = _DEPTH_MODES[mode]
    (cx, cy, fx, fy), coeffs = _parameters(camera)
    centre = (cx * side - left - 0.5, cy * side - top - 0.5)
    return Intrinsics(width, height, fx * side, fy * side, *centre, Distortion.RATIONAL, coeffs)


def color_intrinsics(camera: dict[str, Any], width: int, height: int) -> Intrinsics:
    """The 4:3 color sensor scaled to the image's width and, for 16:9 modes, cut at top and bottom."""
    (cx, cy, fx, fy), coeffs = _parameters(camera)
    full = width * 3 / 4
    centre = (cx * width - 0.5, cy * full - (full - height) / 2 - 0.5)
    return Intrinsics(width, height, fx * width, fy * full, *centre, Distortion.RATIONAL, coeffs)


def _pose(camera: dict[str, Any]) -> Extrinsics:
    """What maps points of the device's origin into a camera."""
    return Extrinsics.of(camera["Rt"]["Rotation"], camera["Rt"]["Translation"])
