"""What we ask of every document, beyond its being one: each rule gives the sentences that tell who breaks it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tropilla.common.settings import PREFIX, Settings

Document = dict[str, Any]
Rule = Callable[[Sequence[Document]], Iterator[str]]

WORKLOADS = ("Deployment", "StatefulSet")
SETTINGS = {field.name: field for field in dataclasses.fields(Settings)}
#: What the container's own process needs beyond its drain time: gunicorn five seconds, then the end of Python.
MARGIN_SECONDS = 10


def named(document: Document) -> str:
    return f"{document['kind']} {document['metadata']['name']}"


def workloads(documents: Sequence[Document]) -> list[Document]:
    return [each for each in documents if each["kind"] in WORKLOADS]


def pod(workload: Document) -> Document:
    found: Document = workload["spec"]["template"]
    return found


def container(workload: Document) -> Document:
    (found,) = pod(workload)["spec"]["containers"]
    return dict(found)


def variables(workload: Document) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in container(workload).get("env", [])}


def restricted(documents: Sequence[Document]) -> Iterator[str]:
    """The "restricted" profile of Kubernetes' Pod Security Standards, and a root file system that nobody writes to."""
    for workload in workloads(documents):
        spec, own = pod(workload)["spec"], container(workload)["securityContext"]
        whole = spec["securityContext"]
        if not (
            whole["runAsNonRoot"] and whole["runAsUser"] > 0 and whole["seccompProfile"]["type"] == "RuntimeDefault"
        ):
            yield f"{named(workload)}: its pod may be root or make any system call"
        if own != {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }:
            yield f"{named(workload)}: its container may do more than it has to"
        if spec["automountServiceAccountToken"] is not False:
            yield f"{named(workload)}: it can ask Kubernetes"


def bounded(documents: Sequence[Document]) -> Iterator[str]:
    for workload in workloads(documents):
        resources = container(workload)["resources"]
        if not ("memory" in resources["limits"] and {"cpu", "memory"} <= set(resources["requests"])):
            yield f"{named(workload)}: it may take what it likes"


def probed(documents: Sequence[Document]) -> Iterator[str]:
    """Each has all three; what asks by a process of its own has time for Python to start."""
    for workload in workloads(documents):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            found = container(workload).get(probe)
            if not found:
                yield f"{named(workload)}: it has no {probe}"
            elif "exec" in found and found.get("timeoutSeconds", 1) < 5:
                yield f"{named(workload)}: its {probe} has no time to start"


def configured(documents: Sequence[Document]) -> Iterator[str]:
    """Every variable with our prefix is a setting, or the file of a secret one, and no Service makes further ones."""
    for document in documents:
        names: Sequence[str] = ()
        if document["kind"] == "ConfigMap":
            names = list(document["data"])
        elif document["kind"] in WORKLOADS:
            names = list(variables(document))
            if pod(document)["spec"]["enableServiceLinks"] is not False:
                yield f"{named(document)}: a Service called tropilla-api makes TROPILLA_API_PORT, which is no setting"
        for name in names:
            if name.startswith(PREFIX) and not _known(name.removeprefix(PREFIX).lower()):
                yield f"{named(document)}: {name} is no setting"


def _known(name: str) -> bool:
    stem = name.removesuffix("_file")
    return name in SETTINGS or (stem in SETTINGS and bool(SETTINGS[stem].metadata.get("secret", False)))


def selected(documents: Sequence[Document]) -> Iterator[str]:
    """Every selector finds pods, and those of one workload only, but for the policy that is for all."""
    labels = {named(each): pod(each)["metadata"]["labels"] for each in workloads(documents)}
    for document in documents:
        spec = document.get("spec", {})
        wanted = spec.get("podSelector", spec.get("selector"))
        if wanted is None or document["kind"] == "ServiceMonitor":
            continue
        wanted = wanted.get("matchLabels", wanted)
        found = [name for name, has in labels.items() if wanted.items() <= has.items()]
        for_all = document["kind"] == "NetworkPolicy" and "app.kubernetes.io/component" not in wanted
        if not found or (len(found) > 1 and not for_all):
            yield f"{named(document)}: it selects {found}"
        if document["kind"] in WORKLOADS and found != [named(document)]:
            yield f"{named(document)}: it selects {found}"


def referred(documents: Sequence[Document]) -> Iterator[str]:
    """What is mounted is a volume, and what a volume or a variable is of is there, or was said to be."""
    there = {(each["kind"], each["metadata"]["name"]) for each in documents}
    for workload in workloads(documents):
        spec = pod(workload)["spec"]
        volumes = {volume["name"]: volume for volume in spec.get("volumes", ())}
        claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())}
        for mount in container(workload)["volumeMounts"]:
            if mount["name"] not in volumes and mount["name"] not in claims:
                yield f"{named(workload)}: {mount['name']} is no volume"
        for name, volume in volumes.items():
            if "configMap" in volume and ("ConfigMap", volume["configMap"]["name"]) not in there:
                yield f"{named(workload)}: volume {name} is of a ConfigMap that is not there"
        for source in container(workload).get("envFrom", ()):
            if ("ConfigMap", source["configMapRef"]["name"]) not in there:
                yield f"{named(workload)}: it reads a ConfigMap that is not there"


def patient(documents: Sequence[Document]) -> Iterator[str]:
    """Kubernetes kills nobody who is still within the time that his settings give him to leave."""
    shared = next(each["data"] for each in documents if each["metadata"]["name"].endswith("-settings"))
    drains = {"api": "api_drain_seconds", "worker": "drain_seconds"}
    for workload in workloads(documents):
        setting = drains.get(workload["metadata"]["labels"]["app.kubernetes.io/component"])
        if setting is None:
            continue
        said = {**shared, **variables(workload)}.get(PREFIX + setting.upper(), SETTINGS[setting].default)
        before = int(
            container(workload).get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [0])[-1]
        )
        if pod(workload)["spec"]["terminationGracePeriodSeconds"] < before + float(said) + MARGIN_SECONDS:
            yield f"{named(workload)}: it is killed before {setting} are over"


def aimed(documents: Sequence[Document]) -> Iterator[str]:
    """Who scales scales a workload that is there and does not say itself how many there are."""
    there = {each["metadata"]["name"]: each for each in workloads(documents)}
    for document in documents:
        if document["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
            workload = there.get(document["spec"]["scaleTargetRef"]["name"])
            if workload is None:
                yield f"{named(document)}: it scales nothing"
            elif "replicas" in workload["spec"]:
                yield f"{named(document)}: an upgrade would undo what it has scaled"


RULES: Sequence[Rule] = (restricted, bounded, probed, configured, selected, referred, patient, aimed)
