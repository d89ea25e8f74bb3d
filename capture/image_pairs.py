"""Folders `color/` and `depth/` with equally numbered images and a sidecar `recording.json` that says what they mean.

Sidecar, all lengths in metres and pixels: `{"depth_unit_m": 0.001, "fps": 30, "depth_aligned": true, "color": {...},
"depth": {...}, "depth_to_color": {"rotation": [9 row-major], "translation_m": [3]}, "stamps_ns": {"color": [...],
"depth": [...]}, "writer": "..."}`; cameras are `{width, height, fx, fy, ppx, ppy, distortion, coeffs}`. Either `fps` or
`stamps_ns` is needed; `depth` and `depth_to_color` only where depth is not aligned.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .config import CaptureConfig
from .frame import Calibration, Distortion, Extrinsics, Intrinsics
from .image_folder import ImageFile, ImageFolderRecording
from .pairing import Role
from .recording import MOST_FPS
from .source import SourceError

SIDECAR = "recording.json"
COLOR_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Side = Annotated[int, Field(gt=0, lt=2**16)]


class _Camera(BaseModel):
    """One camera of the sidecar, px."""

    model_config = ConfigDict(frozen=True)

    width: _Side
    height: _Side
    fx: _Finite
    fy: _Finite
    ppx: _Finite
    ppy: _Finite
    distortion: Distortion = Distortion.NONE
    coeffs: tuple[_Finite, ...] = (0.0,) * 5

    def intrinsics(self) -> Intrinsics:
        """The camera as the rest of the program knows it."""
        return Intrinsics(self.width, self.height, self.fx, self.fy, self.ppx, self.ppy, self.distortion, self.coeffs)


class _Pose(BaseModel):
    """From the depth camera to the color camera."""

    model_config = ConfigDict(frozen=True)

    rotation: tuple[_Finite, ...] = Field(min_length=9, max_length=9)
    translation_m: tuple[_Finite, _Finite, _Finite]


class _Sidecar(BaseModel):
    """What the sidecar may say; what it says beside that is left to others."""

    model_config = ConfigDict(frozen=True)

    depth_unit_m: float | None = Field(None, gt=0, le=1)
    fps: float | None = Field(None, ge=0.001, le=MOST_FPS)
    stamps_ns: dict[str, list[Annotated[int, Field(gt=-(2**63), lt=2**63)]]] = {}
    depth_aligned: bool = False
    color: _Camera | None = None
    depth: _Camera | None = None
    depth_to_color: _Pose | None = None
    writer: str = "unknown"


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
        super().__init__(path, config, files, sidecar.fps)
        self.writer = sidecar.writer
        self.depth_unit_m = sidecar.depth_unit_m or config.depth_unit_m
        if self.depth_unit_m is None:
            raise SourceError(
                f"{path / SIDECAR}: lacks depth_unit_m; write it there or give it with --set capture.depth_unit_m=0.001"
            )
        self._geometry = _geometry(path, sidecar)


def numbered(folder: Path, endings: tuple[str, ...]) -> list[tuple[int, Path]]:
    """Images whose name holds a number, in its order; the last number of the name counts."""
    found = []
    for file in folder.iterdir() if folder.is_dir() else ():
        number = re.search(r"(\d+)\D*$", file.stem)
        if number is not None and file.suffix.lower() in endings:
            found.append((int(number.group(1)), file))
    return sorted(found)


def _sidecar(path: Path) -> _Sidecar:
    """The sidecar's content."""
    try:
        return _Sidecar.model_validate_json((path / SIDECAR).read_bytes())
    except FileNotFoundError as error:
        raise SourceError(
            f"{path}: color and depth images without {SIDECAR}; it must say depth_unit_m, the cameras and fps"
        ) from error
    except OSError as error:
        raise SourceError(f"{path / SIDECAR}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SourceError(f"{path / SIDECAR}: {where or 'as a whole'}: {first['msg']}".replace("\n", " ")) from error


def _stamped(path: Path, role: Role, sidecar: _Sidecar) -> list[ImageFile]:
    """Images of one stream with their stamps, listed or by rate."""
    images = numbered(path / role, COLOR_ENDINGS if role == "color" else (".png",))
    stamps = sidecar.stamps_ns.get(role)
    if stamps is not None and len(stamps) != len(images):
        raise SourceError(f"{path / SIDECAR}: {len(stamps)} stamps for {len(images)} {role} images")
    if stamps is None:
        if sidecar.fps is None:
            raise SourceError(f"{path / SIDECAR}: lacks both fps and stamps_ns; one of them is needed")
        stamps = [round(number * 1e9 / sidecar.fps) for number, _ in images]
    return [ImageFile(role, file, number, at) for (number, file), at in zip(images, stamps, strict=True)]


def _geometry(path: Path, sidecar: _Sidecar) -> Calibration:
    """Calibration from the sidecar."""
    if sidecar.color is not None and sidecar.depth_aligned:
        color = sidecar.color.intrinsics()
        return Calibration(color, color, depth_aligned=True)
    if sidecar.color is None or sidecar.depth is None or sidecar.depth_to_color is None:
        raise SourceError(
            f"{path / SIDECAR}: no usable calibration; color is needed, and depth with depth_to_color unless "
            "depth_aligned is true"
        )
    pose = sidecar.depth_to_color
    return Calibration(
        sidecar.color.intrinsics(), sidecar.depth.intrinsics(), Extrinsics.of(pose.rotation, pose.translation_m)
    )
