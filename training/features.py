"""Windows of a whole data set on disk, made by the code that runs live.

One folder a clip: `maps.npy` (T, 3, 42, 42) float32, `frames.npy`, `apex_maps.npy` and `clip.json`. Plain .npy needs no
library beyond numpy, is read through memory maps (only what is looked at), and a folder that appears by one rename is
whole or absent: an HDF5 file is neither after a crash. `index.csv` lists the clips.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from sfam.capture.config import CaptureConfig
from sfam.capture.frame import RGBDFrame
from sfam.capture.recorded_parts import part_files
from sfam.capture.source import FrameSource, SourceError, open_source
from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig
from sfam.stream.flow_window import FlowWindow
from sfam.stream.roi import cut_maps, find_regions, to_crop

from .clip_windows import PUBLISHED_FPS, Maps, no_maps
from .dataset import AnnotatedInterval, Clip
from .program import program_hash

CLIPS = "clips"
RECORD = "clip.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class ClipTask:
    """One clip to measure; picklable."""

    clip: Clip
    stream: StreamConfig
    out: Path


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """What became of one clip; `clip.json` holds it."""

    subject: str
    video: str
    folder: str
    content_hash: str
    frames: int
    """Length of the clip: its last frame + 1."""
    fps: float
    """Frames a second, by the stamps."""
    windows: int
    intervals: tuple[dict[str, Any], ...]
    apex_emotions: tuple[str, ...]
    without_apex: int = 0
    """Annotated micro-expressions whose onset-to-apex motion could not be measured."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Images that never became a frame, by cause."""
    withheld: dict[str, int] = field(default_factory=dict)
    """Frames without a window, by cause."""
    resumed: bool = False


@dataclass(slots=True)
class _Measured:
    """Windows of one clip while it is read."""

    maps: list[Maps] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    apex_maps: list[Maps] = field(default_factory=list)
    apex_emotions: list[str] = field(default_factory=list)
    without_apex: int = 0
    times_ns: dict[int, int] = field(default_factory=dict)
    """Frame of the annotation -> capture time."""

    @property
    def length(self) -> int:
        """Last frame + 1."""
        return max(self.times_ns, default=-1) + 1

    @property
    def fps(self) -> float:
        """By the median step from frame to frame; the published rate where there is no step."""
        held = pairwise(sorted(self.times_ns.items()))
        steps_ns = [(now_ns - before_ns) / (now - before) for (before, before_ns), (now, now_ns) in held
                    if now_ns > before_ns]  # fmt: skip
        return round(1e9 / median(steps_ns), 3) if steps_ns else PUBLISHED_FPS


def measure_clip(task: ClipTask) -> ClipRecord:
    """Windows of one clip on disk; nothing is done where they are there already, made of the same bytes and settings.

    Raises:
        SourceError: the clip cannot be read. OSError: the disk is full, or nothing may be written.
    """
    hashed = content_hash(task)
    folder = task.out / CLIPS / task.clip.name
    done = read_record(folder)
    if done is not None and done.content_hash == hashed:
        return ClipRecord(**{**_fields(done), "resumed": True})
    cv2.setNumThreads(task.stream.opencv_threads)  # the processes of an executor share the cores already
    settings = CaptureConfig(camera=str(task.clip.recording), depth_unit_m=task.clip.depth_unit_m)
    analysis = _fresh_analysis(task.stream)
    before = Counter(analysis.withheld)
    try:
        with open_source(settings) as source:
            measured = _measure(task.clip, source, analysis)
            dropped = dict(source.drops)
    except BaseException:
        _forget_analysis()
        raise
    record = ClipRecord(
        subject=task.clip.subject,
        video=task.clip.video,
        folder=task.clip.name,
        content_hash=hashed,
        frames=measured.length,
        fps=measured.fps,
        windows=len(measured.frames),
        intervals=tuple(asdict(one) for one in task.clip.intervals),
        apex_emotions=tuple(measured.apex_emotions),
        without_apex=measured.without_apex,
        dropped=dropped,
        withheld=dict(analysis.withheld - before),
    )
    _write(folder, measured, record)
    return record


_kept: list[tuple[StreamConfig, Analysis]] = []
"""At most one a process: to open a face detector takes as long as to measure two hundred frames."""


def _fresh_analysis(stream: StreamConfig) -> Analysis:
    """An analysis that knows nothing yet; the one of the clip before, begun anew, where the settings are the same."""
    if _kept and _kept[0][0] == stream:
        _kept[0][1].reset()
    else:
        _forget_analysis()
        _kept.append((stream, Analysis(stream)))
    return _kept[0][1]


def _forget_analysis() -> None:
    """Close what is kept, if anything is."""
    while _kept:
        _kept.pop()[1].close()


def _measure(clip: Clip, source: FrameSource, analysis: Analysis) -> _Measured:
    measured = _Measured()
    sequences: dict[int, int] = {}
    """Frame of the annotation -> sequence of the capture."""
    wanted: dict[int, list[AnnotatedInterval]] = {}
    for one in clip.intervals:
        if one.kind == "micro" and one.emotion:
            wanted.setdefault(one.apex, []).append(one)
    for number, frame in _numbered(clip, source):
        sequences[number] = frame.sequence
        measured.times_ns[number] = frame.t_capture_ns
        windows = analysis.push(frame)
        for window in windows[:1]:
            measured.maps.append(window.maps.copy())
            measured.frames.append(number)
        for one in wanted.pop(number, ()):
            maps = _apex_maps(analysis, windows, sequences.get(one.onset), frame)
            if maps is None:
                measured.without_apex += 1
            else:
                measured.apex_maps.append(maps)
                measured.apex_emotions.append(one.emotion)
    measured.without_apex += sum(map(len, wanted.values()))
    return measured


def _numbered(clip: Clip, source: FrameSource) -> Iterator[tuple[int, RGBDFrame]]:
    """Frames with the number that the annotation gives them; listed unreadable ones are left out."""
    for frame in source.frames():
        number = frame.sequence if clip.first_number is None else frame.color_number - clip.first_number
        if number not in clip.unreadable:
            yield number, frame


def _apex_maps(analysis: Analysis, windows: list[FlowWindow], onset: int | None, frame: RGBDFrame) -> Maps | None:
    """Direct motion from onset to apex as a network input; None where it cannot be measured."""
    if not windows or onset is None or onset == frame.sequence:
        return None
    track = next((one for one in analysis.tracks if one.track_id == windows[0].track_id), None)
    flow = analysis.flow_between(windows[0].track_id, onset, frame.sequence)
    if flow is None or track is None or track.landmarks_px is None:
        return None
    return cut_maps(flow, find_regions(to_crop(track.landmarks_px, flow.crop)))


def content_hash(task: ClipTask) -> str:
    """SHA-256 over the clip's bytes, its annotation, the settings and the program that measures it."""
    total = hashlib.sha256()
    recording = task.clip.recording
    inside = [recording]
    if recording.is_dir():  # of a session only its recording: reports and exports come and go beside it
        inside = part_files(recording) or sorted(path for path in recording.rglob("*") if path.is_file())
    for path in inside:
        try:
            total.update(f"{path.relative_to(recording).as_posix()} {path.stat().st_size}\n".encode())
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    total.update(block)
        except FileNotFoundError as error:
            raise SourceError(f"{recording}: no such clip") from error
    said = [asdict(one) for one in task.clip.intervals], sorted(task.clip.unreadable), task.clip.depth_unit_m
    program = program_hash("capture", "stream")
    parts = (FORMAT, program, said, task.clip.first_number, task.stream.model_dump(mode="json"))
    total.update(json.dumps(parts, sort_keys=True).encode())
    return total.hexdigest()


def read_record(folder: Path) -> ClipRecord | None:
    """What an earlier run wrote of a clip; None where it is not whole."""
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        content["intervals"] = tuple(content["intervals"])
        content["apex_emotions"] = tuple(content["apex_emotions"])
        return ClipRecord(**content)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # nothing there, or of another version: the clip is measured again


def _fields(record: ClipRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ClipRecord.__dataclass_fields__}


def _write(folder: Path, measured: _Measured, record: ClipRecord) -> None:
    """All files of a clip, under their name only once they are whole."""
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        np.save(draft / "maps.npy", np.stack(measured.maps) if measured.maps else no_maps())
        np.save(draft / "apex_maps.npy", np.stack(measured.apex_maps) if measured.apex_maps else no_maps())
        np.save(draft / "frames.npy", np.array(measured.frames, np.int64))
        (draft / RECORD).write_text(json.dumps(_fields(record), indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def totals(records: list[ClipRecord]) -> dict[str, int]:
    """Sums over clips, for a summary."""
    counts: Counter[str] = Counter()
    for record in records:
        counts.update(frames=record.frames, windows=record.windows, without_apex=record.without_apex)
        counts.update({f"dropped_{cause}": count for cause, count in record.dropped.items()})
    return dict(counts)
