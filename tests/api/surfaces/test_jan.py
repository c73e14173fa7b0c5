"""Jan's and cortex' routes, all four generations: what each asks of whom, and what it answers (models sheet 4)."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from jan_scene import BROKEN, COMING, GONE, HUB, Scene, definition, made, running, valid, worker
from tropilla.api.surfaces.openai.prefixes import Prefixes, prefixes, split
from tropilla.common.catalogue import Catalogue, Definition
from tropilla.common.errands import Configure, Delete, Done, Import, Progress, Pull, RefusalCode, Refused
from tropilla.common.generation import LoadRequest
from tropilla.common.orders import Order
from tropilla.common.recipes import Overlay

DEFINED = definition()
IDLE, RUNNING = Catalogue((worker(),), (DEFINED,)), running(DEFINED)
#: A worker's own model: the store has nothing of it.
OWN = Catalogue((worker("ready", DEFINED.model, ordered=False, own=DEFINED),))
STARTS = [("POST", "/v1/models/start"), ("PUT", "/v1/models/m/start"), ("POST", "/v1/models/m/start")]
STOPS = [("POST", "/v1/models/stop"), ("PUT", "/v1/models/m/stop"), ("POST", "/v1/models/m/stop")]


def body_for(path: str, **settings: Any) -> Any:
    """What names the model, where the path does not; nothing at all where nothing is said."""
    named = {} if "/m/" in path else {"model": "m"}
    return {**named, **settings} or None


# -- start ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), STARTS)
def test_start_loads_a_model_and_says_so_when_it_is_there(method: str, path: str) -> None:
    scene = Scene(IDLE)
    code, body = scene.ask(method, path, body_for(path))
    assert (code, body["id"], body["state"], body["message"]) == (200, "m", "running", "Started successfully!")
    valid("StartModelResponse", body)
    ((asked, lane),) = scene.lanes
    assert isinstance(asked, LoadRequest)
    assert (asked.model, asked.keep_alive, lane) == ("m", -1.0, "m@1.cpu")
    assert scene.book.begun == []


@pytest.mark.parametrize(("method", "path"), STARTS)
def test_what_runs_already_is_not_started_again(method: str, path: str) -> None:
    scene = Scene(RUNNING)
    code, body = scene.ask(method, path, body_for(path, ctx_len=512, n_parallel="8"))
    assert (code, body["state"], body["message"]) == (200, "running", "already running")
    valid("StartModelResponse", body)
    assert (scene.lanes, scene.book.begun) == ([], [])


def test_who_does_not_wait_is_told_that_it_starts_and_it_starts() -> None:
    scene = Scene(IDLE)
    code, body = scene.ask("POST", "/v1/models/start?wait=false", {"model": "m"})
    assert (code, body["state"]) == (202, "starting")
    valid("StartModelResponse", body)
    while scene.inbox.registered or not scene.lanes:
        pass
    assert scene.lanes[0][1] == "m@1.cpu"
    assert scene.store.cancelled == []


def test_settings_that_differ_are_the_stores_to_change_before_it_is_loaded() -> None:
    scene = Scene(RUNNING, Done("m"))
    code, body = scene.ask(
        "PUT", "/v1/models/m/start", {"ctx_len": "256", "n_parallel": 2, "ngl": 100, "temperature": "0.5"}
    )
    assert (code, body["state"]) == (200, "running")
    errand = scene.errand
    assert isinstance(errand, Configure)
    assert errand.recipe == dataclasses.replace(DEFINED.recipe, context=256, slots=2)
    assert errand.overlay == Overlay(parameters=(("temperature", 0.5),))
    assert len(scene.lanes) == 1


def test_a_store_that_refuses_the_settings_is_quoted_and_nothing_is_loaded() -> None:
    scene = Scene(IDLE, Refused("conflict", "not now", "ctx_len"))
    code, body = scene.ask("POST", "/v1/models/start", {"model": "m", "ctx_len": 256})
    assert (code, body["message"], body["error"]["param"]) == (409, "not now", "ctx_len")
    assert scene.lanes == []


def test_more_context_than_the_model_was_trained_for_is_cut_and_said() -> None:
    scene = Scene(IDLE, Done("m"))
    _, body = scene.ask("POST", "/v1/models/start", {"model": "m", "ctx_len": 4096})
    assert "2048" in body["warning"]
    assert isinstance(scene.errand, Configure)
    assert scene.errand.recipe is not None
    assert scene.errand.recipe.context == 2048


def test_a_workers_own_model_keeps_its_settings() -> None:
    scene = Scene(OWN)
    assert scene.ask("POST", "/v1/models/start", {"model": "m"})[1]["message"] == "already running"
    code, body = scene.ask("POST", "/v1/models/start", {"model": "m", "ctx_len": 256})
    assert (code, body["error"]["param"]) == (409, "ctx_len")


@pytest.mark.parametrize(
    ("cluster", "code", "told"),
    [
        (Catalogue((worker(),), (DEFINED,), {}, {"m@1": {"w": BROKEN}}), 503, "out_of_memory"),
        (Catalogue((), (DEFINED,)), 503, "no_worker"),
        (Catalogue((), (), {"m": GONE}), 503, "download_failed"),
        (Catalogue((), (), {"m": COMING}), 503, "downloading"),
        (
            Catalogue((), (), {"m": dataclasses.replace(GONE, code="backend_unsupported")}),
            501,
            "backend_unsupported",
        ),
        (Catalogue((worker(),)), 404, "model_not_found"),
    ],
)
def test_a_model_that_cannot_be_started_says_why(cluster: Catalogue, code: int, told: str) -> None:
    scene = Scene(cluster)
    found, body = scene.ask("PUT", "/v1/models/m/start")
    assert (found, body["error"]["code"]) == (code, told)
    assert body["message"] == body["error"]["message"]
    assert scene.lanes == []


# -- stop -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), STOPS)
@pytest.mark.parametrize("cluster", [RUNNING, IDLE], ids=["running", "idle"])
def test_stop_lets_go_however_often_it_is_said(cluster: Catalogue, method: str, path: str) -> None:
    scene = Scene(cluster)
    code, body = scene.ask(method, path, body_for(path))
    assert (code, body["id"], body["state"]) == (200, "m", "stopped")
    valid("StopModelResponse", body)
    assert scene.book.orders == ([("w", Order(None))] if cluster is RUNNING else [])


def test_what_is_still_answering_is_stopping() -> None:
    scene = Scene(running(DEFINED, running=1))
    assert scene.ask("PUT", "/v1/models/m/stop")[1]["state"] == "stopping"


# -- what is wrong ----------------------------------------------------------------------------------------------------

UNKNOWN = [
    ("GET", "/v1/models/n", None),
    ("GET", "/v1/models/status/n", None),
    ("PUT", "/v1/models/n/start", None),
    ("POST", "/v1/models/start", {"model": "n"}),
    ("PUT", "/v1/models/n/stop", None),
    ("POST", "/v1/models/stop", {"model": "n"}),
    ("DELETE", "/v1/models/n", None),
    ("PATCH", "/v1/models/n", {"temperature": 1}),
    ("GET", "/v1/models/download/n", None),
]


@pytest.mark.parametrize(("method", "path", "body"), UNKNOWN)
def test_a_model_that_nobody_has_is_a_404_in_both_dialects(method: str, path: str, body: Any) -> None:
    code, said = Scene(RUNNING).ask(method, path, body)
    assert (code, said["error"]["code"], said["error"]["type"]) == (404, "model_not_found", "invalid_request_error")
    assert said["message"] == said["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("POST", "/v1/models/start", "No model field in request body"),
        ("POST", "/v1/models/stop", "No model field in request body"),
        ("POST", "/v1/models/pull", "No model field in request body"),
        ("POST", "/v1/models", "No model field in request body"),
        ("POST", "/v1/models/import", "No model field in request body"),
        ("DELETE", "/v1/models/pull", "No task field in request body"),
    ],
)
def test_a_field_that_is_missing_is_a_400_in_cortex_words(method: str, path: str, text: str) -> None:
    code, said = Scene(RUNNING).ask(method, path, {})
    assert (code, said["message"], said["error"]["code"]) == (400, text, "missing_required_parameter")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", "/v1/models/start", 400),
        ("PATCH", "/v1/models/m", 400),
        ("POST", "/v1/models/m", 405),
        ("PUT", "/v1/models/m", 405),
    ],
)
def test_no_body_and_no_such_method_are_told_in_both_dialects(method: str, path: str, code: int) -> None:
    found, said = Scene(RUNNING).ask(method, path)
    assert (found, said["message"]) == (code, said["error"]["message"])


@pytest.mark.parametrize("body", [[], "m", 5])
def test_a_body_is_an_object(body: Any) -> None:
    assert Scene(RUNNING).ask("PUT", "/v1/models/m/start", body)[0] == 400


# -- settings ---------------------------------------------------------------------------------------------------------


def changed(defined: Definition, body: dict[str, Any], **settings: Any) -> Configure:
    scene = Scene(Catalogue((worker(flavour="gpu"),), (defined,)), Done("m"), **settings)
    code, said = scene.ask("PATCH", "/v1/models/m", body)
    assert code == 200, said
    assert isinstance(scene.errand, Configure)
    return scene.errand


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"ctx_len": 256}, {"context": 256}),
        ({"ctx_len": "256"}, {"context": 256}),
        ({"ctx_len": -1}, {"context": 2048}),
        ({"n_parallel": "4"}, {"slots": 4}),
        ({"n_parallel": 64}, {"slots": 64}),
        ({"ngl": 0}, {"gpu_layers": 0}),
        ({"ngl": "33"}, {"gpu_layers": 33}),
        ({"cpu_threads": 2.0}, {"threads": 2}),
        ({"cache_type": "q8_0"}, {"cache_type": "q8_0"}),
        ({"cpu_threads": 1, "embedding": "true", "cont_batching": False, "caching_enabled": "1"}, {"threads": 1}),
    ],
)
def test_a_setting_of_loading_is_read_from_text_and_numbers(given: dict[str, Any], expected: dict[str, Any]) -> None:
    errand = changed(DEFINED, given)
    assert errand.recipe == dataclasses.replace(DEFINED.recipe, **expected)
    assert errand.overlay is None


@pytest.mark.parametrize("value", [100, -1, "100", 999])
def test_a_hundred_layers_are_all_of_them(value: Any) -> None:
    assert changed(definition(gpu_layers=5), {"ngl": value}).recipe == DEFINED.recipe


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"temperature": "0.7", "top_k": "40"}, (("temperature", 0.7), ("top_k", 40))),
        ({"token_limit": "100"}, (("max_tokens", 100),)),
        ({"max_tokens": -1}, (("max_tokens", -1),)),
        ({"stop": ["</s>"], "frequency_penalty": 1}, (("frequency_penalty", 1.0), ("stop", ("</s>",)))),
    ],
)
def test_a_setting_of_answers_is_laid_over_the_weights(given: dict[str, Any], expected: Any) -> None:
    errand = changed(DEFINED, given)
    assert (errand.recipe, errand.overlay) == (None, Overlay(parameters=expected))


def test_what_was_laid_over_them_before_stays() -> None:
    before = Overlay(system="Be brief.", parameters=(("temperature", 0.1), ("top_p", 0.5)))
    errand = changed(definition(overlay=before), {"temperature": 0.2, "pre_prompt": "Be kind."})
    assert errand.overlay == Overlay(system="Be kind.", parameters=(("temperature", 0.2), ("top_p", 0.5)))


def test_nothing_new_is_no_errand() -> None:
    scene = Scene(RUNNING)
    code, body = scene.ask("PATCH", "/v1/models/m", {"ctx_len": 512})
    assert (code, body["state"], scene.book.begun) == (200, "running", [])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"ctx_len": 100}, "ctx_len must be >= 128"),
        ({"ctx_len": "127"}, "ctx_len must be >= 128"),
        ({"ctx_len": 0}, "ctx_len must be >= 128"),
        ({"ctx_len": 4097}, "ctx_len must be <= 4096"),
        ({"ngl": -2}, "ngl must be >= 0"),
        ({"n_parallel": 0}, "n_parallel must be >= 1"),
        ({"n_parallel": 257}, "n_parallel must be <= 256"),
        ({"cpu_threads": 0}, "cpu_threads must be >= 1"),
        ({"temperature": 2.5}, "temperature must be <= 2"),
        ({"top_p": "1.5"}, "top_p must be <= 1"),
        ({"top_k": -1}, "top_k must be >= 0"),
        ({"token_limit": 0}, "token_limit must be >= 1"),
    ],
)
def test_a_setting_out_of_bounds_is_a_400_that_names_it(given: dict[str, Any], text: str) -> None:
    for method, path in (("PATCH", "/v1/models/m"), ("PUT", "/v1/models/m/start")):
        scene = Scene(IDLE)
        code, said = scene.ask(method, path, given)
        assert (code, said["message"], said["error"]["param"]) == (400, text, next(iter(given)))
        assert (scene.book.begun, scene.lanes) == ([], [])


@pytest.mark.parametrize(
    ("given", "high"), [({"ctx_len": 8192}, 4096), ({"n_parallel": 11}, 10), ({"ngl": 101}, 100), ({"top_k": 101}, 100)]
)
def test_the_largest_number_is_the_models_unless_an_operator_is_strict(given: dict[str, Any], high: int) -> None:
    large = definition(trained_context=131072, vocabulary=32000, gpu_layers=1)
    changed(large, given)
    code, said = Scene(Catalogue((worker(),), (large,)), jan_strict="yes").ask("PATCH", "/v1/models/m", given)
    assert (code, said["message"]) == (400, f"{next(iter(given))} must be <= {high}")


@pytest.mark.parametrize(
    "given",
    [
        {"ctx_len": "many"},
        {"ctx_len": 2.5},
        {"ctx_len": True},
        {"temperature": "nan"},
        {"embedding": "perhaps"},
        {"stop": 5},
        {"cache_type": "q9"},
        {"model_path": "/etc/passwd"},
        {"prompt_template": "no places"},
        {"unheard": "of"},
    ],
)
def test_what_cannot_be_set_is_a_400(given: dict[str, Any]) -> None:
    scene = Scene(IDLE)
    assert scene.ask("PATCH", "/v1/models/m", given)[0] == 400
    assert scene.book.begun == []


def test_the_document_may_say_null() -> None:
    assert Scene(RUNNING).ask("PUT", "/v1/models/m/start", {"ctx_len": None})[1]["message"] == "already running"


# -- prompt templates -------------------------------------------------------------------------------------------------

SPLITS = [
    ("{system_message}{prompt}", Prefixes("", "", "")),
    (
        "<s>{system_message}\n### Instruction: {prompt}\n### Response:",
        Prefixes("<s>", "\n### Instruction: ", "\n### Response:"),
    ),
    ("USER: {prompt}\nASSISTANT: ", Prefixes("", "USER: ", "\nASSISTANT: ")),
    ('"{{x}}" \\{system_message}é\t{prompt}\x00', Prefixes('"{{x}}" \\', "é\t", "\x00")),
]


@pytest.mark.parametrize(("template", "expected"), SPLITS)
def test_a_prompt_template_is_what_stands_before_each_turn(template: str, expected: Prefixes) -> None:
    assert split(template) == expected
    assert prefixes(expected.template) == expected
    errand = changed(DEFINED, {"prompt_template": template})
    assert errand.overlay == Overlay(template=expected.template)


@pytest.mark.parametrize("template", ["", "{system_message}", "{prompt", "{{ .Prompt }}"])
def test_one_without_a_place_for_the_prompt_cannot_be_split(template: str) -> None:
    with pytest.raises(ValueError, match="Cannot split prompt template"):
        split(template)


def test_prefixes_are_set_one_by_one_and_shown_again() -> None:
    errand = changed(DEFINED, {"user_prompt": "<|user|>", "pre_prompt": "Be brief."})
    assert errand.overlay is not None
    assert prefixes(errand.overlay.template) == Prefixes("SYSTEM: ", "<|user|>", "ASSISTANT: ")
    _, body = Scene(running(definition(overlay=errand.overlay))).ask("GET", "/v1/models/m")
    told = body["engine_parameters"]
    shown = {key: told[key] for key in ("pre_prompt", "system_prompt", "user_prompt", "ai_prompt")}
    assert list(shown.values()) == ["Be brief.", "SYSTEM: ", "<|user|>", "ASSISTANT: "]
    valid("GetModelResponse", body)


def test_an_empty_template_is_the_models_own_again() -> None:
    assert changed(definition(overlay=Overlay(template="x")), {"prompt_template": ""}).overlay == Overlay()


# -- downloads --------------------------------------------------------------------------------------------------------

SOURCE = f"{HUB}/blob/main/zephyr-7b-beta.Q4_K_M.gguf"
PULLS = [
    ("POST", "/v1/models/pull", {"model": SOURCE}),
    ("POST", "/v1/models/pull", {"model": "TheBloke:zephyr-7B-beta-GGUF:zephyr-7b-beta.Q4_K_M.gguf"}),
    ("POST", "/v1/models", {"source_url": SOURCE}),
    ("POST", "/v1/models/TheBloke:zephyr-7B-beta-GGUF:zephyr-7b-beta.Q4_K_M.gguf/pull", None),
]


@pytest.mark.parametrize(("method", "path", "body"), PULLS)
def test_a_pull_begins_a_task_whatever_it_is_called(method: str, path: str, body: Any) -> None:
    scene = Scene(IDLE)
    code, said = scene.ask(method, path, body)
    errand = scene.errand
    assert isinstance(errand, Pull)
    assert (code, said["message"], said["state"]) == (200, "Model start downloading!", "downloading")
    assert said["id"] == errand.name == "zephyr-7b-beta.Q4_K_M"
    url = f"{HUB}/resolve/main/zephyr-7b-beta.Q4_K_M.gguf"
    item = {"id": errand.name, "downloadUrl": url, "checksum": "N/A", "bytes": 0, "downloadedBytes": 0}
    assert said["task"] == {
        "id": errand.id,
        "type": "Model",
        "status": "Pending",
        "model": errand.name,
        "items": [item],
    }
    valid("DownloadModelResponse", said)


def test_a_pull_may_say_what_the_model_is_called_and_what_its_file_is() -> None:
    scene = Scene(IDLE)
    scene.ask(
        "POST", "/v1/models/pull", {"model": SOURCE, "id": "mine", "name": "Mine", "sha256": "SHA256:" + "CD" * 32}
    )
    assert isinstance(scene.errand, Pull)
    assert (scene.errand.name, scene.errand.sha256, scene.errand.again) == ("mine", "cd" * 32, False)


def test_two_that_pull_one_thing_have_one_task() -> None:
    scene = Scene(IDLE)
    first, second = (scene.ask("POST", "/v1/models/pull", {"model": SOURCE})[1]["task"]["id"] for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("more", "code"),
    [({}, 200), ({"sha256": "ab" * 32}, 200), ({"sha256": "cd" * 32}, 409)],
)
def test_what_is_there_is_not_fetched_again(more: dict[str, Any], code: int) -> None:
    scene = Scene(IDLE)
    found, said = scene.ask("POST", "/v1/models/pull", {"model": SOURCE, "id": "m", **more})
    assert (found, scene.book.begun) == (code, [])
    assert code == 409 or said["state"] == "downloaded"


@pytest.mark.parametrize("path", ["/v1/models/pull?force=1", "/v1/models/pull"])
def test_unless_somebody_insists(path: str) -> None:
    scene = Scene(IDLE)
    scene.ask(
        "POST", path, {"model": SOURCE, "id": "m", "sha256": "cd" * 32, **({} if "?" in path else {"force": "true"})}
    )
    assert isinstance(scene.errand, Pull)
    assert (scene.errand.name, scene.errand.again) == ("m", True)
    assert Scene(OWN).ask("POST", "/v1/models/pull", {"model": SOURCE, "id": "m", "force": True})[0] == 409


@pytest.mark.parametrize(
    "body",
    [
        {"model": "/etc/passwd"},
        {"model": "ftp://h/x.gguf"},
        {"model": 5},
        {"model": SOURCE, "id": "pull"},
        {"model": SOURCE, "id": "start/x"},
        {"model": SOURCE, "id": "a b"},
        {"model": SOURCE, "sha256": "abc"},
        {"model": SOURCE, "force": "perhaps"},
    ],
)
def test_a_pull_of_nothing_that_can_be_fetched_is_a_400(body: dict[str, Any]) -> None:
    scene = Scene(IDLE)
    code, said = scene.ask("POST", "/v1/models/pull", body)
    assert (code, scene.book.begun) == (400, [])
    assert said["message"]


def test_jans_first_download_begins_what_has_a_name_and_no_files() -> None:
    scene = Scene(Catalogue((), (), {"tiny:latest": GONE}))
    code, said = scene.ask("GET", "/v1/models/download/tiny:latest?ignoreSSL=true&proxy=")
    assert (code, said["state"], said["message"]) == (200, "downloading", "Starting download tiny:latest")
    assert isinstance(scene.errand, Pull)
    assert scene.errand.name == "tiny:latest"
    valid("DownloadModelResponse", said)
    code, said = Scene(IDLE).ask("GET", "/v1/models/download/m")
    assert (code, said["state"]) == (200, "downloaded")
    assert Scene(IDLE).ask("GET", "/v1/models/download/m?proxy=http://p")[0] == 400


PULL = Pull("t1", SOURCE, "m")
HALF = Progress("pulling", "sha256:ab", 10, 4, "m.gguf")


def test_tasks_are_listed_and_shown_as_far_as_they_are() -> None:
    scene = Scene(Catalogue((), (), {"m": COMING}), Progress("pulling manifest"), HALF, tasks=(PULL,))
    code, one = scene.ask("GET", "/v1/models/pull/t1")
    assert (code, one["status"]) == (200, "InProgress")
    assert one["items"] == [
        {
            "id": "m.gguf",
            "downloadUrl": SOURCE.replace("blob", "resolve"),
            "checksum": "sha256:ab",
            "bytes": 10,
            "downloadedBytes": 4,
        }
    ]
    assert scene.ask("GET", "/v1/models/pull")[1] == {"object": "list", "data": [one]}
    # Asked for again, it is the task that is under way.
    assert scene.ask("GET", "/v1/models/download/m")[1]["task"] == one
    assert len(scene.book.begun) == 1


@pytest.mark.parametrize(
    ("last", "kind", "status"),
    [
        (Done("m"), "DownloadSuccess", "Completed"),
        (Refused("cancelled", "stopped"), "DownloadStopped", "Cancelled"),
        (Refused("failed", "the hub does not answer"), "DownloadError", "Error"),
    ],
)
def test_events_tell_how_a_download_goes_on_and_how_it_ends(last: Any, kind: str, status: str) -> None:
    scene = Scene(IDLE, HALF, last, tasks=(PULL,))
    response = scene.client.get("/v1/models/pull/t1/events")
    assert response.content_type.startswith("text/event-stream")
    told = [json.loads(line.removeprefix("data: ")) for line in response.text.splitlines() if line.startswith("data: ")]
    assert [each["type"] for each in told] == ["DownloadStarted", "DownloadUpdated", kind]
    assert [each["task"]["status"] for each in told] == ["Pending", "InProgress", status]
    assert told[-1].get("message", "") == (last.message if kind == "DownloadError" else "")
    assert scene.ask("GET", "/v1/models/pull/t1")[1]["status"] == status
    assert scene.ask("GET", "/v1/models/pull")[1]["data"] == []


def test_a_download_is_stopped_by_its_task() -> None:
    scene = Scene(IDLE, HALF, tasks=(PULL,))
    code, said = scene.ask("DELETE", "/v1/models/pull", {"taskId": "t1"})
    assert (code, said["message"], said["taskId"]) == (200, "Download stopped successfully", "t1")
    assert scene.book.stopped == ["t1"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/models/pull/t2", None),
        ("GET", "/v1/models/pull/t2/events", None),
        ("DELETE", "/v1/models/pull", {"taskId": "t2"}),
        ("DELETE", "/v1/models/pull", {"taskId": "d1"}),
    ],
)
def test_a_task_that_is_none_is_a_404(method: str, path: str, body: Any) -> None:
    code, said = Scene(IDLE, tasks=(PULL, Delete("d1", "m"))).ask(method, path, body)
    assert (code, said["error"]["param"]) == (404, "taskId")


# -- import and delete ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "link"), [(None, True), ("symlink", True), ("copy", False)])
def test_an_import_is_a_link_unless_a_copy_is_wanted(option: str | None, link: bool) -> None:
    scene = Scene(IDLE, Done("mine"))
    code, said = scene.ask(
        "POST", "/v1/models/import", {"model": "mine", "modelPath": "/models/x.gguf", "option": option}
    )
    assert (code, said["id"], said["state"], said["modelHandle"]) == (200, "mine", "downloaded", "mine")
    errand = scene.errand
    assert errand == Import(errand.id, "mine", "/models/x.gguf", link=link)


@pytest.mark.parametrize("field", ["mmproj", "mmproj_path", "mmprojPath"])
def test_an_import_may_name_what_reads_images(field: str) -> None:
    scene = Scene(IDLE, Done("mine"))
    assert (
        scene.ask("POST", "/v1/models/import", {"model": "mine", "modelPath": "/x.gguf", field: "/eye.gguf"})[0] == 200
    )
    assert scene.errand == Import(scene.errand.id, "mine", "/x.gguf", link=True, projector="/eye.gguf")


def test_a_projector_is_a_setting_that_the_store_looks_into() -> None:
    scene = Scene(IDLE, Done("m"))
    assert scene.ask("PATCH", "/v1/models/m", {"mmproj": "/eye.gguf"})[0] == 200
    assert scene.errand == Configure(scene.errand.id, "m", projector="/eye.gguf")
    refused = Scene(IDLE, Refused("invalid", "eye.gguf is no projector", "projector"))
    code, said = refused.ask("PATCH", "/v1/models/m", {"mmproj": "/eye.gguf"})
    assert (code, said["error"]["param"]) == (400, "mmproj")
    # A model that reads no images has nothing to be taken away.
    blind = Scene(IDLE)
    assert blind.ask("PATCH", "/v1/models/m", {"mmproj": ""})[0] == 200
    assert blind.book.begun == []


def test_a_pull_may_name_what_reads_images() -> None:
    scene = Scene(IDLE)
    scene.ask("POST", "/v1/models/pull", {"model": "https://x.example/new.gguf", "mmproj": "o:r:mmproj-f16.gguf"})
    assert isinstance(scene.errand, Pull)
    assert scene.errand.projector == "hf://o/r@main/mmproj-f16.gguf"
    code, said = Scene(IDLE).ask("POST", "/v1/models/pull", {"model": "https://x.example/new.gguf", "mmproj": "/etc/x"})
    assert (code, said["error"]["param"]) == (400, "mmproj")


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "modelPath": "/x"},
        {"model": "status", "modelPath": "/x"},
        {"model": "mine"},
        {"model": "mine", "modelPath": ""},
        {"model": "mine", "modelPath": "/x", "option": "move"},
    ],
)
def test_an_import_that_cannot_be_is_a_400(body: dict[str, Any]) -> None:
    scene = Scene(IDLE)
    assert scene.ask("POST", "/v1/models/import", body)[0] == 400
    assert scene.book.begun == []


REFUSALS: list[tuple[RefusalCode, int]] = [
    ("invalid", 400),
    ("unknown", 404),
    ("forbidden", 403),
    ("conflict", 409),
    ("failed", 500),
    ("cancelled", 409),
]


@pytest.mark.parametrize(("code", "status"), REFUSALS)
def test_what_the_store_refuses_is_told_with_its_status(code: RefusalCode, status: int) -> None:
    scene = Scene(IDLE, Refused(code, "no", "path"))
    found, said = scene.ask("POST", "/v1/models/import", {"model": "mine", "modelPath": "/x"})
    assert (found, said["message"], said["error"]["param"]) == (status, "no", "modelPath")


def test_without_a_store_nothing_can_be_changed_and_that_is_said() -> None:
    scene = Scene(RUNNING)
    scene.book.open = False
    for method, path, body in (
        ("POST", "/v1/models/pull", {"model": SOURCE}),
        ("DELETE", "/v1/models/m", None),
        ("PUT", "/v1/models/m/start", {"ctx_len": 256}),
    ):
        code, said = scene.ask(method, path, body)
        assert (code, said["error"]["code"]) == (503, "store_closed")
        assert said["message"].startswith("the store is not running")


def test_delete_forgets_a_model() -> None:
    scene = Scene(RUNNING, Done("m"))
    code, said = scene.ask("DELETE", "/v1/models/m")
    assert (code, said["id"], said["object"], said["deleted"]) == (200, "m", "model", True)
    assert isinstance(scene.errand, Delete)
    valid("DeleteModelResponse", said)


def test_a_workers_own_model_is_not_ours_to_delete() -> None:
    assert Scene(OWN).ask("DELETE", "/v1/models/m")[0] == 409


def test_what_is_being_downloaded_is_deleted_only_by_force() -> None:
    coming = Catalogue((), (), {"m": COMING})
    scene = Scene(coming, HALF, tasks=(PULL,))
    assert scene.ask("DELETE", "/v1/models/m")[0] == 409
    assert (scene.book.stopped, len(scene.book.begun)) == ([], 1)
    for path, body in (("/v1/models/m?force=1", None), ("/v1/models/m", {"force": True})):
        scene = Scene(coming, Refused("unknown", "there is no model m"), tasks=(PULL,))
        scene.book.said["t1"] = [HALF]
        code, said = scene.ask("DELETE", path, body)
        assert (code, said["deleted"], scene.book.stopped) == (200, True, ["t1"])


def test_the_words_that_paths_begin_with_are_no_models() -> None:
    named = Catalogue((worker("ready", made("pull"), ordered=False),))
    assert Scene(named).ask("GET", "/v1/models/pull")[1]["data"] == []
