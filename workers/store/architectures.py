"""What the pinned llama.cpp can load: its table of architectures (src/llama-arch.cpp) and of tokenizers (llama-vocab.cpp).

Asking the library itself would mean to load the file. A test looks every name up in the installed library.
"""

from __future__ import annotations

ARCHITECTURES = frozenset({
    "afmoe", "apertus", "arcee", "arctic", "arwkv7", "baichuan", "bailingmoe", "bailingmoe2", "bailingmoe3",
    "bert", "bitnet", "bloom", "chameleon", "chatglm", "codeshell", "cogvlm", "cohere2", "cohere2moe",
    "command-r", "dbrx", "deci", "deepseek", "deepseek2", "deepseek2-ocr", "deepseek32", "deepseek4", "dots1",
    "dots3note", "dream", "ernie4_5", "ernie4_5-moe", "eurobert", "exaone", "exaone-moe", "exaone4", "falcon",
    "falcon-h1", "gemma", "gemma-embedding", "gemma2", "gemma3", "gemma3n", "gemma4", "glm-dsa", "glm4",
    "glm4moe", "glm5-next", "gpt-oss", "gpt2", "gptneox", "granite", "granite_swa", "granitehybrid",
    "granitemoe", "graniteswitch", "grok", "grovemoe", "hrm_text", "hunyuan-dense", "hunyuan-moe", "hunyuan_vl",
    "hy_v3", "hy_v4", "internlm2", "jais", "jais2", "jamba", "jina-bert-v2", "jina-bert-v3", "kimi-k3",
    "kimi-linear", "laguna", "lfm2", "lfm2moe", "llada", "llada-moe", "llama", "llama-embed", "llama4",
    "maincoder", "mamba", "mamba2", "maple", "mellum", "mimo2", "minicpm", "minicpm3", "minimax-01",
    "minimax-m2", "minimax-m3", "mistral3", "mistral4", "modern-bert", "mpt", "muse-glimmer", "nanbeige",
    "nemotron", "nemotron_h", "nemotron_h_moe", "neo-bert", "nomic-bert", "nomic-bert-moe", "olmo", "olmo2",
    "olmoe", "openelm", "orion", "paddleocr", "pangu-embedded", "phi2", "phi3", "phimoe", "plamo", "plamo2",
    "plamo3", "plm", "qwen", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen35", "qwen35moe", "qwen3moe",
    "qwen3next", "qwen3vl", "qwen3vlmoe", "qwen4exp", "refact", "rnd1", "rwkv6", "rwkv6qwen2", "rwkv7",
    "seed_oss", "smallthinker", "smollm3", "spark2_5", "stablelm", "starcoder", "starcoder2", "step35", "t5",
    "t5encoder", "talkie", "xverse",
})  # fmt: skip

#: What llama.cpp knows and no text comes out of.
PARTS = {
    "clip": "the part of a model that reads images, and no language model",
    "eagle3": "a draft for another model, and no model of its own",
    "dflash": "a draft for another model, and no model of its own",
    "gemma4-assistant": "a draft for another model, and no model of its own",
    "wavtokenizer-dec": "a decoder of sound, and no language model",
    "qwen3tts": "a model that speaks, and writes no text",
    "pockettts": "a model that speaks, and writes no text",
}

TOKENIZERS = frozenset({"llama", "bert", "gpt2", "hybriddna", "whitespace", "t5", "rwkv", "plamo2", "gemma4"})

#: What reads images for a model, and belongs beside it.
PROJECTOR = "clip"
#: A projector's type -> what of an image depends on where in the prompt it stands (tools/mtmd/mtmd.cpp).
#: Here images are cut and encoded each by itself, and shared between prompts: such a model would be shown something else.
PLACED = {
    "deepseek4v": "how far it is padded",
    "hunyuanvl": "its number among all images",
}
#: A projector's type -> the tensor whose shape ends in what it gives the model, and in which place (`clip_n_mmproj_embd` of
#: tools/mtmd/clip.cpp). Only those of which the header makes that certain.
PROJECTIONS = {
    "qwen2vl_merger": ("mm.2.bias", 0),
    "qwen2.5vl_merger": ("mm.2.bias", 0),
    "gemma3": ("mm.input_projection.weight", 0),
    "idefics3": ("mm.model.fc.weight", 1),
    "internvl": ("mm.3.weight", 1),
    "llama4": ("mm.model.fc.weight", 1),
    "mlp": ("mm.2.weight", 1),
    "pixtral": ("mm.2.weight", 1),
}
