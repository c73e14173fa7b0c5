"""Events -> the stream of POST /generate_stream and POST /: one event per token, no `[DONE]` (sheet, section 7)."""

from __future__ import annotations

from collections.abc import Iterable

from tropilla.api.surface import JSON, Call, Clock, Frame
from tropilla.api.surfaces.tgi.details import finish_reason, generated_text, seed_used, token_json, top_tokens_json
from tropilla.api.surfaces.tgi.fault import broken_stream
from tropilla.api.surfaces.tgi.parse import Answer
from tropilla.common.errors import from_failed
from tropilla.common.generation import Event, Failed, Finished, Token


class TokenFrames:
    """The last token's event also says how it ended, so it waits for the `Finished` that follows at once.

    A `Finished` without a last token (a cancelled request, which nobody reads) sends nothing.
    """

    def __init__(self, call: Call, clock: Clock) -> None:  # noqa: ARG002
        self._call = call
        self._answer: Answer = call.answer
        self._texts: list[str] = []
        self._waiting: Token | None = None

    def feed(self, event: Event) -> Iterable[Frame]:
        match event:
            case Token():
                self._texts.append(event.text)
                if event.last:
                    self._waiting = event
                    return ()
                return (self._frame(event),)
            case Finished():
                return () if self._waiting is None else (self._frame(self._waiting, event),)
            case Failed():
                told = () if self._waiting is None else (self._frame(self._waiting),)
                return (*told, Frame(broken_stream(from_failed(event))))
        return ()

    def _frame(self, token: Token, finished: Finished | None = None) -> Frame:
        """`generated_text` and `details` are there in every event, null until the last."""
        data: dict[str, JSON] = {"index": len(self._texts), "token": token_json(token)}
        if self._answer.top_tokens:
            data["top_tokens"] = top_tokens_json(token)
        data["generated_text"] = None if finished is None else generated_text(self._answer, "".join(self._texts))
        data["details"] = self._details(finished) if finished is not None and self._answer.details else None
        return Frame(data)

    def _details(self, finished: Finished) -> JSON:
        return {
            "finish_reason": finish_reason(self._call.request, finished),
            "generated_tokens": finished.usage.generated,
            "seed": seed_used(self._answer, finished),
            "input_length": finished.usage.prompt,
        }
