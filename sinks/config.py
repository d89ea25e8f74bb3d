"""Settings of everything that leaves."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class SinksConfig(BaseModel):
    """Where results go."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    publish: str = Field("tcp://127.0.0.1:5571", description="ZeroMQ address of the bus, or none")
    insecure: bool = Field(False, description="allow a bus address other than loopback without keys")
    high_water_mark: int = Field(
        1000, ge=1, description="messages kept per subscriber; beyond it they are lost and show"
    )
    out: str | None = Field(None, description="session folder; null = sessions/<date_time>")
    overlay: Literal["window", "none"] = Field("none", description="what to show on this machine")
    privacy: Literal["results", "flow", "full"] = Field(
        "results", description="what may be stored or leave the machine"
    )
    jpeg_quality: int = Field(85, ge=30, le=100, description="quality of frame messages")
    frame_rate_hz: float = Field(15.0, gt=0, description="frame and flow messages a second at most")
