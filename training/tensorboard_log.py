"""Losses for TensorBoard, where somebody wants to watch; nothing else in this program needs it."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any


class TensorBoardLog:
    """Writes one event file into a folder; a context manager.

    Raises:
        RuntimeError: the `tensorboard` package is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise RuntimeError(f"--tensorboard needs a package: pip install tensorboard ({error})") from error
        self._writer: Any = SummaryWriter(str(folder))

    def __enter__(self) -> TensorBoardLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def step(self, step: int, loss: float) -> None:
        """Loss of one step."""
        self._writer.add_scalar("loss", loss, step)
