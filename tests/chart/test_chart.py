"""Every document that the chart makes is one that Kubernetes takes, and keeps our own rules; and says what it was told."""

from __future__ import annotations

import base64
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import yaml
from tropilla.common.gotemplate.faults import ExecutionError

from chart import rules
from chart.cases import CASES, GPU, IDLE, POCKET
from chart.engine import CHART, NOTES, Chart, Document, Release
from chart.kinds import complaints

ROOT = CHART.parents[2]


@pytest.fixture(scope="module")
def chart() -> Chart:
    return Chart()


def one(documents: Sequence[Document], kind: str, name: str) -> Document:
    (found,) = [each for each in documents if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def kinds(documents: Sequence[Document]) -> set[str]:
    return {rules.named(each) for each in documents}


@pytest.fixture(scope="module")
def made(chart: Chart) -> Mapping[str, Sequence[Document]]:
    """Every case's documents, to be looked at."""
    return {name: chart.render(values) for name, values in CASES.items()}


@pytest.mark.parametrize("case", CASES)
def test_kubernetes_takes_every_document(made: Mapping[str, Sequence[Document]], case: str) -> None:
    documents = made[case]
    assert [complaint for document in documents for complaint in complaints(document)] == []
    assert len(kinds(documents)) == len(documents), "two are called alike"


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_our_own_rules_are_kept(made: Mapping[str, Sequence[Document]], rule: rules.Rule) -> None:
    broken = {case: list(rule(documents)) for case, documents in made.items()}
    assert broken == {case: [] for case in CASES}


def spoilt(documents: Sequence[Document], name: str) -> Document:
    """The workload of that name, to be changed."""
    return next(each for each in rules.workloads(documents) if each["metadata"]["name"] == name)


def _root(documents: Sequence[Document]) -> None:
    rules.pod(spoilt(documents, "tropilla-api"))["spec"]["securityContext"]["runAsUser"] = 0


def _greedy(documents: Sequence[Document]) -> None:
    del rules.container(spoilt(documents, "tropilla-store"))["resources"]["limits"]["memory"]


def _hasty(documents: Sequence[Document]) -> None:
    rules.container(spoilt(documents, "tropilla-store"))["livenessProbe"]["timeoutSeconds"] = 1


def _misspelt(documents: Sequence[Document]) -> None:
    rules.container(spoilt(documents, "tropilla-api"))["env"].append({"name": "TROPILLA_HOTS", "value": "x"})


def _linked(documents: Sequence[Document]) -> None:
    del rules.pod(spoilt(documents, "tropilla-worker-cpu"))["spec"]["enableServiceLinks"]
    rules.pod(spoilt(documents, "tropilla-worker-cpu"))["spec"]["enableServiceLinks"] = True


def _lost(documents: Sequence[Document]) -> None:
    one(documents, "Service", "tropilla-redis")["spec"]["selector"]["app.kubernetes.io/component"] = "rediss"


def _unmounted(documents: Sequence[Document]) -> None:
    rules.pod(spoilt(documents, "tropilla-worker-cpu"))["spec"]["volumes"].pop()


def _impatient(documents: Sequence[Document]) -> None:
    rules.pod(spoilt(documents, "tropilla-api"))["spec"]["terminationGracePeriodSeconds"] = 30


def _fought(documents: Sequence[Document]) -> None:
    spoilt(documents, "tropilla-worker-cpu")["spec"]["replicas"] = 1


SPOILT = {
    "restricted": _root,
    "bounded": _greedy,
    "probed": _hasty,
    "configured": _misspelt,
    "configured, too": _linked,
    "selected": _lost,
    "referred": _unmounted,
    "patient": _impatient,
    "aimed": _fought,
}


@pytest.mark.parametrize("rule", SPOILT)
def test_each_rule_sees_who_breaks_it(chart: Chart, rule: str) -> None:
    group = {**IDLE, "autoscaling": {"min": 1, "max": 4, "queueSeconds": 10}}
    documents = chart.render({"keda": {"enabled": True}, "workerGroups": [group]})
    SPOILT[rule](documents)
    (judge,) = [each for each in rules.RULES if each.__name__ == rule.split(",")[0]]
    assert list(judge(documents)) != []


def test_a_document_that_kubernetes_does_not_take_is_seen() -> None:
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}
    assert any("prots" in complaint for complaint in complaints(wrong))


def test_workers_are_what_their_group_says(chart: Chart) -> None:
    documents = chart.render({"workerGroups": [IDLE, GPU, POCKET], "models": {"existingClaim": "gguf"}})
    idle, gpu, pocket = (
        one(documents, "Deployment", f"tropilla-worker-{name}") for name in ("cpu", "gpu-8b", "pocket")
    )
    assert rules.container(idle)["command"] == ["tropilla", "worker", "--idle"]
    assert rules.container(pocket)["command"] == rules.container(gpu)["command"] == ["tropilla", "worker"]
    assert "TROPILLA_MODEL" not in rules.variables(idle).keys() | rules.variables(pocket).keys()
    said = rules.variables(gpu)
    assert said["TROPILLA_MODEL"] == GPU["model"]
    assert (said["TROPILLA_FLAVOUR"], said["TROPILLA_SLOTS"], said["TROPILLA_DRAIN_SECONDS"]) == ("gpu", "32", "120")
    assert said["TROPILLA_BLOBS_URL"] == "http://tropilla-files.llm.svc.cluster.local:8000"
    assert rules.container(gpu)["resources"]["limits"] == {"memory": "24Gi", "nvidia.com/gpu": 2}
    assert [rules.container(each)["image"] for each in (idle, gpu)] == ["tropilla:cpu", "tropilla:cuda"]
    assert rules.pod(gpu)["spec"]["nodeSelector"] == GPU["nodeSelector"]
    assert gpu["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_settings_are_texts_as_people_write_them(chart: Chart) -> None:
    data = one(chart.render(CASES["settings"]), "ConfigMap", "tropilla-settings")["data"]
    assert data == {
        "TROPILLA_KEYS": "on",
        "TROPILLA_MAX_BODY_BYTES": "104857600",
        "TROPILLA_API_DRAIN_SECONDS": "300",
        "TROPILLA_DRAIN_SECONDS": "30",
        "TROPILLA_HEARTBEAT_SECONDS": "7.5",
        "TROPILLA_MODEL_ALIASES": "gpt-4o=llama3.1:8b",
    }


def test_pods_start_again_for_settings_and_for_nothing_else(chart: Chart) -> None:
    def checksum(values: Mapping[str, Any]) -> str:
        api = one(chart.render(values), "Deployment", "tropilla-api")
        return str(rules.pod(api)["metadata"]["annotations"]["checksum/settings"])

    assert checksum({}) == checksum({"api": {"replicas": 5}}) != checksum({"settings": {"slots": 2}})


def test_an_upgrade_keeps_what_was_made(chart: Chart) -> None:
    values = {"flower": {"enabled": True}}
    first = chart.render(values)
    made = {each["metadata"]["name"]: each for each in first if each["kind"] == "Secret"}
    assert set(made) == {"tropilla-redis", "tropilla-flower"}
    again = chart.render(values, Release(cluster=made))
    assert {each["metadata"]["name"]: each["data"] for each in again if each["kind"] == "Secret"} == {
        name: each["data"] for name, each in made.items()
    }
    other = chart.render(values, Release(cluster=made, namespace="elsewhere"))
    assert one(other, "Secret", "tropilla-redis")["data"]["redis-url"] != made["tropilla-redis"]["data"]["redis-url"]


def test_redis_has_one_password_for_all_who_need_it(chart: Chart) -> None:
    data = {
        name: base64.b64decode(value).decode()
        for name, value in one(chart.render({}), "Secret", "tropilla-redis")["data"].items()
    }
    password = data["redis-password"]
    assert len(password) == 32
    assert data["secret.conf"] == f"requirepass {password}\n"
    assert data["redis-url"] == f"redis://:{password}@tropilla-redis.llm.svc.cluster.local:6379/0"
    shown = yaml.safe_dump([each for each in chart.render({}) if each["kind"] != "Secret"])
    assert password not in shown


def test_redis_throws_nothing_away_and_starts_again_only_for_its_own_settings(chart: Chart) -> None:
    def found(values: Mapping[str, Any]) -> tuple[str, Document]:
        documents = chart.render(values)
        conf = one(documents, "ConfigMap", "tropilla-redis")["data"]["redis.conf"]
        return conf, rules.pod(one(documents, "StatefulSet", "tropilla-redis"))["metadata"]

    conf, pod = found({})
    assert {"appendonly yes", "maxmemory 1gb", "maxmemory-policy noeviction"} <= set(conf.splitlines())
    assert found({"settings": {"slots": 2}}) == (conf, pod)
    assert found({"redis": {"maxmemory": "4gb"}})[1] != pod
    assert not any("version" in label or "chart" in label for label in pod["labels"])


def test_a_redis_of_ones_own_is_the_only_one(chart: Chart) -> None:
    documents = chart.render(CASES["a Redis of one's own"])
    assert not any("redis" in name.lower() for name in kinds(documents))
    (volume,) = [v for v in _volumes(one(documents, "Deployment", "tropilla-api")) if v["name"] == "redis-url"]
    assert volume["secret"]["secretName"] == "my-redis"


def _volumes(workload: Document) -> list[Document]:
    return list(rules.pod(workload)["spec"]["volumes"])


def test_workers_scale_by_how_long_their_model_is_waited_for(chart: Chart) -> None:
    documents = chart.render(CASES["KEDA"])
    scaled = {each["metadata"]["name"]: each["spec"] for each in documents if each["kind"] == "ScaledObject"}
    assert set(scaled) == {"tropilla-worker-cpu", "tropilla-worker-gpu-8b"}
    query = scaled["tropilla-worker-gpu-8b"]["triggers"][0]["metadata"]["query"]
    assert (
        query == 'max(tropilla_queue_oldest_seconds{namespace="llm",flavour="gpu",class!="batch",model="llama3.1:8b"})'
    )
    any_model = scaled["tropilla-worker-cpu"]["triggers"][0]["metadata"]["query"]
    assert any_model == 'max(tropilla_queue_oldest_seconds{namespace="llm",flavour="cpu",class!="batch"})'
    assert scaled["tropilla-worker-gpu-8b"]["fallback"]["replicas"] == GPU["replicas"]
    assert one(documents, "Deployment", "tropilla-worker-pocket")["spec"]["replicas"] == 2


def test_only_the_api_is_reached_and_redis_by_ours_only(chart: Chart) -> None:
    documents = chart.render({"flower": {"enabled": True}})
    policies = {each["metadata"]["name"]: each["spec"] for each in documents if each["kind"] == "NetworkPolicy"}
    assert set(policies) == {"tropilla", "tropilla-api", "tropilla-redis"}
    assert "ingress" not in policies["tropilla"], "what a policy does not allow is refused"
    (to_redis,) = policies["tropilla-redis"]["ingress"]
    allowed = {each["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in to_redis["from"]}
    assert allowed == {"api", "worker", "store", "flower"}
    assert "egress" not in policies["tropilla-redis"]
    assert policies["tropilla-api"]["ingress"] == [{"ports": [{"port": "http"}]}]


def test_whoever_narrows_the_api_keeps_its_workers_fetching(chart: Chart) -> None:
    spec = one(chart.render(CASES["narrow policies"]), "NetworkPolicy", "tropilla-api")["spec"]
    (rule,) = spec["ingress"]
    components = [each.get("podSelector", {}).get("matchLabels", {}) for each in rule["from"]]
    assert components[0]["app.kubernetes.io/component"] == "worker"
    assert len(components) == 2


def test_an_ingress_lets_tokens_through_as_they_come(chart: Chart) -> None:
    plain = one(chart.render(CASES["an ingress"]), "Ingress", "tropilla")["metadata"]["annotations"]
    assert plain["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    own = one(chart.render(CASES["an ingress with TLS"]), "Ingress", "tropilla")
    assert own["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"] == "8g"
    assert own["spec"]["tls"] == [{"hosts": ["llm.example.com"], "secretName": "llm-tls"}]


def test_who_shares_a_volume_of_one_node_is_on_that_node(chart: Chart) -> None:
    near = rules.pod(one(chart.render({}), "Deployment", "tropilla-api"))["spec"]
    assert "podAffinity" in near["affinity"]
    far = rules.pod(one(chart.render(CASES["storage for many nodes"]), "Deployment", "tropilla-api"))["spec"]
    assert "affinity" not in far
    assert "topologySpreadConstraints" in far


ALERTS = """groups:
  - name: tropilla
    rules:
      - alert: NobodyIsServed
        expr: max(tropilla_queue_oldest_seconds) > 60
        annotations:
          summary: "{{ $labels.model }} is waited for"
"""


def test_alerts_are_taken_as_they_are(chart: Chart) -> None:
    """Their own templates are Prometheus', and not Helm's."""
    values = {"metrics": {"prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}}}}
    rule = one(chart.render(values, Release(files={"files/alerts.yml": ALERTS})), "PrometheusRule", "tropilla")
    assert list(complaints(rule)) == []
    assert rule["spec"] == yaml.safe_load(ALERTS)
    assert rule["metadata"]["labels"]["release"] == "prometheus"


def test_the_job_that_is_scraped_has_the_name_that_alerts_ask_for(made: Mapping[str, Sequence[Document]]) -> None:
    """Left to itself it would be called as the Service is, which is called as the release is."""
    documents = made["Prometheus' operator"]
    monitor = one(documents, "ServiceMonitor", "tropilla")
    service = one(documents, "Service", "tropilla-api")
    job = service["metadata"]["labels"][monitor["spec"]["jobLabel"]]
    asked = set(re.findall(r'job="([^"]*)"', (CHART / "files" / "alerts.yml").read_text()))
    assert asked == {job}


#: Values that no schema can refuse, and the sentence.
TOGETHER: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "no Redis at all": ({"redis": {"enabled": False}}, "redis.existingSecret"),
    "an ingress for nobody": ({"ingress": {"enabled": True}}, "ingress.host"),
    "metrics without a key": ({"metrics": {"serviceMonitor": {"enabled": True}}}, "metrics.keySecret"),
    "two of a name": ({"workerGroups": [IDLE, IDLE]}, "two groups are called cpu"),
    "a file without a volume": ({"workerGroups": [GPU]}, "models.existingClaim"),
    "least above most": (
        {"workerGroups": [{**IDLE, "autoscaling": {"min": 5, "max": 2, "queueSeconds": 1}}]},
        "cpu scales to 2 at the most, which is less than its least, 5",
    ),
    "least above most, of the API": ({"api": {"autoscaling": {"enabled": True, "min": 9}}}, "api.autoscaling"),
}


@pytest.mark.parametrize(("values", "sentence"), TOGETHER.values(), ids=TOGETHER)
def test_what_does_not_go_together_stops_the_install(chart: Chart, values: Mapping[str, Any], sentence: str) -> None:
    with pytest.raises(ExecutionError, match=sentence):
        chart.render(values)


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_the_notes_can_be_shown(chart: Chart, values: Mapping[str, Any]) -> None:
    shown = chart.text(NOTES, values)
    assert "<no value>" not in shown
    assert ("NO KEYS" in shown) == (values.get("api", {}).get("keys") == "off")


def test_the_notes_show_no_secret(chart: Chart) -> None:
    values = {"flower": {"enabled": True}}
    secrets = [each["data"] for each in chart.render(values) if each["kind"] == "Secret"]
    shown = chart.text(NOTES, values)
    assert not any(base64.b64decode(value).decode().strip() in shown for data in secrets for value in data.values())


def test_the_chart_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    said = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert said["appVersion"] == said["version"] == project["version"]


def test_every_process_of_ours_knows_where_spans_go(made: Mapping[str, Sequence[Document]]) -> None:
    told = one(made["traces"], "ConfigMap", "tropilla-settings")["data"]
    assert {name: value for name, value in told.items() if name.startswith("OTEL_")} == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel-collector.monitoring:4318",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.1",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=production",
    }
    for name in ("tropilla-api", "tropilla-store", "tropilla-worker-cpu"):
        (headers,) = [
            variable
            for variable in rules.container(spoilt(made["traces"], name))["env"]
            if variable["name"] == "OTEL_EXPORTER_OTLP_HEADERS"
        ]
        assert headers["valueFrom"]["secretKeyRef"] == {"name": "otel-headers", "key": "headers"}


def test_where_nobody_collects_spans_nothing_is_said_of_them(made: Mapping[str, Sequence[Document]]) -> None:
    assert "OTEL_" not in str(made["defaults"])
