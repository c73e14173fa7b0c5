"""How the dashboards ask Prometheus. Pure."""

from __future__ import annotations

from tropilla.compose.observability.panels import Query

#: What picks the models that are chosen above.
OF = 'model=~"$model"'
GEN_AI = 'gen_ai_request_model=~"$model"'


def once(expression: str) -> str:
    """Every API process tells the whole cluster's numbers: of several that are scraped, one."""
    return f"max without (instance, pod) ({expression})"


def summed(expression: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) ({once(expression)})" if by else f"sum({once(expression)})"


def rate(name: str, *by: str, where: str = "") -> str:
    return summed(f"rate({name}{{{where}}}[$__rate_interval])", *by)


def percentiles(histogram: str, where: str, by: str = "") -> tuple[Query, ...]:
    """The median, and what one in twenty and one in a hundred exceed."""
    labels = (by, "le") if by else ("le",)
    buckets = rate(f"{histogram}_bucket", *labels, where=where)
    legend = f" {{{{{by}}}}}" if by else ""
    return tuple(
        Query(f"histogram_quantile({share}, {buckets})", f"p{share * 100:.0f}{legend}") for share in (0.5, 0.95, 0.99)
    )


def share(part: str, whole: str) -> str:
    return f"{part} / {whole}"
