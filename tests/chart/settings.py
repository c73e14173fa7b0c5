"""Which settings the chart's users may give, and within which bounds.

After a change to common/settings.py `python -m chart.settings`, in the folder tests, writes them into the schema.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from tropilla.common.settings import Settings

from chart.engine import CHART

SCHEMA = CHART / "values.schema.json"
#: What the chart says itself, or what no process in a cluster reads. Secrets are in Secrets.
OWN = frozenset(
    {"redis_url", "home", "host", "port", "url", "keys", "api_key", "worker_name", "flavour", "model", "blobs_url"}
    | {"flower_port", "flower_host", "flower_auth", "manifest", "import_folders"}
)
_TYPES = {"int": "integer", "float": "number", "str": "string"}


def for_users() -> Mapping[str, Any]:
    """Setting -> its schema."""
    fields = {field.name: field for field in dataclasses.fields(Settings) if field.type in _TYPES}
    return {
        name: _schema(field)
        for name, field in fields.items()
        if name not in OWN and not field.metadata.get("secret", False)
    }


def _schema(field: dataclasses.Field[Any]) -> Mapping[str, Any]:
    bounds = field.metadata
    if "among" in bounds:
        return {"enum": list(bounds["among"])}
    limits = {"minimum": bounds["low"], "maximum": bounds["high"]} if "low" in bounds else {}
    return {"type": _TYPES[str(field.type)], **limits}


def main() -> None:
    schema = json.loads(SCHEMA.read_text())
    schema["definitions"]["settings"]["properties"] = for_users()
    SCHEMA.write_text(json.dumps(schema, indent=2) + "\n")


if __name__ == "__main__":
    main()
