"""LoRA adapters: which ones an operator registers for a model, and whether they fit it. Decided on headers.

An adapter adds B·A to some of the model's matrices. llama.cpp refuses what does not fit with a line in its log, but not
everything: some of what it takes ends the process at the first token, and some it leaves out without a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tropilla.common.errors import ConfigurationError
from tropilla.common.gguf import Header, read_header
from tropilla.common.names import MODEL_NAME

#: What requests say that mean no adapter: TGI's name for "the model".
RESERVED = frozenset({"tgi"})
_HALVES = ("lora_a", "lora_b")
_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"
_ALPHA, _INVOCATION, _FILES = "adapter.lora.alpha", "adapter.alora.invocation_tokens", "split.count"

Shape = tuple[int, ...]


def parse_adapter(text: str) -> tuple[str, Path]:
    """`NAME=PATH` -> both. Raises `ConfigurationError`."""
    name, separator, path = text.partition("=")
    if not separator or not path:
        raise ConfigurationError(f"{text!r} is not NAME=PATH, the adapter's name and its GGUF file")
    if not MODEL_NAME.fullmatch(name) or name in RESERVED:
        raise ConfigurationError(f"{name!r} cannot be an adapter's name: it is made like a model's, and is not 'tgi'")
    whole = Path(path).expanduser().absolute()
    if "," in str(whole):
        raise ConfigurationError(f"'{whole}' cannot be an adapter's file: a comma stands between adapters")
    return name, whole


def named_adapters(setting: str) -> dict[str, Path]:
    """What the setting names, in its order. Raises `ConfigurationError`."""
    found: dict[str, Path] = {}
    for text in setting.split(",") if setting else ():
        name, path = parse_adapter(text)
        if name in found:
            raise ConfigurationError(f"two adapters are called {name}: each needs a name of its own")
        found[name] = path
    return found


def setting_of(adapters: Iterable[tuple[str, Path]]) -> str:
    """The setting that names these."""
    return ",".join(f"{name}={path}" for name, path in adapters)


def read_adapters(adapters: Mapping[str, Path], *, name: str, model: Header) -> list[Header]:
    """The headers of a model's adapters. Raises `ConfigurationError` for the first that cannot be used with it."""
    headers = []
    for called, path in adapters.items():
        if called == name:
            raise ConfigurationError(f"the adapter {called} is called like its model: requests could not name it")
        headers.append(header := read_header(path))
        if wrong := misfit(header, model):
            raise ConfigurationError(f"{path} cannot be an adapter of {name}: {wrong}")
    return headers


def misfit(adapter: Header, model: Header) -> str | None:
    """Why the adapter cannot be used with the model, in half a sentence."""
    values = adapter.values
    if values.get("general.type") != "adapter":
        return "it is a GGUF of something else"
    if values.get("adapter.type") != "lora":
        return f"it is of type {values.get('adapter.type')!r}, and only lora is served"
    if adapter.architecture != model.architecture:
        return f"it was made for {adapter.architecture}, and the model is {model.architecture}"
    # llama.cpp asserts this type, and would end the process.
    if not isinstance(values.get(_ALPHA, 1.0), float):
        return f"its {_ALPHA} is not a fraction"
    if _INVOCATION in values:
        return "it is an activated LoRA, which begins in the middle of a prompt, and those are not served"
    return _unpaired(adapter.tensors) or next(_misfits(adapter.tensors, model), None)


def _unpaired(tensors: Mapping[str, Shape]) -> str | None:
    for tensor in tensors:
        name, _, half = tensor.rpartition(".")
        if half not in _HALVES:
            return f"llama.cpp would leave out its tensor {tensor}"
        if any(f"{name}.{other}" not in tensors for other in _HALVES):
            return f"it has only one half of {name}"
    return None if tensors else "it has no tensors"


def _misfits(tensors: Mapping[str, Shape], model: Header) -> Iterator[str]:
    # Of a model in several files this is the first; what stands in the others is for llama.cpp to judge.
    whole = not model.values.get(_FILES)
    for name in dict.fromkeys(tensor.rpartition(".")[0] for tensor in tensors):
        first, second = (_padded(tensors[f"{name}.{half}"]) for half in _HALVES)
        looked_up = name == _EMBEDDING
        if looked_up and _OUTPUT not in model.tensors:
            # llama.cpp would multiply the output by the matrices that look tokens up, and end the process.
            yield f"it adapts {name}, which in this model is the output as well, and llama.cpp cannot do that"
        elif name not in model.tensors:
            if whole:
                yield f"it adapts {name}, which the model does not have"
        elif not _fits(first, second, _padded(model.tensors[name]), looked_up=looked_up):
            yield f"it adapts a {name} of another shape"


def _fits(first: Shape, second: Shape, whole: Shape, *, looked_up: bool) -> bool:
    """Whether A and B make a matrix of this shape; shapes as ggml has them, inputs before outputs."""
    inputs, outputs, *experts = whole
    # A of the embeddings is a table with a row for each token.
    rank, expected = (first[0], (first[0], outputs)) if looked_up else (first[1], (inputs, first[1]))
    return rank > 0 and first == (*expected, *experts) and second == (rank, inputs if looked_up else outputs, *experts)


def _padded(shape: Shape) -> Shape:
    """To ggml's four dimensions."""
    return (*shape, 1, 1, 1, 1)[:4]
