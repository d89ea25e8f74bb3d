"""The nouns of capture: calibration, clock domain and the `RGBDFrame` everything downstream eats."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

ColorImage = NDArray[np.uint8]
DepthImage = NDArray[np.uint16]


class ClockDomain(StrEnum):
    """Which clock a device stamp was read from."""

    HARDWARE = "hardware"
    GLOBAL = "global"
    SYSTEM = "system"
    FILE = "file"
    UNKNOWN = "unknown"


class Distortion(StrEnum):
    """Lens model, in the field's names; coefficients are always in OpenCV's order."""

    NONE = "none"
    BROWN_CONRADY = "brown_conrady"
    INVERSE_BROWN_CONRADY = "inverse_brown_conrady"
    MODIFIED_BROWN_CONRADY = "modified_brown_conrady"
    RATIONAL = "rational"


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """Pinhole camera of one stream, in pixels; (0, 0) is the centre of the top left pixel.

    `coeffs` is k1, k2, p1, p2, k3 (and k4, k5, k6 for `Distortion.RATIONAL`).
    """

    width: int
    height: int
    fx: float
    fy: float
    ppx: float
    ppy: float
    distortion: Distortion = Distortion.NONE
    coeffs: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Extrinsics:
    """Rigid transform P_to = R P_from + t; `rotation` is row-major, 9 values; `translation_m` in metres."""

    rotation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    translation_m: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def of(cls, rotation: ArrayLike, translation_m: ArrayLike) -> Extrinsics:
        """From a rotation of nine values, row by row in whatever shape, and a translation of three.

        Raises:
            ValueError: when they are not so many numbers.
        """
        turned = np.asarray(rotation, np.float64).ravel().tolist()
        moved = np.asarray(translation_m, np.float64).ravel().tolist()
        if len(turned) != 9 or len(moved) != 3:
            raise ValueError(f"a pose has {len(turned)} and {len(moved)} values, expected 9 and 3")
        return cls(tuple(turned), (moved[0], moved[1], moved[2]))

    def matrix(self) -> NDArray[np.float64]:
        """Rotation as a (3, 3) float64 array."""
        return np.array(self.rotation, dtype=np.float64).reshape(3, 3)

    def inverse(self) -> Extrinsics:
        """The transform the other way round."""
        turned = self.matrix().T
        return Extrinsics.of(turned, -turned @ np.array(self.translation_m))

    def after(self, first: Extrinsics) -> Extrinsics:
        """One transform for two: `first`, then this one."""
        turned = self.matrix() @ first.matrix()
        moved = self.matrix() @ np.array(first.translation_m) + np.array(self.translation_m)
        return Extrinsics.of(turned, moved)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Everything geometric that color and depth of one camera need to be read together."""

    color: Intrinsics
    depth: Intrinsics
    depth_to_color: Extrinsics = field(default_factory=Extrinsics)
    depth_aligned: bool = False
    """True when depth already lies on the color image's pixel grid."""


@dataclass(frozen=True, slots=True, eq=False)
class RGBDFrame:
    """One color-depth pair. Color and depth never travel apart."""

    sequence: int
    """Number of the used pair in this session, from 0; numbers of dropped frames are missing here."""
    color: ColorImage
    """(H, W, 3) uint8, RGB."""
    depth: DepthImage
    """(Hd, Wd) uint16 as sensed, 0 = no data; times `depth_scale_m` gives metres."""
    calibration: Calibration
    depth_scale_m: float
    t_capture_ns: int
    """Session time: host monotonic at arrival (live), the color stamp in file time (replay)."""
    t_device_ns: int
    """Color stamp as the device gave it, in `clock_domain`."""
    clock_domain: ClockDomain
    t_host_ns: int
    """Host monotonic clock at arrival; latencies are measured from it and it never reaches a table."""
    t_utc_ns: int
    """UTC in ns since 1970 at capture, 0 when unknown."""
    t_depth_device_ns: int = 0
    """Depth stamp as the device gave it."""
    t_sensor_ns: int | None = None
    """Hardware sensor stamp (mid-exposure) of the color frame, where the device gives one."""
    t_global_ns: int | None = None
    """Device clock fitted to the host clock by the SDK; kept beside the hardware stamp, never instead of it."""
    color_number: int = -1
    """Frame counter of the color sensor, -1 = none."""
    depth_number: int = -1
    """Frame counter of the depth sensor, -1 = none."""
    segment: int = 0
    """Grows by one whenever the device's clock jumps back or changes its domain; no window crosses it."""
    dropped_before: int = 0
    """Frames the device or reader lost directly before this one."""
    depth_missing: bool = False
    """True for color-only input: depth is all zero and every w is flagged."""

    @classmethod
    def from_arrays(
        cls,
        color: ColorImage,
        depth: DepthImage,
        intrinsics: Intrinsics,
        t_ns: int,
        *,
        sequence: int = 0,
        depth_scale_m: float = 0.001,
    ) -> RGBDFrame:
        """A frame from a program's own arrays; `depth` must already be aligned to `color`.

        Args:
            color: (H, W, 3) uint8 RGB.
            depth: (H, W) uint16, 0 = no data.
            intrinsics: of the color camera.
            t_ns: capture time in ns on any steady clock.
            sequence: number of the frame, growing by one per frame.
            depth_scale_m: metres per depth unit.

        Raises:
            ValueError: when shapes, types or the calibration do not fit together.
        """
        shape = (intrinsics.height, intrinsics.width)
        if color.dtype != np.uint8 or color.shape != (*shape, 3):
            raise ValueError(
                f"color must be uint8 {(*shape, 3)} as the intrinsics say, got {color.dtype} {color.shape}"
            )
        if depth.dtype != np.uint16 or depth.shape != shape:
            raise ValueError(
                f"depth must be uint16 {shape}, aligned to color, got {depth.dtype} {depth.shape}; "
                "build RGBDFrame with a Calibration for depth as sensed"
            )
        return cls(
            sequence=sequence,
            color=color,
            depth=depth,
            calibration=Calibration(color=intrinsics, depth=intrinsics, depth_aligned=True),
            depth_scale_m=depth_scale_m,
            t_capture_ns=t_ns,
            t_device_ns=t_ns,
            clock_domain=ClockDomain.UNKNOWN,
            t_host_ns=t_ns,
            t_utc_ns=0,
            t_depth_device_ns=t_ns,
        )
