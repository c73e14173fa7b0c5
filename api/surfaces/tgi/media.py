"""Which content types a TGI route reads: JSON, and what clients call it who say nothing of it."""

from __future__ import annotations

from tropilla.common.errors import UnsupportedMedia

#: Upstream insists on JSON. `curl -d` says it sends a form, and a body without a type may be anything: JSON, most likely.
TOLERATED = frozenset({"", "application/json", "application/x-www-form-urlencoded"})


def check_media(content_type: str) -> None:
    """Raises `UnsupportedMedia`."""
    media = content_type.partition(";")[0].strip().lower()
    if media not in TOLERATED and not media.endswith("+json"):
        raise UnsupportedMedia("Expected request with `Content-Type: application/json`")
