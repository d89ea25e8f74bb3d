"""`make bench`: what `sfam bench`, the readers' and the capture bench measure, as benchmarks/results/<machine>.md.

With CPU, versions and date. What a machine could not do in time (the capture bench then ends in failure) stands in its
page as it was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SHARED = ROOT.parent / "shared"
GIVEN = {
    "flow": ("--truth", SHARED / "golden" / "flow_pairs.npz"),
    "replay": ("--file", SHARED / "recordings/face_a.bag"),
}
"""What a subject of `sfam bench` is measured on where it is there."""
PACKAGES = ("sfam-live", "numpy", "opencv-contrib-python", "onnxruntime", "pyzmq", "torch")
SUBJECTS = ("flow", "engine", "replay", "capacity")
SCRIPTS = ("readers", "capture_rate")
"""Benches that write a page of their own."""


def cpu() -> str:
    """The processor's name."""
    known = Path("/proc/cpuinfo")
    if known.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", known.read_text(), re.MULTILINE)
        if found:
            return " ".join(found[1].split())
    return platform.processor() or platform.machine()


def file_name(processor: str, cores: int) -> str:
    """Of the machine's report."""
    return re.sub(r"[^a-z0-9]+", "_", f"{processor} {cores} cores".lower()).strip("_") + ".md"


def measure(subject: str) -> dict[str, Any]:
    """One report of `sfam bench`, from a process of its own."""
    command = [str(Path(sys.executable).parent / "sfam"), "bench", subject, "--json"]
    option, file = GIVEN.get(subject, ("", ROOT / "none"))
    if file.exists():
        command += [option, str(file)]
    report: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return report


def section(subject: str, report: Mapping[str, Any]) -> str:
    """One report in Markdown."""
    lines = [f"## {subject}", ""]
    if report["stages"]:
        lines += ["| stage | median ms | p99 ms |", "|---|---|---|"]
        lines += [
            f"| {name} | {row['median_ms']:.3f} | {row['p99_ms']:.3f} |" for name, row in report["stages"].items()
        ]
        lines.append("")
    for part in ("ratios", "accuracy"):
        if report.get(part):
            lines += [f"| {part} | |", "|---|---|"]
            lines += [f"| {name} | {value:.4g} |" for name, value in report[part].items()]
            lines.append("")
    return "\n".join(lines)


def page_of(script: str) -> str:
    """What a bench of this folder writes, one level down."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "page.md"
        command = [sys.executable, "-m", f"benchmarks.{script}", "--save", str(place)]
        done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
        if not place.exists():
            return f"## {script}\n\nnot measured: {done.stderr.strip().splitlines()[-1:]}\n"
        return re.sub(r"^#", "##", place.read_text(encoding="utf-8"), flags=re.MULTILINE)


def head(processor: str, cores: int, load: float) -> str:
    """What was measured on, with what, when."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except ModuleNotFoundError:
            versions.append(f"{package} not installed")
    return (
        f"# {processor}, {cores} cores\n\n`make bench`, {time.strftime('%F')}; {platform.platform()}, "
        f"Python {platform.python_version()}, {', '.join(versions)}.\n"
        f"Load when it began: {load:.1f}. Times are of this machine and this hour; ratios compare things timed in the "
        "same run.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subjects", nargs="*", choices=[*SUBJECTS, *SCRIPTS, []], default=[])
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    processor, cores = cpu(), os.cpu_count() or 1
    parts = [head(processor, cores, os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0)]
    for subject in asked.subjects or (*SUBJECTS, *SCRIPTS):
        print(f"measuring {subject}", flush=True)
        parts.append(page_of(subject) if subject in SCRIPTS else section(subject, measure(subject)))
    place = asked.out / file_name(processor, cores)
    place.write_text("\n".join(parts), encoding="utf-8")
    print(place.read_text(), f"\n-> {place}")


if __name__ == "__main__":
    main()
