"""Writes docs/wire.md from the schemas: `python benchmarks/write_wire_docs.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sfam.sinks.wire import KINDS, Kind, load_schema

PAGE = Path(__file__).resolve().parents[1] / "docs" / "wire.md"
COMMON = 9
"""Fields at the beginning of every header."""
INTRODUCTION = """\
# What is on the wire

This page is written by `benchmarks/write_wire_docs.py` from the schemas in `sinks/schema/`; change those.

A session publishes on a ZeroMQ XPUB socket, by default `tcp://127.0.0.1:5571`. A message is a multipart message:

| part | content |
|---|---|
| 1 | topic, `sfam/<camera>/<kind>` |
| 2 | header, UTF-8 JSON; never holds NaN: what is not known is `null` |
| 3 | payload, only of `frame` and `flow` |

**Subscribing.** Subscribe to `sfam/` for everything but `frame` and `flow`; those two are only sent to those who
subscribe to their full topic, such as `sfam/demo/frame`, and only where the session's privacy tier lets them out (or
`flow`, on a bus of this machine only, while an overlay shows motion). Every new subscriber to a topic or prefix that
covers `session` gets the current `session` message first, and nobody else gets it again.

**Losses.** `seq` counts the messages of one topic from 0. A jump of more than 1 means that messages were lost on the
way to this subscriber, because it or the network was too slow: nothing on the bus ever waits. The same number again is
a repeat. A new `session` id means a new count. Losses before the first message of a topic and after its last show only
in the `session` message: its `next_seq` says, for each topic but `session`, `frame` and `flow`, which number comes
next. In the greeting that is where this subscriber begins, later it is what should have arrived. `subscribe()`,
`sfam tail` and `sfam log` compare both.

**Another analysis.** Where the analysis died and another one went on in the same session, numbers go on with a jump of
1,000 or a little more, so that none comes twice. That jump is no loss: `first_seq` in the `session` message says where
the new one began. How many messages the dead one still sent that did not arrive, nobody knows; `incidents` in `status`
say what happened and which frames have no result.

**Several cameras.** Cameras of one session share the address; each has topics of its own, and `session` is the same in
all of them. The greeting of a new subscriber holds one `session` message per camera; others may see them again, as
repeats.

**The end.** The last message is a `session` with `state` `ended` (or `failed`) and the totals. A process that was
killed says nothing; then `status`, which otherwise comes once a second, stays away.

**Time.** All `t_*_ns` are integer nanoseconds. `t_capture_ns` and `t_publish_ns` are read from the publisher's
monotonic clock; `clock` in the `session` message maps them to UTC. In a replay `t_capture_ns` is the time in the file
instead.

**Age.** In a live session (`devices.live` in the `session` message) UTC now minus `t_capture_ns`, brought to UTC by
`clock`, is how old the frame behind a result is, the analysis included. In a replay, and where no frame is meant, only
`t_publish_ns` tells an age. `subscribe(max_age_ms=...)` and `sfam tail --max-age-ms` go by this.

**Versions.** `schema` names kind and major version. Within a major version fields are only added: ignore what you
do not know.

**Keys.** Beyond this machine the bus needs CURVE keys (`sfam keys new`): a subscriber sets its own pair and the
publisher's public key, all three from the key folder.

Working subscribers in Python, JavaScript and C are in `examples/`.
"""


def written_type(schema: dict[str, Any]) -> str:
    """A field's type in a few letters."""
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    found = schema["type"]
    names = found if isinstance(found, list) else [found]
    return " or ".join(names)


def rows(properties: dict[str, Any], prefix: str = "") -> list[str]:
    """Table rows of fields, and below an object its own fields."""
    table = []
    for name, schema in properties.items():
        table.append(f"| `{prefix}{name}` | {written_type(schema)} | {schema.get('description', '')} |")
        table += rows(schema.get("properties", {}), f"{prefix}{name}.")
    return table


def section(kind: Kind) -> str:
    """What the page says of one kind."""
    schema = load_schema(kind)
    own = dict(list(schema["properties"].items())[COMMON:])
    table = ["| field | type | meaning |", "|---|---|---|", *rows(own)]
    example = json.dumps(schema["examples"][0], indent=2, ensure_ascii=False)
    return "\n".join([f"## {kind}", "", schema["description"], "", *table, "", "```json", example, "```", ""])


def page() -> str:
    """The whole page."""
    common = dict(list(load_schema("event")["properties"].items())[:COMMON])
    common["schema"] = {"type": "string", "description": "kind and major version of this header, `sfam.<kind>/1`"}
    head = ["## Every header begins with", "", "| field | type | meaning |", "|---|---|---|", *rows(common), ""]
    return "\n".join([INTRODUCTION, *head, *(section(kind) for kind in KINDS)])


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
