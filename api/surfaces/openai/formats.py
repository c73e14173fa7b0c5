"""What `response_format` may look like, for the document: OpenAI's forms, llama.cpp's and TGI's. `constraints` reads it."""

from __future__ import annotations

from tropilla.api.about import NULL, OBJECT, TEXT, Shape, either, one_of, or_null, record

#: OpenAI's schema with its name.
_NAMED = record("", {}, {"name": TEXT, "schema": or_null(OBJECT)})
_VALUE = {"value": either(OBJECT, TEXT)}
RESPONSE_FORMAT: Shape = {
    "title": "OpenAIResponseFormat",
    **either(
        record("", {"type": one_of("text")}),
        record("", {"type": one_of("json_object")}, {**_VALUE, "schema": OBJECT}),
        record("", {"type": one_of("json_schema"), "json_schema": _NAMED}),
        record("", {"type": one_of("json_schema"), "value": _NAMED}, {"json_schema": NULL}),
        record("", {"type": one_of("json"), **_VALUE}),
        record("", {"type": one_of("json"), "schema": OBJECT}, {"value": NULL}),
        record("", {"type": one_of("regex"), "value": TEXT}),
    ),
}
