"""The authors' two processed files, read without letting them run anything.

`processed_data/CASME_cube_spot_rgbd-flow.pkl`: [maps per video (T, 42, 42, 3), subject names, video names per subject];
`processed_data/CASME_cube_recog_rgbd-flow.pkl`: [maps (K, 42, 42, 3), subjects, videos, emotions].
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from .casme3_annotation import Annotation, read_annotation
from .clip_windows import FRAME_SKIP, ClipWindows, Maps, no_maps
from .dataset import DataSetError, subject_key

SPOTTING_FILE = "CASME_cube_spot_rgbd-flow.pkl"
RECOGNITION_FILE = "CASME_cube_recog_rgbd-flow.pkl"
FOLDER = "processed_data"
ADMITTED = {
    (module, name)
    for package in ("numpy.core", "numpy._core")
    for module, name in (
        (f"{package}.multiarray", "_reconstruct"),
        (f"{package}.multiarray", "scalar"),
        (f"{package}.numeric", "_frombuffer"),
    )
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
ADMITTED_BUILTINS = {
    "bytearray",
    "bytes",
    "complex",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "set",
    "str",
    "tuple",
}


class RestrictedUnpickler(pickle.Unpickler):
    """Admits numpy arrays and plain builtin containers; a file that names anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """The named object, if it is admitted.

        Raises:
            DataSetError: it is not.
        """
        if module in ("builtins", "__builtin__") and name in ADMITTED_BUILTINS:
            return super().find_class("builtins", name)
        if (module, name) in ADMITTED or (module == "numpy.dtypes" and name.endswith("DType")):
            return super().find_class(_present(module), name)
        raise DataSetError(f"refused: the file wants {module}.{name}; only numpy arrays and builtin values are read")


def _present(module: str) -> str:
    """numpy 1 keeps in numpy.core what numpy 2 keeps in numpy._core; files of either are read by both."""
    if module.startswith(("numpy.core", "numpy._core")):
        kind = "numpy._core" if hasattr(np, "_core") else "numpy.core"
        return f"{kind}.{module.rsplit('.', 1)[1]}"
    return module


def read_pickle(path: Path) -> Any:
    """Values of a pickle file; nothing in it is ever called except the making of arrays.

    Raises:
        DataSetError: missing, damaged, or it wants anything but arrays and builtin values.
    """
    try:
        with path.open("rb") as file:
            return _load(file)
    except DataSetError as error:
        raise DataSetError(f"{path}: {error}") from error
    except FileNotFoundError:
        raise DataSetError(
            f"{path} is missing: the authors of SFAMNet have hidden the download of their processed data; "
            "ask them for it, or make windows from your own copy of CAS(ME)^3 with `sfam features`"
        ) from None
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        raise DataSetError(f"{path}: is no readable pickle ({type(error).__name__}: {error})") from error


def _load(file: IO[bytes]) -> Any:
    return RestrictedUnpickler(file).load()


def find_processed(root: Path) -> Path | None:
    """The folder that holds one of the two files: `root` or `root/processed_data`."""
    for folder in (root, root / FOLDER):
        if (folder / SPOTTING_FILE).exists() or (folder / RECOGNITION_FILE).exists():
            return folder
    return None


def read_processed(folder: Path, annotation: Path) -> list[ClipWindows]:
    """Both files and the annotation as clips; a whole file is held in memory, as pickles must be.

    Args:
        folder: with both files.
        annotation: folder of the two tables of CAS(ME)^3.

    Raises:
        DataSetError: as `read_pickle`, or a file is not of the published form.
    """
    tables = read_annotation(annotation)
    spotting = _parts(folder / SPOTTING_FILE, 3)
    recognition = _parts(folder / RECOGNITION_FILE, 4)
    apexes = _apexes(recognition, folder / RECOGNITION_FILE)
    videos = [(str(name), str(video)) for name, own in zip(spotting[1], spotting[2], strict=False) for video in own]
    if len(videos) != len(spotting[0]) or len(spotting[1]) != len(spotting[2]):
        raise DataSetError(f"{folder / SPOTTING_FILE}: {len(spotting[0])} map arrays for {len(videos)} named videos")
    clips = [_clip(maps, name, tables, apexes) for maps, name in zip(spotting[0], videos, strict=True)]
    return clips + [
        ClipWindows(*key, no_maps(), np.zeros(0, np.int64), 0, (), np.stack(maps), tuple(emotions))
        for key, (maps, emotions) in apexes.items()
    ]


def _parts(path: Path, count: int) -> Sequence[Any]:
    content = read_pickle(path)
    if not isinstance(content, list | tuple | np.ndarray) or len(content) < count:
        raise DataSetError(f"{path}: holds {type(content).__name__}, not a list of {count} parts as published")
    return list(content)


Apexes = dict[tuple[str, str], tuple[list[Maps], list[str]]]


def _apexes(parts: Sequence[Any], path: Path) -> Apexes:
    """Recognition samples by subject and video."""
    if len({len(parts[index]) for index in range(4)}) != 1:
        raise DataSetError(f"{path}: maps, subjects, videos and emotions are {[len(p) for p in parts[:4]]} long")
    found: Apexes = {}
    for maps, subject, video, emotion in zip(*parts[:4], strict=True):
        own = found.setdefault((str(subject), str(video)), ([], []))
        own[0].append(_channels_first(np.asarray(maps)[None])[0])
        own[1].append(str(emotion).lower())
    return found


def _clip(maps: Any, name: tuple[str, str], tables: Annotation, apexes: Apexes) -> ClipWindows:
    """One video; its recognition samples are taken out of `apexes`."""
    stacked = _channels_first(np.asarray(maps))
    apex_maps, emotions = apexes.pop(name, ([], []))
    return ClipWindows(
        subject=name[0],
        video=name[1],
        maps=stacked,
        frames=np.arange(len(stacked), dtype=np.int64) * FRAME_SKIP,
        length=len(stacked) * FRAME_SKIP,
        intervals=tuple(tables.intervals.get((subject_key(name[0]), name[1].lower()), ())),
        apex_maps=np.stack(apex_maps) if apex_maps else no_maps(),
        apex_emotions=tuple(emotions),
    )


def _channels_first(maps: np.ndarray) -> Maps:
    """(T, 42, 42, 3) -> (T, 3, 42, 42) float32."""
    if maps.dtype == object:
        maps = np.stack([np.asarray(one) for one in maps])
    if maps.ndim != 4 or maps.shape[1:] != (42, 42, 3):
        raise DataSetError(f"processed maps have shape {maps.shape[1:]}; (42, 42, 3) is the published one")
    return np.ascontiguousarray(np.moveaxis(maps, 3, 1), np.float32)
