"""Small recordings of every form, ways to damage them, and what reading the result may come to."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import zstandard
from mcap.writer import CompressionType

from sfam.capture.config import CaptureConfig
from sfam.capture.inspection import inspect
from sfam.capture.recorder import Recorder, RecorderSettings
from sfam.capture.source import SourceError, open_source
from tests.capture.bag_writer import BagWriter
from tests.capture.cdr_writer import compressed, write_db3, write_mcap
from tests.capture.recorded_frames import INFO, seeded_frame
from tests.capture.test_casme import clip
from tests.capture.test_db3 import COLOR, DEPTH, head, shot
from tests.capture.test_fakenect import dump
from tests.capture.test_image_pairs import SIDECAR, pairs
from tests.capture.test_ros2_mcap import session
from tests.capture.video_writer import write_video
from tests.shared_data import SHARED

KIND = "sensor_msgs/msg/CompressedImage"
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 64) - 1)


def bag(folder: Path, compression: str = "none") -> Path:
    writer = BagWriter(compression)
    writer.head()
    for k in range(6):
        writer.pair(k, k * 33_000_000, unit_m=0.001)
        writer.end_chunk()
    return writer.save(folder / "a.bag")


def lz4_bag(folder: Path) -> Path:
    return bag(folder, "lz4")


def db3(folder: Path) -> Path:
    return write_db3(folder / "a.db3", head() + [one for k in range(6) for one in shot(k)])


def zstd_db3(folder: Path) -> Path:
    """As SDK 2.58 writes: a zstd frame around every message."""
    pack = zstandard.ZstdCompressor().compress
    messages = head() + [one for k in range(6) for one in shot(k)]
    return write_db3(
        folder / "a.db3", [(topic, datatype, when, pack(data)) for topic, datatype, when, data in messages]
    )


def png_db3(folder: Path) -> Path:
    """As SDK 2.59 writes: depth and color as PNG."""
    messages = head()
    for k in range(6):
        color = cv2.imencode(".png", np.full((6, 8, 3), k, np.uint8))[1].tobytes()
        depth = cv2.imencode(".png", np.full((6, 8), 500 + k, np.uint16))[1].tobytes()
        when, form = k * 33_000_000, "16UC1; compressedDepth png"
        packed = compressed(when, "Depth", form, bytes(12) + depth)
        paired = shot(
            k, (f"{COLOR}/image/data/compressed", KIND, compressed(when, "Color", "rgb8; png compressed bgr8", color))
        )
        messages += [(f"{DEPTH}/image/data/compressedDepth", KIND, when, packed), *paired[1:]]
    return write_db3(folder / "a.db3", messages)


def ros_db3(folder: Path) -> Path:
    return write_db3(folder / "a.db3", session(count=6))


def mcap(folder: Path) -> Path:
    return write_mcap(folder / "a.mcap", session(count=6), CompressionType.NONE)


def zstd_mcap(folder: Path) -> Path:
    return write_mcap(folder / "a.mcap", session(count=6), CompressionType.ZSTD)


def _recorded(settings: RecorderSettings, numbers: range) -> Path:
    recorder = Recorder(settings)
    recorder.begin(INFO)
    for k in numbers:
        recorder.push(seeded_frame(k))
    recorder.finish()
    return settings.path


def own_mcap(folder: Path) -> Path:
    return _recorded(RecorderSettings(folder / "own.mcap", lossless=True, compression="lz4"), range(3))


def jpeg_mcap(folder: Path) -> Path:
    return _recorded(RecorderSettings(folder / "own.mcap", lossless=True, color="jpeg"), range(3))


def parts(folder: Path) -> Path:
    """A session whose recorder was started again."""
    (folder / "session.json").write_text("{}")
    _recorded(RecorderSettings(folder / "recording.mcap", lossless=True), range(2))
    _recorded(RecorderSettings(folder / "recording_2.mcap", lossless=True), range(3, 5))
    return folder


def tum(folder: Path) -> Path:
    for name in ("rgb", "depth"):
        (folder / name).mkdir()
        lines = []
        for k in range(4):
            pixels = np.full((6, 8), 700 + k, np.uint16) if name == "depth" else np.full((6, 8, 3), k, np.uint8)
            cv2.imwrite(str(folder / name / f"{k}.png"), pixels)
            lines.append(f"{1763202000 + k / 30:.6f} {name}/{k}.png\n")
        (folder / f"{name}.txt").write_text("# stamp file\n" + "".join(lines))
    return folder


def fakenect(folder: Path) -> Path:
    return dump(folder, np.full((6, 8), 900, np.uint16))


def image_pairs(folder: Path) -> Path:
    return pairs(folder, SIDECAR)


def casme(folder: Path) -> Path:
    return clip(folder / "clip", nested=True)


def film(folder: Path) -> Path:
    return write_video(folder / "a.mp4", "libx264", 6, b_frames=1)


def webm(folder: Path) -> Path:
    return write_video(folder / "a.webm", "libvpx", 6)


def kinect_mkv(folder: Path) -> Path:
    """The genuine file with its last clusters cut away."""
    content = (SHARED / "recordings/kinect_azure.mkv").read_bytes()
    path = folder / "a.mkv"
    path.write_bytes(content[: content.index(b"\x1f\x43\xb6\x75", 900_000)])
    return path


FORMS: dict[str, Callable[[Path], Path]] = {
    "bag": bag,
    "lz4_bag": lz4_bag,
    "db3": db3,
    "zstd_db3": zstd_db3,
    "png_db3": png_db3,
    "ros_db3": ros_db3,
    "mcap": mcap,
    "zstd_mcap": zstd_mcap,
    "own_mcap": own_mcap,
    "jpeg_mcap": jpeg_mcap,
    "parts": parts,
    "kinect_mkv": kinect_mkv,
    "film": film,
    "webm": webm,
    "tum": tum,
    "fakenect": fakenect,
    "image_pairs": image_pairs,
    "casme": casme,
}
"""Name of a form -> what writes a recording of it into an empty folder."""


def mutate(content: bytes, draw: random.Random) -> bytes:
    """The content with one to four damages."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4))):
        _damage(changed, draw)
    return bytes(changed)


def _damage(content: bytearray, draw: random.Random) -> None:
    size = len(content)
    if not size:
        return
    # half of all damage goes where the structure is: the first kilobyte and the last four
    place = draw.choice((draw.randrange(size), draw.randrange(size), draw.randrange(min(size, 1024)),
                         size - 1 - draw.randrange(min(size, 4096))))  # fmt: skip
    kind = draw.randrange(8)
    if kind == 0:
        del content[place:]
    elif kind == 1:
        content[place] ^= 1 << draw.randrange(8)
    elif kind == 2:
        content[place] = draw.randrange(256)
    elif kind == 3:
        width = draw.choice((1, 2, 4, 8))
        value = draw.choice(EXTREMES) & ((1 << 8 * width) - 1)
        content[place : place + width] = value.to_bytes(width, draw.choice(("little", "big")))
    elif kind == 4:
        content[place : place + draw.choice((4, 64, 4096))] = b""
    elif kind == 5:
        content[place:place] = draw.randbytes(draw.choice((1, 4, 64)))
    elif kind == 6:
        length, source = draw.choice((8, 128, 4096)), draw.randrange(size)
        content[place : place + length] = content[source : source + length]
    else:
        content[place : place + draw.choice((4, 64, 4096))] = bytes(draw.choice((4, 64, 4096)))


def write_mutation(base: Path, to: Path, seed: int) -> Path:
    """A mutated copy of a recording: the file, or one or two of a folder's files."""
    draw = random.Random(seed)
    if base.is_file():
        path = to / base.name
        path.write_bytes(mutate(base.read_bytes(), draw))
        return path
    path = to / base.name
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(base, path)
    files = sorted(one for one in path.rglob("*") if one.is_file())
    texts = [one for one in files if one.suffix in (".txt", ".json")] or files
    for file in sorted({draw.choice(files), draw.choice(draw.choice((files, texts)))}):
        file.write_bytes(mutate(file.read_bytes(), draw))
    return path


def examine(path: Path) -> str:
    """Read a recording to its end, and inspect it: 'frames' or 'refused'; anything else is a defect and raises."""
    config = CaptureConfig(camera=str(path), depth_unit_m=0.001, color_only=True)
    report = inspect(path, config=config)
    json.dumps(report.to_json(), allow_nan=False)
    try:
        with open_source(config) as source:
            for count, frame in enumerate(source.frames()):
                cameras = frame.calibration
                if frame.color.shape != (cameras.color.height, cameras.color.width, 3):
                    raise AssertionError(f"color is {frame.color.shape}, calibrated for {cameras.color}")
                if frame.depth.shape != (cameras.depth.height, cameras.depth.width):
                    raise AssertionError(f"depth is {frame.depth.shape}, calibrated for {cameras.depth}")
                if frame.sequence < count:
                    raise AssertionError(f"frame {count} has number {frame.sequence}")
            _ = source.info, source.drops
    except SourceError as error:
        text = str(error)
        if not text or "\n" in text:
            raise AssertionError(f"an error of several lines or none: {text!r}") from error
        return "refused"
    return "frames"
