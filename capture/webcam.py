"""A webcam through OpenCV: color alone, taken only where that was asked for. Stamps are those of arrival."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from . import color_only
from .camera_list import CameraListing
from .clock import SessionClock
from .config import CaptureConfig
from .frame import Calibration, ClockDomain, RGBDFrame
from .source import AbsentError, FrameSource, SourceError, SourceInfo

DEVICES = Path("/sys/class/video4linux")
"""Where Linux lists what gives video."""
_FAILED_READS = 5
"""Reads without an image, one after another, that make a camera count as lost."""
_USUAL_FPS = 30.0


def list_cameras() -> list[CameraListing]:
    """Cameras as the system lists them; none is opened, for that would light its lamp.

    Raises:
        SourceError: the system lists none without opening them.
    """
    if sys.platform != "linux":
        raise SourceError("webcam: only Linux lists them; try --camera webcam --color-only, then webcam:1 and so on")
    nodes = [node for node in DEVICES.glob("video*") if node.name[5:].isdigit()]
    return [
        CameraListing(
            kind="webcam",
            serial=node.name[5:],
            name=_line(node / "name"),
            firmware="",
            connection={"480": "2.0", "5000": "3.0", "10000": "3.1"}.get(_line(_usb(node) / "speed"), ""),
            modes=(),
        )
        for node in sorted(nodes, key=lambda node: int(node.name[5:]))
        if _line(node / "index") in ("0", "")  # further nodes of a camera give no images
    ]


class WebcamSource(FrameSource):
    """Camera number N of the system: `webcam` or `webcam:N`."""

    def __init__(self, config: CaptureConfig) -> None:
        """Open the camera at the configured size and rate, as far as it follows.

        Raises:
            SourceError: when color alone was not asked for or the number is none.
            AbsentError: when there is no such camera or it gives no image.
        """
        self._number = _camera_number(config.camera)
        if not config.color_only:
            raise SourceError(f"{config.camera}: a webcam has no depth; {color_only.HOW_TO}")
        self._camera = self.open_device(self._number)
        if config.color_size is not None:
            self._camera.set(cv2.CAP_PROP_FRAME_WIDTH, config.color_size[0])
            self._camera.set(cv2.CAP_PROP_FRAME_HEIGHT, config.color_size[1])
        self._fps = config.fps or _USUAL_FPS
        self._camera.set(cv2.CAP_PROP_FPS, self._fps)
        self._clock = SessionClock.start()
        self._unread = 0
        found, image = self._camera.read()
        if not found or image is None or image.ndim != 3:
            self._camera.release()
            raise AbsentError(f"webcam {self._number} gives no image; is another program using it?")
        height, width = image.shape[:2]
        camera = color_only.nominal_camera(width, height)
        self._calibration = Calibration(camera, camera, depth_aligned=True)
        self._warmup_frames = config.warmup_frames

    @staticmethod
    def open_device(number: int) -> Any:
        """The system's camera of a number.

        Raises:
            AbsentError: when there is none.
        """
        log: Any = getattr(cv2.utils, "logging", cv2)  # OpenCV 4 has it at the top
        level = log.getLogLevel()
        log.setLogLevel(0)  # silent: what it would print is said in one sentence here
        try:
            camera = cv2.VideoCapture(number)
        finally:
            log.setLogLevel(level)
        if not camera.isOpened():
            camera.release()
            raise AbsentError(f"webcam {number} cannot be opened; `sfam cameras` lists those there are")
        return camera

    @property
    def info(self) -> SourceInfo:
        """What was opened."""
        said = self._camera.get(cv2.CAP_PROP_FPS)
        return SourceInfo(
            camera=f"webcam_{self._number}",
            kind="device",
            live=True,
            fps=float(said) if 0 < said < 1000 else float(self._fps),
            calibration=self._calibration,
            warnings=(color_only.WITHOUT_DEPTH, color_only.NOMINAL, "stamps are those of arrival, not of exposure"),
            stamped=True,
            details={"driver": self._camera.getBackendName()},
        )

    @property
    def drops(self) -> Mapping[str, int]:
        """Reads that gave no image."""
        return {"unreadable_color": self._unread} if self._unread else {}

    def frames(self) -> Iterator[RGBDFrame]:
        """Images as they come, after the warm-up."""
        camera = self._calibration.color
        empty = color_only.empty_depth(camera.height, camera.width)
        for _ in range(self._warmup_frames):
            self._read()
        sequence = 0
        while True:
            image, missed = self._read()
            now_ns = SessionClock.now_ns()
            utc_ns = self._clock.utc_ns(now_ns)
            if image.shape[:2] != empty.shape:
                raise SourceError(
                    f"webcam {self._number} changed its image to {image.shape[1]}x{image.shape[0]} while running"
                )
            yield RGBDFrame(
                sequence=sequence,
                color=np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8),
                depth=empty,
                calibration=self._calibration,
                depth_scale_m=0.001,
                t_capture_ns=now_ns,
                t_device_ns=utc_ns,
                clock_domain=ClockDomain.SYSTEM,
                t_host_ns=now_ns,
                t_utc_ns=utc_ns,
                t_depth_device_ns=utc_ns,
                dropped_before=missed,
                depth_missing=True,
            )
            sequence += 1

    def close(self) -> None:
        """Release the camera."""
        self._camera.release()

    def _read(self) -> tuple[Any, int]:
        """The next image, BGR, and the reads that failed before it."""
        for missed in range(_FAILED_READS):
            found, image = self._camera.read()
            if found and image is not None:
                return image, missed
            self._unread += 1
        raise AbsentError(f"webcam {self._number} gives no more images; was it unplugged?")


def _camera_number(name: str) -> int:
    """N of `webcam:N`, 0 of `webcam`."""
    number = name.partition(":")[2] or "0"
    if not number.isdigit():
        raise SourceError(f"{name}: a webcam is named webcam or webcam:N, N counting from 0")
    return int(number)


def _usb(node: Path) -> Path:
    """The USB device behind a video node."""
    return (node / "device").resolve().parent


def _line(path: Path) -> str:
    """Content of a small system file, '' where there is none."""
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
