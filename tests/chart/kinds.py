"""Whether a document is what Kubernetes takes: by its own schemas, strictly; of KEDA's and Prometheus' kinds by what their
documentation has of the fields that the chart uses, which is all that is allowed here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

#: The oldest that Chart.yaml allows and has its schemas here, and the newest.
VERSIONS = ("1.25", "1.37")

Document = dict[str, Any]


def _exactly(required: str, optional: str = "", **known: Any) -> Mapping[str, Any]:
    """An object with these fields and no others."""
    names = [*required.split(), *optional.split()]
    properties = {name: known.get(name, {}) for name in names}
    return {"type": "object", "additionalProperties": False, "required": required.split(), "properties": properties}


_WORDS = {"type": "object", "additionalProperties": {"type": "string"}}
_TEXT = {"type": "string"}
_NUMBER = {"type": "integer", "minimum": 0}
#: keda.sh/docs: ScaledObject, and its Prometheus trigger, whose metadata are all texts.
_SCALED_OBJECT = _exactly(
    "scaleTargetRef triggers",
    "minReplicaCount maxReplicaCount pollingInterval cooldownPeriod fallback advanced",
    scaleTargetRef=_exactly("name", "apiVersion kind"),
    minReplicaCount=_NUMBER,
    maxReplicaCount=_NUMBER,
    pollingInterval=_NUMBER,
    cooldownPeriod=_NUMBER,
    fallback=_exactly("failureThreshold replicas", failureThreshold=_NUMBER, replicas=_NUMBER),
    advanced=_exactly("horizontalPodAutoscalerConfig", horizontalPodAutoscalerConfig=_exactly("behavior")),
    triggers={
        "type": "array",
        "minItems": 1,
        "items": _exactly(
            "type metadata",
            "metricType",
            type={"const": "prometheus"},
            metricType={"enum": ["AverageValue", "Value"]},
            metadata=_exactly(
                "serverAddress query threshold",
                "activationThreshold namespace ignoreNullValues",
                **dict.fromkeys(("serverAddress", "query", "threshold", "ignoreNullValues"), _TEXT),
            ),
        ),
    },
)
#: prometheus-operator.dev: ServiceMonitor.
_SERVICE_MONITOR = _exactly(
    "selector endpoints",
    "namespaceSelector jobLabel",
    selector=_exactly("matchLabels", matchLabels=_WORDS),
    endpoints={
        "type": "array",
        "items": _exactly(
            "port path",
            "interval authorization",
            authorization=_exactly("credentials", "type", credentials=_exactly("name key")),
        ),
    },
)
_RULES = _exactly("groups", groups={"type": "array", "minItems": 1, "items": _exactly("name rules", "interval")})
_CUSTOM: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("keda.sh/v1alpha1", "ScaledObject"): _SCALED_OBJECT,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): _SERVICE_MONITOR,
    ("monitoring.coreos.com/v1", "PrometheusRule"): _RULES,
}


def complaints(document: Document) -> Iterator[str]:
    """What is wrong with it, in sentences."""
    what = f"{document['kind']} {document['metadata']['name']}"
    spec = _CUSTOM.get((document["apiVersion"], document["kind"]))
    if spec is not None:
        whole = _exactly("apiVersion kind metadata spec", spec=spec)
        yield from (f"{what}: {error.message}" for error in jsonschema.Draft7Validator(whole).iter_errors(document))
        return
    for version in VERSIONS:
        validator = _validator(document["apiVersion"], document["kind"], version)
        for error in validator.iter_errors(document):
            yield f"{what} ({version}): {'/'.join(map(str, error.absolute_path))}: {error.message}"


@functools.cache
def _validator(api_version: str, kind: str, version: str) -> jsonschema.Draft202012Validator:
    """As kubernetes_validate.validate makes it, which reads its megabytes anew for every document."""
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    folder = f"kubernetes-json-schema/v{version}.0-local-strict"
    schema = schema_contents(f"{folder}/{kind.lower()}-{group}.json", version)
    registry = Resource.from_contents(schema) @ _definitions(folder, version)
    return jsonschema.Draft202012Validator(schema, registry=registry)


@functools.cache
def _definitions(folder: str, version: str) -> Registry[Any]:
    return Resource.from_contents(schema_contents(f"{folder}/_definitions.json", version)) @ Registry()
