"""Folders `color/` and `depth/` with equally numbered images and a sidecar `recording.json` that says what they mean.

Sidecar, all lengths in metres and pixels: `{"depth_unit_m": 0.001, "fps": 30, "depth_aligned": true, "color": {...},
"depth": {...}, "depth_to_color": {"rotation": [9 row-major], "translation_m": [3]}, "stamps_ns": {"color": [...],
"depth": [...]}, "writer": "..."}`; cameras are `{width, height, fx, fy, ppx, ppy, distortion, coeffs}`. Either `fps` or
`stamps_ns` is needed; `depth` and `depth_to_color` only where depth is not aligned.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .config import CaptureConfig
from .frame import Calibration, Distortion, Extrinsics, Intrinsics
from .image_folder import ImageFile, ImageFolderRecording
from .pairing import Role
from .source import SourceError

SIDECAR = "recording.json"
COLOR_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")


class ImagePairsRecording(ImageFolderRecording):
    """One folder of image pairs."""

    container = "image-pair folder"
    writer = "unknown"

    def __init__(self, path: Path, config: CaptureConfig) -> None:
        """Read the sidecar and list the images.

        Raises:
            SourceError: when the sidecar is missing or lacks what cannot be guessed.
        """
        sidecar = _sidecar(path)
        files = [*_stamped(path, "color", sidecar), *_stamped(path, "depth", sidecar)]
        super().__init__(path, config, files, float(sidecar["fps"]) if "fps" in sidecar else None)
        self.writer = str(sidecar.get("writer", self.writer))
        unit = sidecar.get("depth_unit_m", config.depth_unit_m)
        if unit is None:
            raise SourceError(
                f"{path / SIDECAR}: lacks depth_unit_m; write it there or give it with --set capture.depth_unit_m=0.001"
            )
        self.depth_unit_m = float(unit)
        self._geometry = _geometry(path, sidecar)


def numbered(folder: Path, endings: tuple[str, ...]) -> list[tuple[int, Path]]:
    """Images whose name holds a number, in its order; the last number of the name counts."""
    found = []
    for file in folder.iterdir() if folder.is_dir() else ():
        number = re.search(r"(\d+)\D*$", file.stem)
        if number is not None and file.suffix.lower() in endings:
            found.append((int(number.group(1)), file))
    return sorted(found)


def _sidecar(path: Path) -> dict[str, Any]:
    """The sidecar's content."""
    try:
        content = json.loads((path / SIDECAR).read_text())
    except FileNotFoundError as error:
        raise SourceError(
            f"{path}: color and depth images without {SIDECAR}; it must say depth_unit_m, the cameras and fps"
        ) from error
    except ValueError as error:
        raise SourceError(f"{path / SIDECAR}: is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise SourceError(f"{path / SIDECAR}: holds no JSON object")
    return content


def _stamped(path: Path, role: Role, sidecar: dict[str, Any]) -> list[ImageFile]:
    """Images of one stream with their stamps, listed or by rate."""
    images = numbered(path / role, COLOR_ENDINGS if role == "color" else (".png",))
    stamps = sidecar.get("stamps_ns", {}).get(role)
    if stamps is not None and len(stamps) != len(images):
        raise SourceError(f"{path / SIDECAR}: {len(stamps)} stamps for {len(images)} {role} images")
    if stamps is None:
        if not sidecar.get("fps"):
            raise SourceError(f"{path / SIDECAR}: lacks both fps and stamps_ns; one of them is needed")
        stamps = [round(number * 1e9 / float(sidecar["fps"])) for number, _ in images]
    return [ImageFile(role, file, number, int(at)) for (number, file), at in zip(images, stamps, strict=True)]


def _geometry(path: Path, sidecar: dict[str, Any]) -> Calibration:
    """Calibration from the sidecar."""
    try:
        color = _camera(sidecar["color"])
        if sidecar.get("depth_aligned", False):
            return Calibration(color, color, depth_aligned=True)
        moved = sidecar["depth_to_color"]
        pose = Extrinsics.of(moved["rotation"], moved["translation_m"])
        return Calibration(color, _camera(sidecar["depth"]), pose)
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{path / SIDECAR}: no usable calibration ({error!r}); color is needed, and depth with depth_to_color "
            "unless depth_aligned is true"
        ) from error


def _camera(content: dict[str, Any]) -> Intrinsics:
    """One camera of the sidecar."""
    fx, fy, ppx, ppy = (float(content[key]) for key in ("fx", "fy", "ppx", "ppy"))
    model = Distortion(content.get("distortion", "none"))
    coeffs = tuple(float(one) for one in content.get("coeffs", (0.0,) * 5))
    return Intrinsics(int(content["width"]), int(content["height"]), fx, fy, ppx, ppy, model, coeffs)
