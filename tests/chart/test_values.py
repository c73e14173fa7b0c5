"""values.schema.json: what people give, and what stops them with a sentence before anything is installed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest

from chart.cases import CASES, GPU, IDLE
from chart.engine import CHART, defaults, values_with
from chart.settings import SCHEMA, for_users

SCHEMATA = json.loads(SCHEMA.read_text())


def refusals(values: Mapping[str, Any]) -> list[str]:
    """The place and the message of everything that is wrong."""
    found = jsonschema.Draft7Validator(SCHEMATA).iter_errors(values_with(values))
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMATA)


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_what_people_give_is_taken(values: Mapping[str, Any]) -> None:
    assert refusals(values) == []


def group(**changes: Any) -> Mapping[str, Any]:
    return {"workerGroups": [{**IDLE, **changes}]}


#: (values, what the message has of the place and the reason)
BAD: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "misspelt": ({"replicaCount": 2}, "'replicaCount' was unexpected"),
    "misspelt below": ({"api": {"replica": 2}}, "api: Additional properties are not allowed ('replica'"),
    "no number": ({"api": {"replicas": "two"}}, "api/replicas: 'two' is not of type 'integer'"),
    "no API": ({"api": {"replicas": 0}}, "api/replicas: 0 is less than the minimum of 1"),
    "yes is no switch": ({"redis": {"enabled": "yes"}}, "redis/enabled: 'yes' is not of type 'boolean'"),
    "no workers": ({"workerGroups": []}, "workerGroups: []"),
    "a flavour": (group(flavour="tpu"), "workerGroups/0/flavour: 'tpu' is not one of ['cpu', 'gpu']"),
    "a name": (group(name="My GPUs"), "workerGroups/0/name: 'My GPUs' does not match"),
    "a model without a path": (group(model="llama"), "workerGroups/0/model: 'llama' does not match"),
    "a model elsewhere": (group(model="a=/etc/passwd"), "workerGroups/0/model"),
    "no resources": ({"workerGroups": [{"name": "a", "flavour": "cpu", "replicas": 1}]}, "'resources' is a required"),
    "memory": (group(resources={"requests": {}, "limits": {"memory": "8 GB"}}), "limits/memory"),
    "from zero": (group(autoscaling={"min": 0, "max": 2, "queueSeconds": 5}), "0 is less than the minimum of 1"),
    "a setting that is none": ({"settings": {"max_ques": 3}}, "settings: Additional properties"),
    "a setting out of range": ({"settings": {"slots": 0}}, "settings/slots: 0 is less than the minimum of 1"),
    "a setting of the chart": ({"settings": {"redis_url": "redis://x"}}, "'redis_url' was unexpected"),
    "a group's setting": (group(settings={"cache_type": "q9"}), "settings/cache_type: 'q9' is not one of"),
    "maxmemory as Kubernetes has it": ({"redis": {"maxmemory": "1Gi"}}, "redis/maxmemory: '1Gi' does not match"),
    "access": ({"storage": {"accessMode": "RWX"}}, "storage/accessMode: 'RWX' is not one of"),
    "a sampler": ({"tracing": {"sampler": "some"}}, "tracing/sampler: 'some' is not one of"),
    "a share": ({"tracing": {"samplerArgument": 0.1}}, "tracing/samplerArgument: 0.1 is not of type 'string'"),
    "a collector": ({"tracing": {"endpoint": "collector:4318"}}, "tracing/endpoint: 'collector:4318' does not match"),
    "Prometheus": ({"keda": {"prometheus": "prometheus:9090"}}, "keda/prometheus"),
    "root": ({"image": {"user": 0}}, "image/user: 0 is less than the minimum of 1"),
    "taken away": ({"image": None}, "'image' is a required property"),
}


@pytest.mark.parametrize(("values", "said"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_named(values: Mapping[str, Any], said: str) -> None:
    assert any(said in refusal for refusal in refusals(values)), refusals(values)


def test_every_setting_is_known_with_its_bounds() -> None:
    """`cd tests && python -m chart.settings` brings the schema up to date."""
    assert SCHEMATA["definitions"]["settings"]["properties"] == for_users()


def test_every_value_has_its_line_in_the_documentation() -> None:
    page = (CHART / "README.md").read_text()
    missing = [name for name in (*_paths(defaults()), *_paths(GPU, "workerGroups[]")) if f"| `{name}` |" not in page]
    assert missing == []


def _paths(values: Mapping[str, Any], below: str = "") -> list[str]:
    """Every value by its path; lists and what people fill themselves are one value."""
    found = []
    for name, value in values.items():
        path = f"{below}.{name}" if below else name
        open_ended = name in ("resources", "settings", "nodeSelector", "annotations", "labels", "podAnnotations")
        found += _paths(value, path) if isinstance(value, Mapping) and value and not open_ended else [path]
    return found
