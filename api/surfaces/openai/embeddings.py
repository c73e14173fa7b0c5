"""POST /v1/embeddings (sheet, section 11).

OpenAI's caller means a model that was made for it: one whose header says that it is an embedding model. Of a chat model
he is refused here; who wants its mean all the same asks in Ollama's dialect, which makes no difference between them.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Literal

from tropilla.api.surface import JSON, Enquiry, Question, Reply, Surroundings
from tropilla.api.surfaces.openai import about, refusals, schemas
from tropilla.api.surfaces.openai.models import resolve
from tropilla.api.surfaces.openai.token_ids import check_ids, told_ids
from tropilla.common.catalogue import Model
from tropilla.common.errors import UnsupportedField
from tropilla.common.generation import Embedded, EmbeddingRequest, Fit, new_request_id

#: Architectures all of whose models are trained so that the beginning of a vector is a vector, too (Kusupati et al. 2022).
#: No GGUF header says it of the others.
MATRYOSHKA = frozenset({"gemma-embedding", "nomic-bert-moe", "jina-bert-v3"})


@dataclass(frozen=True, slots=True)
class Answer:
    model: str
    encoding: Literal["float", "base64"]


def parse(body: JSON, surroundings: Surroundings) -> Question:
    body = schemas.an_object(body)
    fields = schemas.checked(schemas.EMBEDDING, body)
    model = resolve(surroundings, fields["model"], "embedding")
    if "embedding" not in model.capabilities:
        text = f"The model '{model.name}' does not support embeddings: it was made to write, and has no pooling of its own."
        raise UnsupportedField(text, param="model")
    refusals.refuse(refusals.EMBEDDING, body)
    dimensions = fields.get("dimensions")
    _check_dimensions(dimensions, model)
    for prompt in fields["input"]:
        check_ids("input", told_ids(prompt), model.vocabulary)
    request = EmbeddingRequest(
        id=new_request_id(),
        model=model.name,
        prompts=fields["input"],
        dimensions=dimensions,
        normalize=fields.get("normalize", fields.get("embd_normalize") != -1),
        fit=_fit(fields, model),
    )
    return Question(request, surroundings.now, Answer(model.name, fields["encoding_format"]))


def _check_dimensions(wanted: int | None, model: Model) -> None:
    if wanted is None or wanted == model.embedding_length:
        return
    if wanted > model.embedding_length:
        text = f"the model's vectors have {model.embedding_length} dimensions, but {wanted} are wanted."
        raise schemas.invalid("dimensions", text, "value")
    if model.family not in MATRYOSHKA:
        text = (
            f"the vectors of the model '{model.name}' cannot be shortened: it does not support matryoshka representation. "
            f"Leave the field out, or ask for all {model.embedding_length}."
        )
        raise schemas.invalid("dimensions", text, "value")


def _fit(fields: dict[str, Any], model: Model) -> Fit:
    """Nothing is cut unasked (sheet, section 11); then it is the end, as vLLM does it with these models."""
    most: int | None = fields.get("truncate_prompt_tokens")
    if most is None:
        return Fit()
    if most == 0:
        raise schemas.invalid("truncate_prompt_tokens", "nothing would be left of the input.", "value")
    return Fit(overlong="shorten", context_limit=None if most < 0 else min(most, model.context_length))


def answer(question: Question, vectors: tuple[Embedded, ...], _: float) -> Reply:
    known: Answer = question.answer
    count = sum(vector.tokens for vector in vectors)
    entries = [
        {"object": "embedding", "index": index, "embedding": _written(vector, known.encoding)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": count, "total_tokens": count}
    body = {"object": "list", "model": known.model, "data": entries, "usage": usage}
    return Reply(body)


def _written(vector: Embedded, encoding: Literal["float", "base64"]) -> JSON:
    return base64.b64encode(vector.vector).decode() if encoding == "base64" else vector.floats


ROUTES = tuple(Enquiry(path, parse, answer, about.EMBEDDINGS) for path in ("/v1/embeddings", "/embeddings"))
