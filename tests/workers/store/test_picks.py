"""Which of a repository's files is meant."""

from __future__ import annotations

import pytest
from tropilla.workers.store.picks import groups_of, pick, projector_beside
from tropilla.workers.store.pulling import FetchFailed

ONE = ["README.md", "model.gguf", "mmproj-model-f16.gguf", "model.imatrix.gguf"]
MANY = [
    "m.Q2_K.gguf", "m.Q4_K_M.gguf", "m.Q8_0.gguf", "m.IQ3_XXS.gguf", "m-BF16-00001-of-00002.gguf",
    "m-BF16-00002-of-00002.gguf", "UD/m-UD-Q4_K_XL.gguf", "config.json",
]  # fmt: skip
NO_MEDIUM = ["m.Q2_K.gguf", "m.Q8_0.gguf"]


@pytest.mark.parametrize(
    ("paths", "quant", "expected"),
    [
        (ONE, "", ("model.gguf",)),
        (ONE, "model", ("model.gguf",)),
        (MANY, "", ("m.Q4_K_M.gguf",)),
        (MANY, "q8_0", ("m.Q8_0.gguf",)),
        (MANY, "IQ3_XXS", ("m.IQ3_XXS.gguf",)),
        (MANY, "bf16", ("m-BF16-00001-of-00002.gguf", "m-BF16-00002-of-00002.gguf")),
        (MANY, "m-BF16-00002-of-00002.gguf", ("m-BF16-00001-of-00002.gguf", "m-BF16-00002-of-00002.gguf")),
        (MANY, "M.Q2_K.GGUF", ("m.Q2_K.gguf",)),
        (MANY, "Q4_K_XL", ("UD/m-UD-Q4_K_XL.gguf",)),
        (MANY, "UD-Q4_K_XL", ("UD/m-UD-Q4_K_XL.gguf",)),
        (NO_MEDIUM, "", ("m.Q8_0.gguf",)),
        (["x-Q4_K_M.gguf", "x-UD-Q4_K_M.gguf"], "Q4_K_M", ("x-Q4_K_M.gguf",)),
        (["Q5_K_M/x-00001-of-00002.gguf", "Q5_K_M/x-00002-of-00002.gguf", "x-f32.gguf"], "q5_k_m",
         ("Q5_K_M/x-00001-of-00002.gguf", "Q5_K_M/x-00002-of-00002.gguf")),
    ],
)  # fmt: skip
def test_the_model_that_is_meant(paths: list[str], quant: str, expected: tuple[str, ...]) -> None:
    assert pick("o/r", groups_of(paths), quant).paths == expected


@pytest.mark.parametrize(
    ("paths", "quant", "code", "message"),
    [
        (["README.md", "x.safetensors"], "", "not_gguf", "o/r has no GGUF files of a language model"),
        (["mmproj-x.gguf"], "", "not_gguf", "o/r has no GGUF files of a language model"),
        (NO_MEDIUM, "Q5_0", "download_failed", "o/r has no Q5_0; ask for one of: Q2_K, Q8_0"),
        (["a.Q2_K.gguf", "b.Q3_K_S.gguf"], "", "download_failed", "o/r has several models; ask for one of: Q2_K, Q3_K_S"),
        (["a.gguf", "b.gguf"], "", "download_failed", "o/r has several models; ask for one of: a.gguf, b.gguf"),
        (["a.Q4_0.gguf", "b.Q4_0.gguf"], "q4_0", "download_failed",
         "o/r has several models; ask for one of: a.Q4_0.gguf, b.Q4_0.gguf"),
        (["x-00001-of-00003.gguf", "x-00003-of-00003.gguf"], "", "file_missing",
         "o/r lacks shards of the model: x-00002-of-00003.gguf"),
    ],
)  # fmt: skip
def test_what_cannot_be_picked_lists_what_there_is(paths: list[str], quant: str, code: str, message: str) -> None:
    with pytest.raises(FetchFailed) as caught:
        pick("o/r", groups_of(paths), quant)
    assert (caught.value.code, caught.value.message) == (code, message)


@pytest.mark.parametrize(
    ("model", "paths", "expected"),
    [
        ("m-Q4_K_M.gguf", ["m-Q4_K_M.gguf", "README.md"], ""),
        ("m-Q4_K_M.gguf", ["mmproj-m-f16.gguf"], "mmproj-m-f16.gguf"),
        # As many bits as the model has, or nearly so; of equals the first.
        ("m-Q4_K_M.gguf", ["mmproj-F32.gguf", "mmproj-F16.gguf", "mmproj-Q8_0.gguf"], "mmproj-Q8_0.gguf"),
        ("m-BF16-00001-of-00002.gguf", ["mmproj-Q8_0.gguf", "mmproj-F32.gguf", "mmproj-F16.gguf"], "mmproj-F16.gguf"),
        ("m-Q4_0.gguf", ["mmproj-BF16.gguf", "mmproj-F16.gguf"], "mmproj-BF16.gguf"),
        ("m.gguf", ["mmproj-Q8_0.gguf", "mmproj.gguf"], "mmproj.gguf"),
        # The nearest folder above it, and no other one.
        ("a/b/m-Q4_0.gguf", ["mmproj-Q8_0.gguf", "a/mmproj-F16.gguf", "c/mmproj-Q4_0.gguf"], "a/mmproj-F16.gguf"),
        ("a/m.gguf", ["b/mmproj.gguf", "a/b/mmproj.gguf"], ""),
        ("m.gguf", ["mmproj-F16.txt", "mmproj/m-F16.gguf", "mmproj-00001-of-00002.gguf"], ""),
        ("m.gguf", ["m.MMPROJ-f16.GGUF"], "m.MMPROJ-f16.GGUF"),
    ],
)
def test_the_projector_that_llama_cpp_would_take(model: str, paths: list[str], expected: str) -> None:
    assert projector_beside(model, paths) == expected
