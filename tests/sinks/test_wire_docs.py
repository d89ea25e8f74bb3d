from __future__ import annotations

from benchmarks.write_wire_docs import PAGE, page
from sfam.sinks.wire import KINDS, load_schema


def test_the_page_about_the_wire_says_what_the_schemas_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python benchmarks/write_wire_docs.py"


def test_the_page_names_every_field_of_every_kind() -> None:
    text = page()
    for kind in KINDS:
        for name in load_schema(kind)["properties"]:
            assert f"`{name}`" in text
