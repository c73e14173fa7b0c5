"""aikit's outer document: its versions, its messages and their order, and what YAML makes of what people write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tropilla.common.generation import LocalTemplates
from tropilla.common.manifest.document import MAX_CHARACTERS, MAX_DEPTH, MAX_NODES
from tropilla.common.manifest.faults import ManifestError
from tropilla.common.manifest.manifest import Manifest, ManifestFile
from tropilla.common.manifest.parse import BACKENDS, RUNTIMES, fenced, parse

SEED = (Path(__file__).parent / "aikit.md").read_text()
SCHEMA, EXAMPLE = fenced(SEED)

PLAIN = "apiVersion: v1alpha1\n"
ONE = f"{PLAIN}models:\n  - name: m\n    source: https://h.example/m.gguf\n"


def refusal(text: str, **options: Any) -> str:
    with pytest.raises(ManifestError) as caught:
        parse(text, **options)
    return caught.value.message


def entry_names(manifest: Manifest) -> list[str]:
    return [entry.name for entry in manifest.entries]


def test_the_schema_of_aikits_page_defines_nothing() -> None:
    assert refusal(SCHEMA) == "apiVersion is not defined"


def test_the_example_of_aikits_page() -> None:
    manifest = parse(EXAMPLE)
    assert (manifest.debug, manifest.runtime, manifest.backends) == (True, "cuda", ("stablediffusion",))
    assert manifest.warnings == ("backend stablediffusion is declared but not provided; ignored",)
    stored = "llama-2-7b-chat.Q4_K_M.gguf"
    source = f"https://huggingface.co/TheBloke/Llama-2-7B-Chat-GGUF/resolve/main/{stored}"
    sha256 = "08a5566d61d7cb6b420c3e4387a39e0078e1f2fe5f055f3a03887385304d4bfa"
    assert manifest.files == (ManifestFile("llama-2-7b-chat", source, stored, sha256),) == manifest.wanted
    (entry,) = manifest.entries
    assert (entry.name, entry.stored_name, entry.trouble) == ("llama-2-7b-chat", stored, None)
    assert (entry.loading.context, entry.loading.flavours) == (4096, ("gpu",))
    assert entry.overlay.parameters == (("temperature", 0.2), ("top_k", 80), ("top_p", 0.7))
    templates = entry.overlay.template
    assert isinstance(templates, LocalTemplates)
    assert templates.chat_message.startswith('{{if eq .RoleName "assistant"}}')
    assert dict(templates.roles)["assistant_function_call"] == "Function Call:"
    assert templates.system_prompt.startswith("You are a helpful assistant, below")


#: backend -> does it need cuda
NEEDS_CUDA = {"stablediffusion": False, "exllama": True, "exllama2": True, "mamba": True, "diffusers": True}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_union_of_all_runtimes_is_known(runtime: str) -> None:
    assert parse(f"{ONE}runtime: '{runtime}'\n").runtime == runtime


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_which_backends_go_with_which_runtimes(runtime: str, backend: str) -> None:
    text = f"{ONE}runtime: '{runtime}'\nbackends: [{backend}]\n"
    if NEEDS_CUDA[backend] and runtime != "cuda":
        cuda = "only supports nvidia cuda runtime. please add 'runtime: cuda' to your aikitfile.yaml"
        assert refusal(text) == f"{backend} {cuda}"
    elif runtime == "applesilicon":
        assert refusal(text) == "apple silicon runtime only supports the default llama-cpp backend"
    else:
        manifest = parse(text)
        assert manifest.backends == (backend,)
        assert f"backend {backend} is declared but not provided; ignored" in manifest.warnings
        # The page's example declares one, and serves its model by llama.cpp all the same.
        assert manifest.entries[0].trouble is None


#: In the order in which they are looked for: each has what is wrong with all behind it.
MESSAGES = [
    ("", "apiVersion is not defined"),
    ("runtime: cuda\n", "apiVersion is not defined"),
    ("apiVersion:\n", "apiVersion is not defined"),
    ("apiVersion: ''\n", "apiVersion is not defined"),
    ("apiVersion: v10\nbackends: [a, b]\nruntime: z\n", "apiVersion v10 is not supported"),
    ("apiVersion: v1\n", "apiVersion v1 is not supported"),
    ("apiVersion: 1\n", "apiVersion 1 is not supported"),
    (f"{PLAIN}baseModel: x\nruntime: z\n", "fine-tune manifests are not supported"),
    (f"{PLAIN}datasets: []\n", "fine-tune manifests are not supported"),
    (f"{PLAIN}backends: [exllama, z]\nruntime: z\n", "only one backend is supported at this time"),
    (f"{PLAIN}runtime: cuda\nbackends: [exllama, diffusers]\n", "only one backend is supported at this time"),
    (
        f"{PLAIN}runtime: applesilicon\nbackends: [exllama2]\n",
        "exllama2 only supports nvidia cuda runtime. please add 'runtime: cuda' to your aikitfile.yaml",
    ),
    (
        f"{PLAIN}runtime: applesilicon\nbackends: [z]\n",
        "apple silicon runtime only supports the default llama-cpp backend",
    ),
    (f"{PLAIN}runtime: z\nbackends: [z]\n", "backend z is not supported"),
    (f"{PLAIN}runtime: z\nmodels: 5\n", "runtime z is not supported"),
    (f"{PLAIN}runtime: off\n", "runtime off is not supported"),
    (f"{PLAIN}models:\n  a: b\n", "models must be a list"),
    (f"{PLAIN}models: [x]\n", "models[0] must be a map"),
    (f"{PLAIN}models: [{{name: x}}]\n", "models[0].source: source is required"),
    (f"{PLAIN}models: [{{source: 'ftp://h/x.gguf'}}]\n", "unsupported URL scheme: ftp"),
    (f"{PLAIN}models: [{{source: 'huggingface://org/f'}}]\n", "invalid Hugging Face URL format"),
]


@pytest.mark.parametrize(("text", "message"), MESSAGES)
def test_what_is_wrong_is_said_in_aikits_words_and_order(text: str, message: str) -> None:
    assert refusal(text) == message


def test_there_may_be_no_models() -> None:
    assert (parse(PLAIN).files, parse(PLAIN).entries) == ((), ())
    assert parse(f"{PLAIN}models:\n").files == ()


@pytest.mark.parametrize("word", ["true", "yes", "on", "1", "True", "YES"])
def test_debug_may_be_said_in_many_ways(word: str) -> None:
    assert parse(f"{PLAIN}debug: {word}\n").debug is True
    assert parse(f"{PLAIN}debug: {word}\n").warnings == ()


@pytest.mark.parametrize("word", ["false", "no", "off", "0", "", "~", "null"])
def test_debug_is_off_otherwise(word: str) -> None:
    assert parse(f"{PLAIN}debug: {word}\n").debug is False


def test_debug_as_a_text_is_understood_and_told() -> None:
    manifest = parse(f'{PLAIN}debug: "true"\n')
    assert manifest.debug is True
    assert manifest.warnings == ("debug is a text; it was read as what it says",)
    assert refusal(f"{PLAIN}debug: perhaps\n") == "debug must be true or false"


DIGITS = "0123456789" * 6 + "0123"
EXPONENT = "1" * 60 + "e100"


@pytest.mark.parametrize(
    ("written", "digest"),
    [
        (DIGITS, DIGITS),
        (EXPONENT, EXPONENT),
        (f'"{DIGITS}"', DIGITS),
        ("AB" * 32, "ab" * 32),
        (f"sha256:{'Ab' * 32}", "ab" * 32),
        ("", ""),
        ("null", ""),
    ],
)
def test_a_digest_stays_the_text_that_it_was(written: str, digest: str) -> None:
    assert parse(f"{ONE}    sha256: {written}\n").files[0].sha256 == digest


@pytest.mark.parametrize("written", ["12345e10", "0123456789", "'g' ", "ab" * 31, "ab" * 33, "md5:" + "ab" * 32])
def test_what_is_no_digest_is_refused(written: str) -> None:
    assert refusal(f"{ONE}    sha256: {written}\n") == "models[0].sha256 must be 64 hex digits"


def test_a_key_that_stands_twice_is_refused_where_it_does() -> None:
    assert refusal(f"{PLAIN}runtime: cuda\nruntime: avx\n") == "line 3: duplicate key 'runtime'"
    inner = "config: |\n  - name: a\n    name: b\n"
    assert refusal(ONE + inner) == "config: line 2: duplicate key 'name'"


CONFIG = "name: chat\nparameters: {model: m.gguf, top_k: 7}\n"


@pytest.mark.parametrize(
    ("config", "warnings"),
    [
        ("config: |\n  - name: chat\n    parameters: {model: m.gguf, top_k: 7}\n", ()),
        ("config: |\n  name: chat\n  parameters: {model: m.gguf, top_k: 7}\n", ()),
        (
            "config:\n  - name: chat\n    parameters: {model: m.gguf, top_k: 7}\n",
            ("config is no text; it was read as it stands",),
        ),
        (
            "config:\n  name: chat\n  parameters: {model: m.gguf, top_k: 7}\n",
            ("config is no text; it was read as it stands",),
        ),
        (
            "config: |\n  name: chat\n  parameters: {model: m.gguf, top_k: 7}\n  ---\n  name: other\n",
            ("only the first document in config is read",),
        ),
    ],
)
def test_a_config_may_be_a_text_or_not_a_list_or_one(config: str, warnings: tuple[str, ...]) -> None:
    manifest = parse(ONE + config)
    assert [(e.name, e.stored_name, e.overlay.parameters) for e in manifest.entries] == [
        ("chat", "m.gguf", (("top_k", 7),))
    ]
    assert manifest.warnings == warnings


def test_one_backend_need_not_be_a_list() -> None:
    manifest = parse(f"{PLAIN}runtime: cuda\nbackends: exllama2\n")
    assert manifest.backends == ("exllama2",)
    assert manifest.warnings[0] == "backends is one text; it was read as a list of one"


def test_only_the_first_document_is_read() -> None:
    for behind in ("---\nruntime: z\n", "---\n[[["):
        manifest = parse(f"{ONE}{behind}")
        assert entry_names(manifest) == ["m.gguf"]
        assert manifest.warnings == ("only the first of its documents is read",)


BROKEN = [
    ("foo", "a manifest is a map of keys"),
    ("- foo", "a manifest is a map of keys"),
    (f"{PLAIN}\tdebug: true\n", "line 2"),
    (f"{PLAIN}models: [\n", "line 3"),
    (f"{PLAIN}x: !!python/object:os.system [1]\n? [a]\n: b\n", "a key is not a text"),
    (f"{PLAIN}x: &a [*a]\n", f"it is more than {MAX_DEPTH} levels deep"),
    (f"{PLAIN}x: *missing\n", "found undefined alias"),
    (f"{PLAIN}x: {'[' * 40}{']' * 40}\n", f"it is more than {MAX_DEPTH} levels deep"),
    (f"{PLAIN}x: {'[' * 5000}\n", "it is no YAML"),
    (f'{PLAIN}x: "\\UFFFFFFFF"\n', "it is no YAML"),
    (f'{PLAIN}x: "\\ud800"\n', "a text is not UTF-8"),
    (f"{PLAIN}x: \ud800\n", "it is not UTF-8"),
    (f"{PLAIN}x: \x00\n", "it is no YAML"),
    (f"%YAML {'9' * 5000}.1\n---\n", "it is no YAML"),
    (f"{PLAIN}x: [{'a, ' * MAX_NODES}]\n", f"it has more than {MAX_NODES} values"),
    (f"{PLAIN}# {'a' * MAX_CHARACTERS}\n", f"it has more than {MAX_CHARACTERS} characters"),
    (f"{PLAIN}<<: text\n", "only a map can be merged"),
    (ONE + "config: '['\n", "config: line 1"),
    (ONE + "config: text\n", "config must be a list"),
    (ONE + "config: '[x]'\n", "config[0] must be a map"),
]


@pytest.mark.parametrize(("text", "said"), BROKEN)
def test_what_is_no_manifest_is_refused_with_its_place(text: str, said: str) -> None:
    assert said in refusal(text)


def test_aliases_that_multiply_are_counted() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert refusal(PLAIN + "\n".join(levels)) == f"it has more than {MAX_NODES} values"


def test_anchors_and_merges_are_followed() -> None:
    shared = "config: |\n  - &base\n    name: a\n    parameters: {model: m.gguf}\n    context_size: 512\n"
    manifest = parse(f"{ONE}{shared}  - {{<<: *base, name: b}}\n")
    assert [(entry.name, entry.loading.context) for entry in manifest.entries] == [("a", 512), ("b", 512)]


@pytest.mark.parametrize("template", ["{{.Input}}", "{{.Input}} and more"])
def test_a_template_that_yaml_takes_for_a_map_comes_with_a_hint(template: str) -> None:
    text = f"{ONE}    promptTemplates:\n      - name: chat\n        template: {template}\n"
    assert "a template that begins with {{ needs quotes around it, or a block" in refusal(text)


def test_line_ends_of_windows_make_no_difference() -> None:
    assert parse(EXAMPLE.replace("\n", "\r\n")) == parse(EXAMPLE)


def test_a_template_without_its_key_is_found_in_its_name() -> None:
    text = f"{ONE}    promptTemplates:\n      - name: completion\n          {{{{.Input}}}}\n"
    manifest = parse(
        text + "config: |\n  - name: chat\n    parameters: {model: m.gguf}\n    template: {chat: completion}\n"
    )
    templates = manifest.entries[0].overlay.template
    assert isinstance(templates, LocalTemplates)
    assert templates.chat == "{{.Input}}"
    said = (
        "models[0].promptTemplates[0] has no template: key; what stands behind its name 'completion' was taken for one"
    )
    assert manifest.warnings == (said,)


@pytest.mark.parametrize("label", ["a/../../x", "../x", "/x", "a\\b"])
def test_a_template_is_not_called_like_a_path_to_elsewhere(label: str) -> None:
    text = f"{ONE}    promptTemplates:\n      - name: {label}\n        template: x\n"
    assert refusal(text) == f"models[0].promptTemplates[0].name '{label}' is no name for a template"


def test_templates_that_lack_something_are_left_out() -> None:
    text = f"{ONE}    promptTemplates:\n      - name: a\n      - template: b\n      - name: ''\n        template: c\n"
    assert parse(text).warnings == ()


def test_unknown_keys_are_told_and_ignored() -> None:
    manifest = parse(f"{ONE}    licence: mit\nversion: 3\n")
    assert entry_names(manifest) == ["m.gguf"]
    assert manifest.warnings == ("version is not known", "models[0].licence is not known")


def test_build_arguments_take_the_place_of_models_and_runtime() -> None:
    manifest = parse(EXAMPLE, model="huggingface://o/r/sub/x.gguf", runtime="avx2")
    assert [(file.source, file.stored_name) for file in manifest.files] == [("huggingface://o/r/sub/x.gguf", "x.gguf")]
    (entry,) = manifest.entries
    assert (entry.name, entry.stored_name) == ("x.gguf", "x.gguf")
    assert (entry.loading.flavours, entry.loading.instruction_set) == (("cpu",), "avx2")
    assert entry_names(parse(PLAIN, model="oci://registry.ollama.ai/library/llama3:8b")) == ["llama3-8b.gguf", "llama3"]
    assert refusal(EXAMPLE, runtime="z") == "runtime z is not supported"
    assert refusal(EXAMPLE, model="ftp://h/x") == "unsupported URL scheme: ftp"


def test_yaml_blocks_of_a_page_are_found() -> None:
    page = "x\n```yaml\na: 1\n```\ny\n~~~~yml\n```\nb\n~~~~\n```python\nc\n```\n"
    assert fenced(page) == ("a: 1\n", "```\nb\n")
    assert fenced("a: 1") == ()
