"""Options of a RealSense camera: set, read back, frozen; the SDK's module comes as an argument."""

from __future__ import annotations

from typing import Any

from .realsense_frames import metadata
from .realsense_names import short_float
from .realsense_presets import Options, Preset

DEPTH_UNIT_M = 0.0001
"""0.1 mm, the finest that still reaches 6.5 m; the camera's default of 1 mm is coarser than a micro-expression."""
Details = dict[str, str | int | float | bool]


class Controls:
    """Sets options of one device and keeps what it read back, for session.json.

    An option that the camera lacks is passed over; one that it has but does not take is a warning.
    """

    def __init__(self, rs: Any, color: Any, depth: Any, details: Details, warnings: list[str]) -> None:
        """Adds what it finds to `details` and `warnings`."""
        self._rs = rs
        self._sensors = {"depth": depth, "color": color}
        self.details = details
        self.warnings = warnings

    def prepare(self, preset: Preset) -> float:
        """Depth unit, then the preset unless it is 'none'; returns metres per depth unit as read back."""
        self.details["preset"] = preset.name
        if preset.min_z_m is not None:
            self.details["min_z_m"] = preset.min_z_m
        depth = self._sensors["depth"]
        self._set("depth", "depth_units", DEPTH_UNIT_M)
        if preset.name != "none":
            for name in self._sensors:
                options: Options = getattr(preset, name)
                for option, value in options.items():
                    self._set(name, option, value)
            # Also where a preset is of the user's own choice: with priority on, a dim room halves the frame rate.
            self._set("color", "auto_exposure_priority", 0)
        unit = self._rs.option.depth_units
        return short_float(depth.get_option(unit)) if depth.supports(unit) else 0.001

    def freeze(self, last_frames: dict[str, Any]) -> None:
        """Fix exposure, gain and white balance at what the last frames were taken with.

        Args:
            last_frames: newest SDK frame by role, for the values that auto exposure arrived at.
        """
        for name, sensor in self._sensors.items():
            if sensor is self._sensors["depth"] and name == "color":
                continue  # one sensor gives both streams
            frame = last_frames.get(name)
            # A color sensor of its own counts exposure in steps of 100 us, a stereo sensor in us.
            exposure_us = None if frame is None else metadata(self._rs, frame, "actual_exposure")
            divisor = 100 if name == "color" else 1
            exposure = None if exposure_us is None else exposure_us / divisor
            gain = None if frame is None else metadata(self._rs, frame, "gain_level")
            balance = None if frame is None else metadata(self._rs, frame, "white_balance")
            self._hold(name, "enable_auto_exposure", {"exposure": exposure, "gain": gain})
            self._hold(name, "enable_auto_white_balance", {"white_balance": balance})
        self.details["frozen"] = True

    def _hold(self, name: str, automatic: str, values: dict[str, float | None]) -> None:
        """Turn an automatic off and set what it had arrived at: from metadata, else as the option reads now."""
        sensor = self._sensors[name]
        if not sensor.supports(getattr(self._rs.option, automatic)):
            return
        now = {option: value if value is not None else self._get(name, option) for option, value in values.items()}
        self._set(name, automatic, 0)
        for option, value in now.items():
            if value is not None:
                self._set(name, option, value)

    def _get(self, name: str, option: str) -> float | None:
        sensor, key = self._sensors[name], getattr(self._rs.option, option)
        return float(sensor.get_option(key)) if sensor.supports(key) else None

    def _set(self, name: str, option: str, value: float | str) -> None:
        """Set within the option's range and note what it reads afterwards."""
        sensor, key = self._sensors[name], getattr(self._rs.option, option)
        if not sensor.supports(key):
            return
        number = float(self._rs.rs400_visual_preset.__members__[value].value) if isinstance(value, str) else value
        try:
            limits = sensor.get_option_range(key)
            asked = min(max(number, limits.min), limits.max)
            if not sensor.is_option_read_only(key):
                sensor.set_option(key, asked)
        except RuntimeError as error:
            self.warnings.append(f"{name} option {option}={value} was refused: {error}")
        try:
            read = short_float(sensor.get_option(key))
        except RuntimeError as error:
            self.warnings.append(f"{name} option {option} cannot be read: {error}")
            return
        self.details[f"{name}.{option}"] = read
        if abs(read - number) > max(1e-3 * abs(number), 1e-7):
            self.warnings.append(f"{name} option {option} reads {read:g} after setting {number:g}")
