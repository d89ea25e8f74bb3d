"""Network weights on disk in the safetensors layout: names, shapes and raw numbers, nothing that can run.

The layout is public and small (8 bytes of header length, a JSON header, raw little-endian data), so it is read and
written here without a further dependency; any safetensors library opens the files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Weights = Mapping[str, NDArray[np.float32]]
"""Parameter name -> float32 array, named as in the authors' checkpoints."""

HEADER_LIMIT = 100_000_000
SMALLEST_PROBABILITY = 1e-30
"""An ensemble's mean probabilities are stored as logarithms; below this they are cut."""


class WeightsError(ValueError):
    """A weights file is damaged or holds what a network cannot use."""


def pack_weights(weights: Weights) -> bytes:
    """Weights as the bytes of a safetensors file; equal weights give equal bytes."""
    header: dict[str, object] = {}
    chunks: list[bytes] = []
    position = 0
    for name in sorted(weights):
        data = np.ascontiguousarray(weights[name], dtype="<f4").tobytes()
        end = position + len(data)
        header[name] = {"dtype": "F32", "shape": list(weights[name].shape), "data_offsets": [position, end]}
        chunks.append(data)
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(chunks)


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read a safetensors file of float32 arrays.

    Raises:
        WeightsError: the file is truncated, its header is no JSON, or an entry is not a finite float32 array.
    """
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(HEADER_LIMIT, len(data) - 8):
        raise WeightsError(f"{path}: not a safetensors file ({len(data)} bytes, header of {size} announced)")
    try:
        header = json.loads(data[8 : 8 + size])
        entries = {str(name): entry for name, entry in header.items() if name != "__metadata__"}
        return {name: _array(entry, memoryview(data)[8 + size :]) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: damaged weights file: {error}") from error


def _array(entry: Mapping[str, object], data: memoryview) -> NDArray[np.float32]:
    if entry["dtype"] != "F32":
        raise ValueError(f"weights of type {entry['dtype']}; only F32 is used")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not isinstance(shape, list) or not isinstance(offsets, list):
        raise TypeError("shape and data_offsets must be lists")
    start, end = offsets
    if end > len(data) or end - start != 4 * math.prod(shape):
        raise ValueError(f"data_offsets {offsets} do not fit shape {shape} and {len(data)} bytes of data")
    array = np.frombuffer(data[start:end], dtype="<f4").reshape(shape).astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError("weights that are not finite")
    return array
