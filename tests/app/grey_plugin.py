"""An analyzer package as an installer would leave it: one that lives, one that dies with its first frame."""

from __future__ import annotations

from pathlib import Path

TEXT = """
import os
from sfam.stream.analyzer import Analyzer

class MeanGrey(Analyzer):
    def __init__(self, options):
        self.gain = options["gain"]

    def analyze(self, frame):
        return {"grey": self.gain * float(frame.color.mean())}

    def close(self):
        pass

class Mortal(MeanGrey):
    def analyze(self, frame):
        os._exit(7)
"""


def install(folder: Path) -> None:
    """Put it where `folder` as a search path makes it visible."""
    about = folder / "greys-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "greys.py").write_text(TEXT)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: greys\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[sfam.analyzers]\nmean-grey = greys:MeanGrey\nmortal = greys:Mortal\n")
