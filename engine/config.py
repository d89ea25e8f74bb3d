"""Settings of the engine."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class EngineConfig(BaseModel):
    """Which model judges, on what, and how scores become events."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field("synthetic-4", description="name of an installed model or path of an artifact folder")
    backend: Literal["auto", "onnxruntime", "tensorrt", "torch"] = Field("auto", description="who runs the network")
    precision: Literal["fp32", "fp16"] = Field("fp32", description="of tensorrt; fp16 must reproduce scores to 0.01")
    threads: int = Field(1, ge=1, description="threads of the backend, alike in every mode so that replays agree")
    threshold: float | None = Field(
        None, gt=0, lt=1, description="spotting threshold; null = the model's own (see sfam model show)"
    )
    calibration: str | None = Field(
        None, description="file of sfam calibrate: its threshold is used, and events carry their false-alarm rate"
    )
    max_batch_delay_ms: float = Field(
        2.0, ge=0, le=1000, description="several cameras in one process: wait this long to judge their windows at once"
    )
