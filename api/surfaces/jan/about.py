"""What the document says of the routes of Jan and cortex: what they take and answer."""

from __future__ import annotations

from marshmallow import Schema
from tropilla.api.about import COUNT, FLAG, TEXT, About, Nested, Shape, either, one_of, record, several, there
from tropilla.api.fields import Text
from tropilla.api.surfaces.jan.coercion import LooseBoolean
from tropilla.api.surfaces.jan.naming import SOURCES
from tropilla.api.surfaces.jan.settings import SettingsSchema
from tropilla.api.surfaces.openai.about import MODEL_CARD

#: Beside OpenAI's error stands its sentence.
ERROR = record(
    "JanError",
    {
        "error": record(
            "",
            {
                "message": TEXT,
                "type": TEXT,
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
            {"n_prompt_tokens": COUNT, "n_ctx": COUNT},
        ),
        "error_type": TEXT,
        "message": TEXT,
    },
)


class _Said(Text):
    """Empty is as good as not said."""

    def described(self, _: Nested, /) -> Shape:
        return {**TEXT, "minLength": 1}


class NamedSchema(Schema):
    model = _Said(required=True)


class StartSchema(SettingsSchema):
    model = _Said(required=True)


class PullSchema(Schema):
    """`parse_pull` takes the address by other names, too."""

    model = Text()
    source_url = Text()
    url = Text()
    id = Text()
    name = Text()
    sha256 = Text()
    mmproj = Text()
    force = LooseBoolean()


class FetchSchema(Schema):
    id = Text()
    name = Text()
    sha256 = Text()
    mmproj = Text()
    force = LooseBoolean()


class AbortSchema(Schema):
    taskId = _Said(required=True)  # noqa: N815 (cortex' name)


class ImportSchema(Schema):
    model = _Said(required=True)
    modelPath = _Said(required=True)  # noqa: N815 (cortex' name)
    mmproj = Text()
    option = Text(("symlink", "copy"))


class DeleteSchema(Schema):
    force = LooseBoolean()


_STATED: dict[str, Shape] = {"id": TEXT, "object": one_of("model"), "state": TEXT, "message": TEXT}
STATED = record("JanState", _STATED, {"warning": TEXT})
_ITEM = record("", {"id": TEXT, "downloadUrl": TEXT, "checksum": TEXT, "bytes": COUNT, "downloadedBytes": COUNT})
_STATUS = one_of("Pending", "InProgress", "Completed", "Cancelled", "Error")
TASK = record(
    "JanTask", {"id": TEXT, "type": one_of("Model"), "status": _STATUS, "items": several(_ITEM)}, {"model": TEXT}
)
_KIND = one_of("DownloadStarted", "DownloadUpdated", "DownloadStopped", "DownloadSuccess", "DownloadError")
_PULLED = record("JanDownload", _STATED, {"task": TASK, "running": FLAG})
_DELETED = record("JanDeleted", {"id": TEXT, "object": one_of("model"), "deleted": FLAG, "message": TEXT})
_ABORTED = record("", {"message": TEXT, "taskId": TEXT}, {"id": TEXT, "object": one_of("model")})
_SOURCE = "https://huggingface.co/TheBloke/zephyr-7B-beta-GGUF/blob/main/zephyr-7b-beta.Q4_K_M.gguf"

#: A model that is a worker's own, or on its way; and a store that is not there.
_NOT_NOW: dict[int, Shape] = {409: ERROR, 503: ERROR}
#: Where the path does not name the model, the body has to.
START = About(
    "Load a model", takes=StartSchema(), gives=STATED, also={202: STATED, **_NOT_NOW}, example={"model": "pocket"}
)
START_ID = About("Load a model", takes=SettingsSchema(), gives=STATED, also={202: STATED, **_NOT_NOW}, example={})
STOP = About("Let go of a model", takes=NamedSchema(), gives=STATED, example={"model": "pocket"})
STOP_ID = About("Let go of a model", gives=STATED)
STATUS = About("Say how things stand with a model", gives=STATED)
CHANGE = About(
    "Change a model's settings", takes=SettingsSchema(), gives=STATED, example={"temperature": 0.5}, also=_NOT_NOW
)
_NEEDS = either(*(there(name, {**TEXT, "minLength": 1}) for name in SOURCES))
PULL = About(
    "Begin to download a model",
    takes=PullSchema(),
    needs=_NEEDS,
    gives=_PULLED,
    example={"model": _SOURCE},
    also=_NOT_NOW,
)
PULL_ID = About("Begin to download a model", takes=FetchSchema(), gives=_PULLED, example={}, also=_NOT_NOW)
DOWNLOAD = About("Begin to download a model that has a name and no files", gives=_PULLED, also=_NOT_NOW)
TASKS = About(
    "List the downloads that are under way", gives=record("", {"object": one_of("list"), "data": several(TASK)})
)
ONE_TASK = About("Show one download", gives=TASK)
EVENTS = About("Hear how a download goes on", streams=record("", {"type": _KIND, "task": TASK}, {"message": TEXT}))
ABORT = About("Stop a download", takes=AbortSchema(), gives=_ABORTED, example={"taskId": "0"})
IMPORT = About(
    "Make a model of a file on the server",
    takes=ImportSchema(),
    gives=record("", _STATED, {"modelHandle": TEXT, "warning": TEXT}),
    also=_NOT_NOW,
    example={"model": "mine", "modelPath": "/models/mine.gguf"},
)
DELETE = About("Delete a model", takes=DeleteSchema(), gives=_DELETED, also=_NOT_NOW)
MODEL = About("Show one model", gives=MODEL_CARD)
