"""Every error as OpenAI says it, and its sentence once more where Jan's and cortex' clients look for it: `message`."""

from __future__ import annotations

from collections.abc import Mapping

from tropilla.api.surface import ErrandRefused, Reply
from tropilla.api.surfaces.openai import faults as openai
from tropilla.common.catalogue import Trouble
from tropilla.common.errands import RefusalCode
from tropilla.common.errors import ModelUnavailable, RequestError, StoreClosed, TropillaError

#: (status, type, code)
_Form = tuple[int, str, str]
_REFUSED: Mapping[RefusalCode, _Form] = {
    "invalid": (400, "invalid_request_error", "invalid_value"),
    "unknown": (404, "invalid_request_error", "model_not_found"),
    "forbidden": (403, "invalid_request_error", "forbidden"),
    "conflict": (409, "invalid_request_error", "conflict"),
    "failed": (500, "server_error", "failed"),
    "cancelled": (409, "invalid_request_error", "cancelled"),
}

#: A field of an errand, or of the recipe in it -> what callers know it by, where that is another word.
_FIELDS: Mapping[str | None, str] = {
    "path": "modelPath",
    "name": "model",
    "source": "model",
    "projector": "mmproj",
    "context": "ctx_len",
    "slots": "n_parallel",
    "threads": "cpu_threads",
    "gpu_layers": "ngl",
    "template": "prompt_template",
}


class UnknownTask(RequestError):
    status = 404


class Troubled(RequestError):
    """The model is there, and no worker can have it."""

    status = 503

    def __init__(self, name: str, trouble: Trouble) -> None:
        super().__init__(f"model '{name}' cannot be started: {trouble.message}", param="model")
        self.trouble = trouble


def fault(error: TropillaError) -> Reply:
    if isinstance(error, ErrandRefused):
        error.param = _FIELDS.get(error.param, error.param)
        return _said(error, *_REFUSED[error.code])
    if isinstance(error, UnknownTask):
        return _said(error, 404, "invalid_request_error", "task_not_found")
    if isinstance(error, Troubled):
        status = 501 if error.trouble.code == "backend_unsupported" else 503
        return _said(error, status, "server_error", error.trouble.code)
    if isinstance(error, StoreClosed):
        told = {"message": error.message, "type": "server_error", "param": None, "code": "store_closed"}
        return Reply({"error": told, "error_type": "store_closed", "message": error.message}, 503)
    if isinstance(error, ModelUnavailable):
        said = _said(error, error.status, "server_error", error.code)
        return Reply(said.body, said.status, {**said.headers, **error.retry_after})
    reply = openai.fault(error)
    return Reply({**reply.body, "message": reply.body["error"]["message"]}, reply.status, reply.headers)


def _said(error: RequestError, status: int, kind: str, code: str) -> Reply:
    said = {"message": error.message, "type": kind, "param": error.param, "code": code}
    headers = {"x-should-retry": "false"} if status >= 500 else {}
    return Reply({"error": said, "error_type": code, "message": error.message}, status, headers)
