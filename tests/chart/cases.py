"""Values that people give, one case for each choice that changes what is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RESOURCES = {"requests": {"cpu": "4", "memory": "16Gi"}, "limits": {"memory": "24Gi"}}
#: A group that loads what is asked for, as values.yaml has it.
IDLE = {"name": "cpu", "flavour": "cpu", "replicas": 2, "resources": _RESOURCES}
GPU = {
    "name": "gpu-8b",
    "flavour": "gpu",
    "model": "llama3.1:8b=/models/llama-3.1-8b-q4_k_m.gguf",
    "replicas": 2,
    "gpus": 2,
    "resources": _RESOURCES,
    "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L4"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "settings": {"slots": 32, "drain_seconds": 120, "cache_type": "q8_0"},
    "cacheSize": "40Gi",
    "autoscaling": {"min": 1, "max": 6, "queueSeconds": 20},
}
POCKET = {**IDLE, "name": "pocket", "model": "pocket"}
_MODELS = {"existingClaim": "gguf"}
_MONITORING = {"keySecret": "scrape-key", "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}

CASES: Mapping[str, Mapping[str, Any]] = {
    "defaults": {},
    "a Redis of one's own": {"redis": {"enabled": False, "existingSecret": "my-redis"}},
    "GPUs beside CPUs": {"workerGroups": [IDLE, GPU, POCKET], "models": _MODELS},
    "KEDA": {
        "keda": {"enabled": True},
        "workerGroups": [{**IDLE, "autoscaling": {"min": 1, "max": 4, "queueSeconds": 10}}, GPU, POCKET],
        "models": _MODELS,
    },
    "an ingress": {"ingress": {"enabled": True, "host": "llm.example.com"}},
    "an ingress with TLS": {
        "ingress": {
            "enabled": True,
            "host": "llm.example.com",
            "tlsSecret": "llm-tls",
            "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "8g", "cert-manager.io/issuer": "le"},
        }
    },
    "no policies": {"networkPolicy": {"enabled": False}},
    "narrow policies": {
        "networkPolicy": {
            "apiFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}],
            "flowerFrom": [{"podSelector": {"matchLabels": {"app": "bastion"}}}],
        },
        "flower": {"enabled": True},
    },
    "Flower": {"flower": {"enabled": True}},
    "Flower with a password of one's own": {"flower": {"enabled": True, "existingSecret": "my-flower"}},
    "Prometheus' operator": {"metrics": _MONITORING},
    "Prometheus' operator, no keys": {"api": {"keys": "off"}, "metrics": {"serviceMonitor": {"enabled": True}}},
    "traces": {
        "tracing": {
            "endpoint": "http://otel-collector.monitoring:4318",
            "headersSecret": "otel-headers",
            "sampler": "parentbased_traceidratio",
            "samplerArgument": "0.1",
            "resourceAttributes": "deployment.environment.name=production",
        }
    },
    "more API processes under load": {"api": {"autoscaling": {"enabled": True}, "disruptionBudget": False}},
    "storage for many nodes": {"storage": {"accessMode": "ReadWriteMany", "className": "cephfs"}},
    "storage of one's own": {"storage": {"existingClaim": "shared"}},
    "settings": {
        "settings": {
            "max_body_bytes": 104857600,
            "api_drain_seconds": 300,
            "drain_seconds": 30,
            "heartbeat_seconds": 7.5,
            "model_aliases": "gpt-4o=llama3.1:8b",
        }
    },
    "names": {
        "fullnameOverride": "chat",
        "image": {"pullSecrets": ["registry"], "repository": "registry.local:5000/t"},
    },
    "places": {
        "api": {"nodeSelector": {"disk": "ssd"}, "podAnnotations": {"team": "ml"}, "readinessPath": "/readyz"},
        "redis": {"tolerations": [{"operator": "Exists"}], "storage": {"className": "ssd"}},
        "store": {"nodeSelector": {"disk": "ssd"}},
    },
}
