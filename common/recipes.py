"""What a model's name stands for: which files a worker loads for it, and what is laid over them.

Loading is dear and overlays are cheap: any number of names may share one recipe, and a worker that pins it answers for all
of them. So a worker knows recipes, the API knows overlays, and a request brings along what its name lays over the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tropilla.common.generation import LocalTemplates, Message

Flavour = Literal["cpu", "gpu"]
#: Instruction sets that a recipe may ask of a CPU worker.
INSTRUCTION_SETS = ("avx", "avx2", "avx512")


@dataclass(frozen=True, slots=True)
class File:
    """One file: in the store under its digest, or at an absolute path of a worker's own machine.

    `digest` is 64 hex digits over the content. `name` is what it was called where it came from: shards must keep theirs.
    """

    digest: str
    size_bytes: int
    name: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what a worker loads, and how; two recipes with one `pin` are equal.

    `pin` names it for lanes, presence and logs. The first of `files` is what llama.cpp is given, the others are its further
    shards. Numbers that are 0 (`gpu_layers`: -1) and texts that are empty are the worker's own settings.
    """

    pin: str
    files: tuple[File, ...]
    #: LoRA adapters that requests may name.
    adapters: tuple[tuple[str, File], ...] = ()
    #: Reads images for the model.
    projector: File | None = None
    #: Tokens of context per request.
    context: int = 0
    slots: int = 0
    threads: int = 0
    gpu_layers: int = -1
    cache_type: str = ""
    #: Workers that may load it; () is any.
    flavours: tuple[Flavour, ...] = ()
    #: What the processor must know: one of `INSTRUCTION_SETS`, "" is anything.
    instruction_set: str = ""
    #: The worker that loads it says all that it and llama.cpp have to say.
    debug: bool = False

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


#: What a model may set for requests that do not: fields of `generation.Sampling`, and these.
#: `adapter` is the one that is always there, and no request can leave it out.
MORE_PARAMETERS = ("max_tokens", "stop", "keep", "context", "adapter")
Parameter = int | float | bool | str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Polish:
    """What is done to a whole answer (never to a stream), in this order: LocalAI's cutstrings, extract_regex, trimspace and
    trimsuffix.
    """

    cut: tuple[str, ...] = ()
    extract: tuple[str, ...] = ()
    trim_space: tuple[str, ...] = ()
    trim_suffix: tuple[str, ...] = ()


UNPOLISHED = Polish()


@dataclass(frozen=True, slots=True)
class Overlay:
    """What a name lays over its weights. Everything empty is the model as its file has it.

    `template` is Go source as Ollama reads it, or LocalAI's set of templates. `messages` stand before every conversation.
    `parameters` are pairs of `Sampling` field names or `MORE_PARAMETERS` and values: defaults, which a request overrides
    (stop texts of a `LocalTemplates` model add up).
    """

    template: str | LocalTemplates = ""
    system: str = ""
    messages: tuple[Message, ...] = ()
    parameters: tuple[tuple[str, Parameter], ...] = ()
    licenses: tuple[str, ...] = ()
    #: GBNF that binds answers for which the caller asks nothing else.
    grammar: str = ""
    polish: Polish = UNPOLISHED

    @property
    def defaults(self) -> Mapping[str, Parameter]:
        return dict(self.parameters)


BARE = Overlay()
