"""Memory of training one fold on a corpus of the full size: 2 million windows on disk, read only where they are used.

The windows are holes in files (they read as zeros and take no disk), the annotation is as dense as the tables of
CAS(ME)^3 are. Prints the largest anonymous memory of the process, which is what a limit counts, and its peak with
the pages of mapped files, which the system may take back at any time.

    python -m benchmarks.training_memory [--windows 2000000] [--steps 3] [--batch 1024]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from sfam.engine.network import SFAMNet
from sfam.training.dataset import AnnotatedInterval
from sfam.training.feature_set import INDEX, SUMMARY, read_features
from sfam.training.features import CLIPS, RECORD, ClipRecord
from sfam.training.loso import score_subject
from sfam.training.published import PublishedRecipe, draw_samples, fit_published

CLIP_WINDOWS = 2000
SUBJECTS = 98
MICROS_PER_CLIP = 0.9
"""860 annotated micro-expressions in 956 videos."""
LOOK_S = 0.02


def write_corpus(folder: Path, windows: int) -> int:
    """Clips of `CLIP_WINDOWS` windows each, as `sfam features` writes them; returns their number."""
    rng = np.random.default_rng(0)
    names = []
    for number in range(-(-windows // CLIP_WINDOWS)):
        subject, name = f"spNO.{number % SUBJECTS + 1}", f"clip{number:05d}"
        own = folder / CLIPS / name
        own.mkdir(parents=True)
        shape = (CLIP_WINDOWS, 3, 42, 42)
        np.lib.format.open_memmap(own / "maps.npy", mode="w+", dtype=np.float32, shape=shape)
        np.save(own / "frames.npy", np.arange(6, 6 + CLIP_WINDOWS))
        np.save(own / "apex_maps.npy", np.zeros((0, 3, 42, 42), np.float32))
        onsets = rng.integers(10, CLIP_WINDOWS - 40, rng.poisson(MICROS_PER_CLIP))
        micros = tuple(
            asdict(AnnotatedInterval("micro", int(onset), int(onset) + 6, int(onset) + 14, "disgust"))
            for onset in sorted(onsets)
        )
        record = ClipRecord(subject, name, name, "", CLIP_WINDOWS + 6, 30.0, CLIP_WINDOWS, micros, ())
        (own / RECORD).write_text(json.dumps(asdict(record)))
        names.append(name)
    (folder / INDEX).write_text("\n".join(["folder", *names]) + "\n")
    (folder / SUMMARY).write_text(json.dumps({"data_set": "SYNTHETIC holes"}))
    return len(names)


class MemoryWatch(threading.Thread):
    """Looks at this process's memory until stopped (Linux)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.anonymous_kb = self.total_kb = 0
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Keep the largest figures seen."""
        while not self._stop_asked.wait(LOOK_S):
            self.look()

    def look(self) -> None:
        """Read the present figures."""
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
        self.anonymous_kb = max(self.anonymous_kb, int(status["RssAnon"].split()[0]))
        self.total_kb = max(self.total_kb, int(status["VmHWM"].split()[0]))

    def finish(self) -> None:
        """Stop looking."""
        self._stop_asked.set()
        self.join()
        self.look()


def main() -> None:
    """Train and score one fold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--windows", type=int, default=2_000_000)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=1024)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        count = write_corpus(Path(folder), given.windows)
        watch = MemoryWatch()
        watch.start()
        clips = read_features(Path(folder))
        held_out = clips[0].subject
        samples = draw_samples([clip for clip in clips if clip.subject != held_out], 4, PublishedRecipe(), 0)
        network = SFAMNet(5)
        fit_published(network, samples, PublishedRecipe(steps=given.steps, batch=given.batch), 0)
        own = [clip for clip in clips if clip.subject == held_out]
        result = score_subject(network, held_out, own, 4)
        watch.finish()
    print(
        f"{count * CLIP_WINDOWS:,} windows in {count} clips ({count * CLIP_WINDOWS * 21_168 / 1e9:.0f} GB as they lie "
        f"on disk), {len(samples.maps):,} drawn for the fold, {given.steps} steps of {given.batch}, "
        f"{len(result.traces)} clips scored: {watch.anonymous_kb / 1e6:.2f} GB anonymous memory at most, "
        f"{watch.total_kb / 1e6:.2f} GB with mapped pages"
    )


if __name__ == "__main__":
    main()
