"""A stand-in for CAS(ME)^3: both annotation tables at full scale, short synthetic clips in its folder layout.

SYNTHETIC: nothing that comes out of it says anything about real faces. Every subject, video and odd row of the tables
is there; time is squeezed so that each clip is short, and each annotated expression is a bump of light and depth drawn
here, by a generator of its own, not by the overlays that training uses.

    python benchmarks/stand_in_casme3.py --annotation TABLES --out DIR [--subjects N] [--videos N] [--frames N]
"""

from __future__ import annotations

import argparse
import shutil
import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sfam.capture.face_model import face_model
from sfam.capture.render import FaceState, Renderer, View
from sfam.training.casme3_annotation import Annotation, read_annotation
from sfam.training.dataset import EMOTIONS, FOUR_OF, AnnotatedInterval, subject_order

SHARED = Path(__file__).resolve().parents[2] / "shared" / "sfamnet" / "annotation"
WIDTH, HEIGHT = 160, 160
VIEW = View(WIDTH, HEIGHT, 440.0, 440.0, (WIDTH - 1) / 2, (HEIGHT - 1) / 2 + 6)
NOTE = "SYNTHETIC stand-in for CAS(ME)^3: rendered heads, invented motion, squeezed time. No real face is in it.\n"
PLACES = {"negative": (0.5, 0.28), "positive": (0.5, 0.72), "surprise": (0.5, 0.22), "others": (0.5, 0.66)}
"""Where each family moves the skin, as shares of the image, and below which way."""
WAYS = {"negative": (0.0, 1.0), "positive": (1.0, -0.4), "surprise": (0.0, -1.0), "others": (-0.5, 0.3)}
HEADS = 8
JPEG_QUALITY = 95


def write_tree(
    out: Path, annotation: Path, *, subjects: int | None = None, videos: int | None = None, frames: int = 40
) -> int:
    """Write `<subject>/<video>/color|depth` below `out`, with copies of the tables; returns the number of clips.

    Args:
        out: folder to write.
        annotation: folder of the two tables.
        subjects: only the first so many.
        videos: of each subject only the first so many.
        frames: most frames of a clip.
    """
    tables = read_annotation(annotation)
    (out / "annotation").mkdir(parents=True, exist_ok=True)
    for path in annotation.iterdir():
        shutil.copy(path, out / "annotation" / path.name)
    (out / "SYNTHETIC.txt").write_text(NOTE)
    names = sorted(tables.intervals, key=lambda key: (subject_order(key[0]), key[1]))
    wanted = list(dict.fromkeys(subject for subject, _ in names))[:subjects]
    count = 0
    for subject in wanted:
        for key in [name for name in names if name[0] == subject][:videos]:
            write_clip(out, tables, key, frames)
            count += 1
    return count


def write_clip(out: Path, tables: Annotation, key: tuple[str, str], frames: int) -> None:
    """One clip: its first annotated stretch of `frames` images, numbered as the annotation numbers them."""
    subject, video = tables.names[key]
    folder = out / subject / video
    for part in ("color", "depth"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(f"{subject}/{video}".encode())
    rng = np.random.default_rng(seed)
    color, depth = _head(zlib.crc32(subject.encode()) % HEADS)
    intervals = tables.intervals[key]
    first = _first_frame(intervals, frames)
    last_annotated = max(one.offset for one in intervals)
    numbers = [*range(first, first + frames), *([last_annotated] if last_annotated >= first + frames else [])]
    sway = rng.normal(0, 0.15, 2)
    for frame in numbers:
        moved = _displacement(intervals, frame, sway * np.sin(frame / 9.0))
        image, metric = _warp(color, depth, moved)
        noisy = np.clip(image + rng.normal(0, 1.5, image.shape), 0, 255).astype(np.uint8)
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        cv2.imwrite(str(folder / "color" / f"{frame + 1}.jpg"), noisy[..., ::-1], quality)
        deep = np.where(metric > 0, metric + rng.normal(0, 0.7, metric.shape), 0)
        cv2.imwrite(str(folder / "depth" / f"{frame + 1}.png"), np.rint(deep).astype(np.uint16))


def _first_frame(intervals: list[AnnotatedInterval], frames: int) -> int:
    """Begin of the clip: so that the first micro, else the first row, lies in its middle."""
    one = next((row for row in intervals if row.kind == "micro"), intervals[0])
    return max(0, one.apex - frames // 2)


_heads: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}


def _head(identity: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Color (H, W, 3) and depth (H, W) mm of one head at rest."""
    if identity not in _heads:
        image, metric = Renderer(face_model(identity), VIEW).render(FaceState())
        _heads[identity] = np.asarray(image, np.float32)[..., :3], np.asarray(metric, np.float32)
    return _heads[identity]


def _displacement(intervals: list[AnnotatedInterval], frame: int, sway: NDArray[np.float64]) -> NDArray[np.float32]:
    """(H, W, 3) px, px, mm: sway of the whole, and a bump for each expression under way."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    field = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    field[..., :2] = sway
    for one in intervals:
        size = _course(one, frame) * (1.6 if one.kind == "micro" else 3.0)
        if size > 0:
            family = one.emotion if one.emotion in EMOTIONS[4] else FOUR_OF.get(one.emotion, "others")
            x, y = PLACES[family]
            bell = np.exp(-(((columns / WIDTH - x) / 0.16) ** 2) - ((rows / HEIGHT - y) / 0.08) ** 2)
            field += bell[..., None] * np.array((*WAYS[family], 0.8), np.float32) * np.float32(size)
    return field


def _course(one: AnnotatedInterval, frame: int) -> float:
    """0 at onset and offset, 1 at the apex, along half cosines."""
    if not one.onset <= frame <= one.offset:
        return 0.0
    side = (frame - one.onset) / max(one.apex - one.onset, 1)
    if frame > one.apex:
        side = (one.offset - frame) / max(one.offset - one.apex, 1)
    return float(0.5 - 0.5 * np.cos(np.pi * min(side, 1.0)))


def _warp(
    color: NDArray[np.float32], depth: NDArray[np.float32], moved: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    x, y = columns - moved[..., 0], rows - moved[..., 1]
    image = cv2.remap(color, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    metric = cv2.remap(depth, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(image, np.float32), np.asarray(np.where(metric > 0, metric - moved[..., 2], 0), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--annotation", type=Path, default=SHARED)
    parser.add_argument("--subjects", type=int)
    parser.add_argument("--videos", type=int)
    parser.add_argument("--frames", type=int, default=40)
    given = parser.parse_args()
    count = write_tree(given.out, given.annotation, subjects=given.subjects, videos=given.videos, frames=given.frames)
    print(f"{NOTE.strip()} {count} clips in {given.out}")


if __name__ == "__main__":
    main()
