"""LocalAI's model configs: which file each one means, every key, and what makes one of them unusable (sheets 1.7-1.12)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tropilla.common.catalogue import Trouble
from tropilla.common.generation import MAX_SEED, LocalTemplates
from tropilla.common.manifest.faults import ManifestError
from tropilla.common.manifest.manifest import Entry, Loading, Manifest
from tropilla.common.manifest.parse import parse
from tropilla.common.recipes import Overlay, Polish


def manifest(*configs: dict[str, Any], templates: dict[str, str] | None = None, **outer: Any) -> Manifest:
    """Of one file, `M.gguf` of a model `m`, and these configs. JSON is YAML."""
    declared = [{"name": name, "template": text} for name, text in (templates or {}).items()]
    model = {"name": "m", "source": "https://h.example/M.gguf", "promptTemplates": declared}
    body = {"apiVersion": "v1alpha1", "models": [model], "config": json.dumps(list(configs)), **outer}
    return parse(json.dumps(body))


def entry(templates: dict[str, str] | None = None, runtime: str = "", **config: Any) -> Entry:
    """The entry that a config becomes, and what its parameters are beside the model."""
    parameters = {"model": "M.gguf", **config.pop("parameters", {})}
    (only,) = manifest(
        {"name": "chat", "parameters": parameters, **config}, templates=templates, runtime=runtime
    ).entries
    return only


def warnings(**config: Any) -> tuple[str, ...]:
    parameters = {"model": "M.gguf", **config.pop("parameters", {})}
    made = manifest({"name": "chat", "parameters": parameters, **config})
    assert made.entries[0].trouble is None
    return made.warnings


def refusal(*configs: dict[str, Any], **outer: Any) -> str:
    with pytest.raises(ManifestError) as caught:
        manifest(*configs, **outer)
    return caught.value.message


def config(model: str = "M.gguf", name: str = "chat", **more: Any) -> dict[str, Any]:
    return {"name": name, "parameters": {"model": model}, **more}


# --- 1.7: names and files


@pytest.mark.parametrize("called", ["M.gguf", "m.GGUF", "m"])
def test_a_config_finds_its_file_by_any_of_its_names(called: str) -> None:
    assert manifest(config(called)).entries[0].stored_name == "M.gguf"


def test_an_exact_name_goes_before_others() -> None:
    models = [{"name": "M.gguf", "source": "https://h/m.gguf"}, {"name": "x", "source": "https://h/M.gguf"}]
    assert manifest(config("M.gguf"), models=models).entries[0].stored_name == "M.gguf"
    assert manifest(config("m.gguf"), models=models).entries[0].stored_name == "m.gguf"


def test_a_file_may_have_been_installed_before() -> None:
    text = json.dumps({"apiVersion": "v1alpha1", "config": json.dumps([config("old.gguf")])})
    assert parse(text).entries[0].trouble is not None
    assert parse(text, installed=["old.gguf"]).entries[0].stored_name == "old.gguf"


def test_a_file_that_nobody_provides_is_that_entrys_trouble() -> None:
    made = manifest(config("other.gguf", "broken"), config())
    assert [each.trouble for each in made.entries] == [
        Trouble("file_missing", "model file other.gguf is not provided by this manifest"),
        None,
    ]
    assert entry(parameters={"model": ""}).trouble == Trouble("file_missing", "parameters.model is not defined")


def test_without_a_config_every_gguf_is_a_model() -> None:
    names = ["a.gguf", "mmproj-a.gguf", "b-00001-of-00002.gguf", "b-00002-of-00002.gguf", "x.bin", "a b.gguf"]
    made = manifest(models=[{"source": f"https://h/{name}"} for name in names], config=None, runtime="avx")
    avx = Loading(flavours=("cpu",), instruction_set="avx")
    assert made.entries == tuple(Entry(name, name, loading=avx) for name in ("a.gguf", "b-00001-of-00002.gguf"))
    assert made.warnings == (
        "x.bin is no model: its name does not end in .gguf, and no config names it",
        "'a b.gguf' is no name for a model; a config can give it one",
    )


def test_a_registrys_model_is_also_called_as_aikit_calls_it() -> None:
    made = manifest(models=[{"source": "oci://registry.ollama.ai/library/llama3:8b"}], config=None)
    assert made.entries == (Entry("llama3-8b.gguf", "llama3-8b.gguf"), Entry("llama3", alias="llama3-8b.gguf"))
    tags = [{"source": f"oci://registry.ollama.ai/library/llama3:{tag}"} for tag in ("8b", "70b")]
    names = [each.name for each in manifest(models=tags, config=None).entries]
    assert names == ["llama3-8b.gguf", "llama3", "llama3-70b.gguf"]


def test_configs_may_fetch_files_themselves() -> None:
    extra = {"filename": "x/y.gguf", "uri": "https://h/z.gguf", "sha256": "AB" * 32}
    made = manifest(config("x/y.gguf", download_files=[extra]), config("hf://o/r/w.gguf", "second"))
    assert [(file.source, file.stored_name, file.sha256) for file in made.files[1:]] == [
        ("https://h/z.gguf", "x/y.gguf", "ab" * 32),
        ("hf://o/r/w.gguf", "w.gguf", ""),
    ]
    assert [each.stored_name for each in made.entries] == ["x/y.gguf", "w.gguf"]
    assert [file.stored_name for file in made.wanted] == ["x/y.gguf", "w.gguf"]


def test_one_file_may_be_named_twice_but_not_two_by_one_name() -> None:
    same = {"name": "m", "source": "https://h/M.gguf"}
    made = manifest(config(), models=[same, {**same, "sha256": "ab" * 32}, same])
    assert [file.sha256 for file in made.files] == ["ab" * 32]
    other = {"name": "m", "source": "https://elsewhere/M.gguf"}
    assert refusal(config(), models=[same, other]) == "two files would be stored as 'M.gguf'"


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        ([{}], "config[0].name is not defined"),
        ([config(name="a b")], "config[0].name 'a b' is no name for a model"),
        ([config(name="../a")], "config[0].name '../a' is no name for a model"),
        ([config(name="a\nb")], "config[0].name must be a text of at most 255 printable characters"),
        ([config(), config()], "config has two entries named 'chat'"),
        ([config("/etc/m.gguf")], "config[0].parameters.model must be a path below the models' folder"),
        ([config("a/../m.gguf")], "config[0].parameters.model must be a path below the models' folder"),
        ([config("ftp://h/m.gguf")], "unsupported URL scheme: ftp"),
        ([config(backend="a b")], "config[0].backend: invalid backend name"),
        ([config(parameters=5)], "config[0].parameters must be a map"),
        ([config(download_files=[{"uri": "https://h/x", "filename": "../x"}])], None),
        ([{"name": "a", "alias": "a"}], "'a' is an alias of 'a', which is an alias itself"),
        ([{"name": "a", "alias": "b"}], "'a' is an alias of 'b', which is not in this config"),
        (
            [config(), {"name": "a", "alias": "chat"}, {"name": "b", "alias": "a"}],
            "'b' is an alias of 'a', which is an alias itself",
        ),
        (
            [config(), config(name="a", alias="chat")],
            "config[1] is an alias, and has no backend and no model of its own",
        ),
        (
            [config(), {"name": "a", "alias": "chat", "backend": "llama"}],
            "config[1] is an alias, and has no backend and no model of its own",
        ),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(configs: list[dict[str, Any]], message: str | None) -> None:
    said = refusal(*configs)
    assert message is None or said == message


def test_quotes_that_were_not_undone_are_told() -> None:
    said = 'config[0].name has \\" in it; the text mixes quotes with escaped ones: escape all of them, or none'
    assert refusal(config(name='\\"chat\\"')) == said
    assert refusal(config(backend='\\"llama\\"')).startswith('config[0].backend has \\" in it')


# --- 1.8: every key

#: (where, key, written, field, value)
PARAMETERS = [
    ("parameters", "temperature", 0.2, "temperature", 0.2),
    ("parameters", "temperature", 0, "temperature", 0.0),
    ("parameters", "temperature", "1e-1", "temperature", 0.1),
    ("parameters", "top_k", 80, "top_k", 80),
    ("parameters", "top_p", 0.7, "top_p", 0.7),
    ("parameters", "min_p", 0.05, "min_p", 0.05),
    ("parameters", "typical_p", 0.9, "typical_p", 0.9),
    ("parameters", "repeat_penalty", 1.1, "repeat_penalty", 1.1),
    ("parameters", "repeat_penalty", 0, "repeat_penalty", None),
    ("parameters", "frequency_penalty", -1.5, "frequency_penalty", -1.5),
    ("parameters", "presence_penalty", 0.0, "presence_penalty", None),
    ("parameters", "repeat_last_n", 32, "repeat_last_n", 32),
    ("parameters", "repeat_last_n", 0, "repeat_last_n", None),
    ("parameters", "max_tokens", 100, "max_tokens", 100),
    ("parameters", "max_tokens", 0, "max_tokens", None),
    ("parameters", "seed", 42, "seed", 42),
    ("parameters", "seed", -1, "seed", None),
    ("parameters", "seed", MAX_SEED + 1, "seed", 0),
    ("parameters", "n_keep", 4, "keep", 4),
    ("parameters", "keep", 4, "keep", 4),
    ("parameters", "stop", "</s>", "stop", ("</s>",)),
    ("", "stopwords", ["<|im_end|>", "", "<|im_end|>", "x"], "stop", ("<|im_end|>", "x")),
    ("", "mirostat", 2, "mirostat", 2),
    ("", "mirostat_tau", 4.5, "mirostat_tau", 4.5),
    ("", "mirostat_eta", 0.2, "mirostat_eta", 0.2),
]


@pytest.mark.parametrize(("where", "key", "written", "field", "value"), PARAMETERS)
def test_a_parameter_becomes_a_default(where: str, key: str, written: Any, field: str, value: Any) -> None:
    given = {where: {key: written}} if where else {key: written}
    assert entry(**given).overlay.defaults == ({} if value is None else {field: value})


def test_stop_texts_of_both_places_add_up() -> None:
    assert entry(stopwords=["a"], parameters={"stop": ["b", "a"]}).overlay.defaults == {"stop": ("a", "b")}


def test_a_stop_text_of_brackets_is_a_plain_scalar() -> None:
    text = 'apiVersion: v1alpha1\nmodels: [{source: "https://h/M.gguf"}]\nconfig: |\n  - name: chat\n'
    text += "    parameters: {model: M.gguf}\n    stopwords:\n      - <|im_end|>\n      - <dummy32000>\n"
    assert parse(text).entries[0].overlay.defaults == {"stop": ("<|im_end|>", "<dummy32000>")}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"top_k": "many"}, "config[0].parameters.top_k must be an integer"),
        ({"top_k": 1.5}, "config[0].parameters.top_k must be an integer"),
        ({"top_k": [1]}, "config[0].parameters.top_k must be a text"),
        ({"top_p": 1.5}, "config[0].parameters.top_p must be between 0 and 1"),
        ({"temperature": "nan"}, "config[0].parameters.temperature must be a number"),
        ({"temperature": "1e999"}, "config[0].parameters.temperature must be a number"),
        ({"temperature": -1}, "config[0].parameters.temperature must be between 0 and 1000"),
        ({"max_tokens": "9" * 5000}, "config[0].parameters.max_tokens must be an integer"),
        ({"stop": {"a": "b"}}, "config[0].parameters.stop must be a list"),
        ({"stop": [["a"]]}, "config[0].parameters.stop[0] must be a text"),
    ],
)
def test_a_parameter_of_a_wrong_kind_is_named(parameters: dict[str, Any], message: str) -> None:
    assert refusal({"name": "chat", "parameters": {"model": "m", **parameters}}) == message


@pytest.mark.parametrize(
    ("given", "loading"),
    [
        ({}, Loading()),
        ({"context_size": 4096}, Loading(context=4096)),
        ({"context_size": 0}, Loading()),
        ({"context_size": -1}, Loading(context=-1)),
        ({"threads": 8}, Loading(threads=8)),
        ({"gpu_layers": 35}, Loading(gpu_layers=35)),
        ({"gpu_layers": 0}, Loading(gpu_layers=0)),
        ({"gpu_layers": 99999999}, Loading()),
        ({"cache_type_k": "q8_0", "cache_type_v": "Q8_0"}, Loading(cache_type="q8_0")),
        ({"cache_type_v": "f16"}, Loading(cache_type="f16")),
        ({"embeddings": True}, Loading(embeddings=True)),
        ({"runtime": "cuda"}, Loading(flavours=("gpu",))),
        ({"runtime": "avx"}, Loading(flavours=("cpu",), instruction_set="avx")),
        ({"runtime": "avx2"}, Loading(flavours=("cpu",), instruction_set="avx2")),
        ({"runtime": "avx512"}, Loading(flavours=("cpu",), instruction_set="avx512")),
    ],
)
def test_what_a_worker_is_to_load(given: dict[str, Any], loading: Loading) -> None:
    made = entry(**given)
    assert (made.loading, made.trouble) == (loading, None)


#: What would change answers, or what is loaded, and is not done.
UNSUPPORTED = [
    ({"rope_freq_base": 10000}, "rope_freq_base"),
    ({"rope_freq_scale": 0.5}, "rope_freq_scale"),
    ({"rope_scaling": "linear"}, "rope_scaling"),
    ({"yarn_ext_factor": 1.0}, "yarn_ext_factor"),
    ({"lora_adapter": "a.gguf"}, "lora_adapter"),
    ({"lora_adapters": ["a.gguf"]}, "lora_adapters"),
    ({"lora_base": "b.gguf"}, "lora_base"),
    ({"lora_scale": 0.5}, "lora_scale"),
    ({"draft_model": "d.gguf"}, "draft_model"),
    ({"overrides": ["a=int:1"]}, "overrides"),
    ({"reranking": True}, "reranking"),
    ({"parameters": {"tfz": 0.5}}, "parameters.tfz"),
    ({"parameters": {"n": 2}}, "parameters.n"),
    ({"parameters": {"echo": True}}, "parameters.echo"),
    ({"parameters": {"ignore_eos": True}}, "parameters.ignore_eos"),
    ({"parameters": {"logit_bias": {"1": 2}}}, "parameters.logit_bias"),
    ({"parameters": {"negative_prompt": "x"}}, "parameters.negative_prompt"),
    ({"parameters": {"rope_freq_base": 1}}, "parameters.rope_freq_base"),
    ({"parameters": {"pooling": "mean"}}, "parameters.pooling"),
]


@pytest.mark.parametrize(("given", "key"), UNSUPPORTED)
def test_what_cannot_be_honoured_makes_the_entry_unusable(given: dict[str, Any], key: str) -> None:
    assert entry(**given).trouble == Trouble("backend_unsupported", f"model 'chat': {key} is not supported")


def test_all_of_it_is_said_at_once() -> None:
    trouble = entry(lora_adapter="a", parameters={"tfz": 0.5}).trouble
    assert trouble == Trouble("backend_unsupported", "model 'chat': lora_adapter and parameters.tfz are not supported")


def test_values_that_change_nothing_do_not() -> None:
    neutral = {"rope_freq_base": 0, "rope_scaling": "none", "lora_adapter": "", "overrides": [], "reranking": False}
    parameters = {"tfz": "1.0", "n": 1, "echo": False, "logit_bias": {}, "ignore_eos": "no"}
    assert warnings(**neutral, parameters=parameters, yarn_attn_factor=1.0) == ()


def test_keys_and_values_of_the_cache_are_kept_alike() -> None:
    trouble = entry(cache_type_k="q8_0").trouble
    said = "cache_type_k q8_0 with cache_type_v f16 is not supported: both must be the same"
    assert trouble == Trouble("backend_unsupported", f"model 'chat': {said}")
    trouble = entry(cache_type_k="q2", cache_type_v="q2").trouble
    assert trouble == Trouble("backend_unsupported", "model 'chat': cache_type_k q2 is not supported")


@pytest.mark.parametrize(
    ("given", "warning"),
    [
        ({"mmap": False}, None),
        ({"mmap": True}, None),
        ({"f16": True}, None),
        ({"feature_flags": {"usage": True}, "known_usecases": ["chat"], "usage": "x", "description": "y"}, None),
        ({"mmlock": True}, "mmlock has no effect: the worker decides how the file is read"),
        ({"low_vram": True}, "low_vram has no effect: the worker decides what goes where"),
        ({"tensor_split": "0.8,0.2"}, "tensor_split has no effect: the worker decides what goes where"),
        ({"flash_attention": "auto"}, None),
        ({"flash_attention": "on"}, "flash_attention has no effect: the worker turns it on where it can"),
        ({"batch": 512}, "batch has no effect: the worker sets its own"),
        ({"parameters": {"batch": 512}}, "parameters.batch has no effect: the worker sets its own"),
        (
            {"function": {"disable_no_action": True}},
            "function has no effect: calls are read in the notation of its template or its model",
        ),
        (
            {"repeat_penalty": 1},
            "repeat_penalty has no effect here: it belongs under parameters, as parameters.repeat_penalty",
        ),
        (
            {"parameters": {"context_size": 1}},
            "parameters.context_size has no effect: context_size belongs beside parameters",
        ),
        ({"parameters": {"mirostat": 1}}, "parameters.mirostat has no effect: mirostat belongs beside parameters"),
        ({"colour": "red"}, "colour is not known"),
        ({"parameters": {"colour": "red"}}, "parameters.colour is not known"),
        (
            {"template": {"multimodal": "x"}},
            "template.multimodal has no effect: a picture stands where the message has it",
        ),
        ({"template": {"colour": "red"}}, "template.colour is not known"),
    ],
)
def test_what_changes_no_answer_is_told(given: dict[str, Any], warning: str | None) -> None:
    assert warnings(**given) == (() if warning is None else (f"model 'chat': {warning}",))


@pytest.mark.parametrize(
    "backend",
    ["", "llama", "go-llama", "llama-cpp", "llama-cpp-avx2", "llama-cpp-cuda", "cuda12-llama-cpp", "LLaMA-CPP"],
)
def test_llama_cpp_has_many_names(backend: str) -> None:
    assert entry(backend=backend).trouble is None


@pytest.mark.parametrize(
    "backend", ["exllama", "exllama2", "mamba", "diffusers", "stablediffusion", "transformers", "vllm", "whisper"]
)
def test_another_backend_is_that_entrys_trouble(backend: str) -> None:
    made = manifest(config(name="m", backend=backend, diffusers={"cfg_scale": 0}), config())
    why = f"backend '{backend}' of model 'm' is not supported (supported: llama-cpp)"
    assert [each.trouble for each in made.entries] == [Trouble("backend_unsupported", why), None]
    assert made.warnings == ()
    # What it says of its files is its own backend's business.
    strange = {"parameters": {"model": "/x/y"}, "download_files": [{"uri": "s3://b/c"}]}
    assert manifest({"name": "m", "backend": backend, **strange}).entries[0].trouble == made.entries[0].trouble


def test_there_is_no_metal() -> None:
    why = Trouble("backend_unsupported", "runtime applesilicon is not supported: there are no workers with Metal")
    assert entry(runtime="applesilicon").trouble == why
    assert manifest(config=None, runtime="applesilicon").entries[0].trouble == why


def test_hidden_kept_described_and_aliased() -> None:
    made = entry(disabled=True, pinned="yes", description="Says things.")
    assert (made.hidden, made.keeps, made.description) == (True, True, "Says things.")
    entries = manifest(config(), {"name": "gpt-4", "alias": "chat", "pinned": True}).entries
    assert entries[1] == Entry("gpt-4", alias="chat", keeps=True)


def test_a_grammar_is_tried_out() -> None:
    assert entry(grammar='root ::= "yes" | "no"').overlay == Overlay(grammar='root ::= "yes" | "no"')
    trouble = entry(grammar='root ::= "yes').trouble
    assert trouble is not None
    assert trouble.message.startswith("model 'chat': this grammar is not supported: ")


def test_polish_is_kept_and_bad_patterns_are_told() -> None:
    given = {"cutstrings": ["<b>", "(a+)+"], "extract_regex": [r"\w+", "("], "trimspace": ["", "A:"], "trimsuffix": "x"}
    made = manifest(config(**given))
    assert made.entries[0].overlay.polish == Polish(("<b>",), (r"\w+",), ("", "A:"), ("x",))
    assert [warning.partition(":")[2].partition(" is skipped")[0] for warning in made.warnings] == [
        " cutstrings: '(a+)+'",
        " extract_regex: '('",
    ]


# --- 1.9: templates


def templates_of(made: Entry) -> LocalTemplates:
    assert made.trouble is None
    assert isinstance(made.overlay.template, LocalTemplates)
    return made.overlay.template


def test_a_template_is_a_declared_name_or_itself() -> None:
    declared = {"one": "{{.Input}}1", "two": "{{.Content}}2"}
    made = templates_of(entry(declared, template={"chat": "one", "chat_message": "two", "completion": "{{.Input}}3"}))
    assert made == LocalTemplates(chat="{{.Input}}1", chat_message="{{.Content}}2", completion="{{.Input}}3")


@pytest.mark.parametrize("kind", ["chat", "chat_message", "completion", "edit", "function"])
def test_a_name_that_is_not_declared_is_no_template(kind: str) -> None:
    trouble = entry({"chat": "{{.Input}}"}, template={kind: "other"}).trouble
    assert trouble == Trouble("template_error", "model 'chat': template 'other' is not defined")


@pytest.mark.parametrize("text", ["{{.Input}}", "two\nlines", "<s>"])
def test_a_text_that_is_no_name_is_a_template(text: str) -> None:
    assert templates_of(entry(template={"completion": text})).completion == text


def test_a_template_called_like_the_file_serves_by_itself() -> None:
    made = templates_of(entry({"M.gguf": "{{.Input}}!"}, template={"edit": "{{.Instruction}}{{.Input}}"}))
    assert made == LocalTemplates(
        chat="{{.Input}}!", completion="{{.Input}}!", function="{{.Input}}!", edit="{{.Instruction}}{{.Input}}"
    )


def test_roles_system_prompt_and_joiner() -> None:
    made = templates_of(
        entry(roles={"user": "U:"}, system_prompt="Be nice.", template={"join_chat_messages_by_character": ""})
    )
    assert made == LocalTemplates(roles=(("user", "U:"),), system_prompt="Be nice.", joiner="")
    assert entry(template={"join_chat_messages_by_character": ""}).overlay.template == ""
    assert templates_of(entry(roles={"user": "U:"})).joiner == "\n"


def test_the_files_own_template_takes_the_place_of_those_for_chats() -> None:
    made = entry(
        system_prompt="S", template={"use_tokenizer_template": True, "chat": "{{.Input}}", "completion": "{{.Input}}"}
    )
    assert templates_of(made) == LocalTemplates(completion="{{.Input}}", system_prompt="S")


def test_a_prefix_for_replies_is_not_supported() -> None:
    trouble = entry(template={"reply_prefix": "A:"}).trouble
    assert trouble == Trouble("template_error", "model 'chat': template.reply_prefix is not supported")


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ({"chat": "{{.System}}"}, "can't evaluate field System in type templates.PromptTemplateData"),
        ({"chat_message": "{{.Input}}"}, "can't evaluate field Input in type templates.ChatMessageTemplateData"),
        ({"chat": "{{.Input"}, "unclosed action"),
        ({"chat": "{{env .Input}}"}, 'function "env" not defined'),
        ({"chat": "{{-.Input}}"}, 'bad number syntax: "-.I"'),
        ({"completion": "{{.Messages}}"}, "can't evaluate field Messages"),
        ({"chat": "{{range 1000000000}}x{{end}}"}, "it does more work than a template may"),
    ],
)
def test_every_template_is_tried_out(template: dict[str, str], why: str) -> None:
    trouble = entry(template=template).trouble
    assert trouble is not None
    assert trouble.code == "template_error"
    assert trouble.message.startswith(f"model 'chat': template.{next(iter(template))}: template: ")
    assert why in trouble.message


def test_what_only_fails_for_calls_is_told() -> None:
    said = warnings(template={"chat_message": "{{.Content}}{{if .FunctionCall}}{{.FunctionCall.Name}}{{end}}"})
    assert len(said) == 1
    assert said[0].startswith("model 'chat': template.chat_message fails where functions are called: template: ")


def test_an_inline_template_is_repaired_like_a_declared_one() -> None:
    mixed = r'{{if eq .RoleName \"user\"}}"{{.Content}}"{{end}}'
    made = manifest(config(template={"chat_message": mixed}))
    assert templates_of(made.entries[0]).chat_message == '{{if eq .RoleName "user"}}"{{.Content}}"{{end}}'
    assert made.warnings == ("model 'chat': template.chat_message was read without its backslashes",)


def test_a_name_that_is_declared_twice_is_told() -> None:
    models = [
        {"source": "https://h/M.gguf", "promptTemplates": [{"name": "t", "template": "{{.Input}}1"}]},
        {"source": "https://h/N.gguf", "promptTemplates": [{"name": "t", "template": "{{.Input}}2"}]},
    ]
    made = manifest(config(template={"chat": "t"}), models=models)
    assert made.warnings == ("template 't' is defined twice; the last one counts",)
    assert templates_of(made.entries[0]).chat == "{{.Input}}2"


def test_a_projector_is_a_file_of_the_list_or_an_address() -> None:
    models = [
        {"name": "m", "source": "https://h.example/M.gguf"},
        {"name": "e", "source": "https://h.example/eye.gguf"},
    ]
    for called in ("eye.gguf", "e", "https://h.example/eye.gguf"):
        entry = manifest(config(mmproj=called), models=models).entries[0]
        assert (entry.projector, entry.trouble) == ("eye.gguf", None)
    entry = manifest(config(mmproj="gone.gguf")).entries[0]
    assert entry.trouble == Trouble("file_missing", "mmproj file gone.gguf is not provided by this manifest")
    assert "must be a path below the models' folder" in refusal(config(mmproj="../eye.gguf"))
    assert warnings(parameters={"mmproj": "eye.gguf"}) == (
        "model 'chat': parameters.mmproj has no effect: mmproj belongs beside parameters",
    )
