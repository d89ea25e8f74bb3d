"""The process beside an analysis that finds faces for it, started early, as its models take longest to load."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Final

from sfam.stream.face import FaceSettings
from sfam.stream.face_process import RemoteDetector

from .affinity import require_cpus
from .analysis_role import AnalysisSession, AnalysisSettings
from .child_process import ignoring_interrupts
from .config import Config
from .role_link import Tell
from .serve_faces import FACE, serve_faces

DETECTOR_LOST: Final = "detector_lost"
"""What an analysis tells when it has to find faces by itself."""


class DetectorProcess:
    """One detector at a time.

    Args:
        settings: of the detector.
        cpus: processors it may use; empty = all.

    Raises:
        OSError: as the system does.
    """

    def __init__(self, settings: FaceSettings, cpus: tuple[int, ...] = ()) -> None:
        self._settings = (settings, cpus)
        self._start()

    @classmethod
    def beside(cls, config: Config) -> DetectorProcess | None:
        """For the analysis process of a session; None where faces are found in it: only dlib would hold it up.

        Raises:
            ConfigError: processors that are not there.
        """
        require_cpus(config.app.cpus_analysis, "app.cpus_analysis")
        if config.app.single_process or config.stream.face_backend != "dlib":
            return None
        return cls(config.stream.face, config.app.cpus_analysis)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self.connection: Connection = ours
        """For the one analysis process that asks."""
        self._process: SpawnProcess = context.Process(
            target=serve_faces, args=(*self._settings, theirs), name=f"sfam-{FACE}", daemon=True
        )
        with ignoring_interrupts():
            self._process.start()
        theirs.close()

    @property
    def pids(self) -> dict[str, int]:
        """Its process id by its name; empty once it has ended."""
        pid = self._process.pid
        return {FACE: pid} if pid is not None and self._process.is_alive() else {}

    def kill(self) -> None:
        """End it at once; the analysis goes on without it."""
        self._process.kill()

    def again(self) -> None:
        """Another one, for an analysis that takes the place of one that died."""
        self.close()
        self._start()

    def close(self) -> None:
        """End it; safe to call twice."""
        self.connection.close()
        self._process.kill()
        self._process.join()

    def serve(self, analysis: AnalysisSettings) -> AnalysisSettings:
        """The settings of an analysis that asks this detector."""
        return replace(analysis, open_session=partial(_open_beside, analysis.open_session, self.connection))


def _open_beside(
    open_session: Callable[..., AnalysisSession], connection: Connection, plan: Any, tell: Tell
) -> AnalysisSession:
    """In the analysis process: a session whose faces another process finds."""
    return open_session(plan, tell, detector=detector_at(connection, plan.config.stream.face, tell))


def detector_at(connection: Connection, settings: FaceSettings, tell: Tell) -> RemoteDetector:
    """The detector behind a connection; `tell` hears when it is lost."""
    return RemoteDetector(connection, settings, partial(tell, DETECTOR_LOST))
