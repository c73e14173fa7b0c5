"""Whether a sound GGUF file is a model that this llama.cpp can serve, decided on its header: before any worker loads it."""

from __future__ import annotations

from collections.abc import Sequence

from tropilla.common.header import TOKENS, Header
from tropilla.workers.store.architectures import ARCHITECTURES, PARTS, PLACED, PROJECTIONS, PROJECTOR, TOKENIZERS
from tropilla.workers.store.refusals import Unfit

#: What llama.cpp asks of every model, below its architecture's name.
NEEDED = ("context_length", "embedding_length", "block_count")
_TOKENIZER = "tokenizer.ggml.model"
_COUNT, _NUMBER = "split.count", "split.no"

Named = tuple[str, Header]


def check_model(called: str, header: Header) -> None:
    """Raises `Unfit`. Of a model in several files this is the first one."""
    values = header.values
    kind = values.get("general.type", "model")
    if kind == "adapter":
        raise Unfit("not_gguf", f"{called} is an adapter, and no model: it belongs over one")
    if kind in ("mmproj", "vocab"):
        raise Unfit("not_gguf", f"{called} is only a part of a model ({kind})")
    architecture = values.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise Unfit("not_gguf", f"{called} does not say of which architecture it is (general.architecture)")
    if architecture in PARTS:
        raise Unfit("unsupported_arch", f"{called} is {PARTS[architecture]} ({architecture})")
    if architecture not in ARCHITECTURES:
        raise Unfit("unsupported_arch", f"{called} is a {architecture}, which this llama.cpp does not know")
    missing = [key for key in NEEDED if header.of_architecture(key) <= 0]
    if missing:
        raise Unfit("not_gguf", f"{called} lacks {', '.join(f'{architecture}.{key}' for key in missing)}")
    _check_tokenizer(called, header)
    if not header.tensors:
        raise Unfit("not_gguf", f"{called} has no tensors: it is only a vocabulary")


def check_projector(called: str, header: Header, model: Header) -> None:
    """Raises `Unfit` for what certainly reads no images for the model: mtmd would say so once everything is loaded."""
    if header.architecture != PROJECTOR:
        raise Unfit("not_gguf", f"{called} is no projector: its architecture is {header.architecture}, not {PROJECTOR}")
    if header.values.get("clip.has_vision_encoder") is not True:
        raise Unfit("unsupported_arch", f"{called} reads no images (clip.has_vision_encoder)")
    if not header.tensors:
        raise Unfit("not_gguf", f"{called} has no tensors")
    kind = projector_type(header)
    if kind in PLACED:
        raise Unfit("unsupported_arch", f"{called} cannot be used: {PLACED[kind]} is known only in a prompt ({kind})")
    tensor, place = PROJECTIONS.get(kind, ("", 0))
    normed = kind == "mlp" and "mm.3.weight" in header.tensors
    shape = () if normed else header.tensors.get(tensor, ())
    width = shape[place] if place < len(shape) else 0
    wanted = model.of_architecture("embedding_length")
    # Such models take more than their width of an image: what deeper layers get of it.
    deep = model.of_architecture("n_deepstack_layers") > 0
    if width and wanted and width != wanted and not deep:
        raise Unfit(
            "not_gguf", f"{called} is not for this model: it gives embeddings of {width}, and {wanted} are wanted"
        )


def projector_type(header: Header) -> str:
    """ "" where its header does not say."""
    kind = header.values.get("clip.vision.projector_type") or header.values.get("clip.projector_type")
    return kind if isinstance(kind, str) else ""


def _check_tokenizer(called: str, header: Header) -> None:
    tokenizer = header.values.get(_TOKENIZER)
    if tokenizer in (None, "none", "no_vocab") or not header.vocabulary:
        lacks = TOKENS if tokenizer in TOKENIZERS else _TOKENIZER
        raise Unfit("not_gguf", f"{called} has no tokenizer ({lacks}): nothing can be asked of it in words")
    if tokenizer not in TOKENIZERS:
        raise Unfit("unsupported_arch", f"{called} has a tokenizer ({tokenizer}) that this llama.cpp does not know")


def in_order(files: Sequence[Named]) -> list[int]:
    """The places of a model's files, by their part numbers. Raises `Unfit` unless they are all its parts, each once."""
    counts = {_whole(header, _COUNT) for _, header in files}
    first = files[0][0]
    if counts <= {0, 1}:
        if len(files) > 1:
            raise Unfit("not_gguf", f"{first} and {files[1][0]} are two models, and not parts of one")
        return [0]
    if len(counts) > 1:
        said = " and ".join(map(str, sorted(counts)))
        raise Unfit("not_gguf", f"the files do not belong together: they speak of {said} parts")
    count = counts.pop()
    places = {_whole(header, _NUMBER, -1): place for place, (_, header) in enumerate(files)}
    missing = [number for number in range(min(count, 1000)) if number not in places]
    if len(files) != count or missing:
        if len(files) == 1 and count > 1:
            part = next(iter(places)) + 1
            raise Unfit("file_missing", f"{first} is part {part} of {count}, and the other parts are not here")
        lacks = f", part {missing[0] + 1} is not among them" if missing else ""
        raise Unfit("file_missing", f"{first} is a model in {count} parts, and {len(files)} are here{lacks}")
    return [places[number] for number in range(count)]


def _whole(header: Header, key: str, otherwise: int = 0) -> int:
    value = header.values.get(key, otherwise)
    return value if isinstance(value, int) else otherwise
