"""What is wrong with a manifest as a whole; what is wrong with one entry of it is that entry's `Trouble`."""

from __future__ import annotations

from tropilla.common.errors import RequestError


class ManifestError(RequestError):
    """One sentence, in aikit's words where it has some. `param` is the dotted path of what is at fault, if one thing is."""
