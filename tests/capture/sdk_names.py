"""Says what a camera SDK really offers. Runs in that SDK's own environment, so it imports nothing of ours.

    python sdk_names.py MODULE NAME...

prints JSON: for each dotted name null (absent), [] (a value or class) or the parameters of each overload, as
[name, has_default].
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from typing import Any

Parameters = list[tuple[str, bool]]


def overloads(target: Any) -> list[Parameters]:
    """Parameters without `self` of each overload: from Python's own signature, else from pybind11's docstring."""
    if inspect.isfunction(target):
        found = inspect.signature(target).parameters.values()
        return [[(one.name, one.default is not one.empty) for one in found if one.name != "self"]]
    lines = re.findall(r"^(?:\d+\. )?\w+\((.*)\) -> ", target.__doc__ or "", re.MULTILINE)
    return [_parameters(line) for line in lines if line not in ("*args, **kwargs",)]


def _parameters(text: str) -> Parameters:
    """Splits 'self: A, size: tuple[int, int], fps: Optional[float] = None' at its outer commas."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[(<{") - (letter in "])>}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    named = [(part.split(":")[0].split("=")[0].strip(), " = " in part) for part in parts if part.strip()]
    return [one for one in named if one[0] not in ("self", "*args", "**kwargs")]


def describe(module: Any, name: str) -> list[Parameters] | None:
    """What a dotted name is."""
    target = module
    for part in name.split("."):
        if not hasattr(target, part):
            return None
        target = getattr(target, part)
    if isinstance(target, type) or not callable(target):
        return []
    return overloads(target)


if __name__ == "__main__":
    sdk = importlib.import_module(sys.argv[1])
    print(json.dumps({name: describe(sdk, name) for name in sys.argv[2:]}))
