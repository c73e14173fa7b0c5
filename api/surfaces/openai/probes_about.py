"""What the document says of the pages that balancers and orchestrators look at."""

from __future__ import annotations

from tropilla.api.about import FLAG, NUMBER, TEXT, About, Shape, one_of, or_null, record, several
from tropilla.api.surfaces.openai.about import ERROR

_TROUBLES: Shape = {"type": "object", "additionalProperties": record("", {"code": TEXT, "message": TEXT})}
_WORKER = record(
    "ReadinessWorker",
    {
        "name": TEXT,
        "flavour": one_of("cpu", "gpu"),
        "state": one_of("loading", "ready", "draining"),
        "decodes": FLAG,
        "reason": TEXT,
        "computed_seconds_ago": or_null(NUMBER),
        "canary_seconds": or_null(NUMBER),
    },
)
_READINESS = record(
    "Readiness",
    {
        "status": one_of("ready", "unready", "draining"),
        "models": several(TEXT),
        "unavailable": _TROUBLES,
        "workers": {"type": "object", "additionalProperties": several(_WORKER)},
        "redis": record("", {"answers": FLAG, "seconds": or_null(NUMBER)}),
        "store": record("", {"lives": FLAG}),
    },
)
READY = About(
    "Say which models can answer, which workers decode, and why others do not",
    gives=_READINESS,
    also={404: ERROR, 503: _READINESS},
    query={"model": {"type": "string", "description": "only this one counts"}},
)
_LIVENESS = record(
    "Liveness",
    {"status": one_of("alive", "wedged"), "threads": {"type": "object", "additionalProperties": TEXT}},
)
LIVE = About("Say whether this process still turns", gives=_LIVENESS, also={503: _LIVENESS})
