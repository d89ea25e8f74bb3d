"""What the settings say of a recorder reaches it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfam.app.recording_role import recorder_settings
from sfam.capture.config import CaptureConfig


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("color", ["lossless", "jpeg"])
def test_a_recorder_packs_as_it_is_told(compression: str, color: str) -> None:
    config = CaptureConfig.model_validate(
        {"record_compression": compression, "record_color": color, "record_jpeg_quality": 80}
    )
    made = recorder_settings(config, Path("a.mcap"), lossless=True)
    assert (made.compression, made.color, made.jpeg_quality, made.lossless) == (compression, color, 80, True)
