"""Settings of the engine."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class EngineConfig(BaseModel):
    """Which model judges, on what, and how scores become events."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field("synthetic-4", description="name of an installed model or path of an artifact folder")
    backend: Literal["auto", "onnxruntime", "tensorrt", "torch"] = Field("auto", description="who runs the network")
    threads: int = Field(1, ge=1, description="threads of the backend, alike in every mode so that replays agree")
    threshold: float | None = Field(
        None, gt=0, lt=1, description="spotting threshold; null = the model's own (see sfam model show)"
    )
