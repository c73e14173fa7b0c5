"""HTTP by hand: what goes over the wire, line by line, without a client that forgives."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any

from cluster.herd import Herd

OPENAI, OLLAMA, TGI = "/v1/completions", "/api/generate", "/generate_stream"


class Answer:
    """One answer, its body still on the wire. To be closed: closing early is hanging up."""

    def __init__(
        self,
        herd: Herd,
        path: str,
        body: bytes,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        connection: http.client.HTTPConnection | None = None,
    ) -> None:
        self._connection = connection or http.client.HTTPConnection("127.0.0.1", herd.api_port, timeout=60)
        self._connection.request(method, path, body, dict(headers or {}))
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.headers = self._response.headers

    @property
    def request_id(self) -> str:
        """The generation's own id, where the request bears it."""
        return self.headers["x-request-id"].removeprefix("req_")

    @property
    def local_port(self) -> int:
        """Ours, by which the process at the other end is found."""
        return int(self._connection.sock.getsockname()[1])

    def lines(self) -> Iterator[bytes]:
        """Every line that is not empty."""
        for line in self._response:
            if line.strip():
                yield line.strip()

    def items(self) -> Iterator[Any]:
        """Every SSE or NDJSON object; `[DONE]` as text."""
        for line in self.lines():
            data = line.removeprefix(b"data:").strip()
            if not data.startswith((b":", b"id:", b"event:")):
                yield "[DONE]" if data == b"[DONE]" else json.loads(data)

    def json(self) -> Any:
        return json.loads(self._response.read())

    def text(self) -> str:
        return self.data().decode()

    def data(self) -> bytes:
        return self._response.read()

    def some(self) -> bytes:
        """What has arrived, at least a byte; nothing at the end."""
        return self._response.read1(1 << 16)

    def close(self) -> None:
        self._response.close()
        self._connection.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def post(herd: Herd, path: str, body: object) -> Answer:
    return Answer(herd, path, body if isinstance(body, bytes) else json.dumps(body).encode())


def get(herd: Herd, path: str) -> Answer:
    return Answer(herd, path, b"", "GET")


def ask(path: str, prompt: str, model: str, *, tokens: int, stream: bool = True, **sampling: Any) -> dict[str, Any]:
    """The same raw-prompt request in each dialect. sampling: temperature, top_k, top_p, seed."""
    if path == OPENAI:
        return {"model": model, "prompt": prompt, "max_tokens": tokens, "stream": stream, **sampling}
    if path == OLLAMA:
        options = {"num_predict": tokens, **sampling}
        return {"model": model, "prompt": prompt, "raw": True, "stream": stream, "options": options}
    parameters = {"max_new_tokens": tokens, "details": True, **{k: v for k, v in sampling.items() if v}}
    return {"inputs": prompt, "parameters": parameters, "stream": stream}


def text_of(path: str, items: list[Any]) -> str:
    """The text a stream of one choice adds up to."""
    objects = [item for item in items if isinstance(item, dict)]
    if path == OPENAI:
        return "".join(choice["text"] for item in objects for choice in item["choices"])
    if path == OLLAMA:
        return "".join(item["response"] for item in objects)
    return "".join(item["token"]["text"] for item in objects if not item["token"]["special"])
