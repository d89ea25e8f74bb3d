"""Messages against their schemas; each schema is itself checked once only, which takes longer than many messages."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import jsonschema

from sfam.sinks.wire import Kind, load_schema


@cache
def _validator(kind: Kind) -> jsonschema.Draft202012Validator:
    schema = load_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def require_valid(header: Any, kind: str) -> None:
    """Fail where a message's header does not fit the schema of its kind."""
    _validator(cast(Kind, kind)).validate(header)
