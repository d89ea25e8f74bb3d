"""Where tests find the reference data that lies beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared(name: str) -> Path:
    """Path of a reference file; skips the test where it is absent, fails where it is required."""
    path = SHARED / name
    if not path.exists():
        message = f"reference data {name} not found beside the repository"
        if os.environ.get("SFAM_REQUIRE_SHARED") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return path
