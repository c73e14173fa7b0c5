from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tropilla.compose.client import tables
from tropilla.compose.client.answers import Listed, Running, Shown

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
ROWS = [("NAME", "SIZE"), ("a-long-name:q4_k_m", "1 KB"), ("b", "22 MB")]


def test_columns_stand_under_each_other_and_lines_end_with_their_last_word() -> None:
    assert tables.aligned(ROWS) == [
        "NAME                  SIZE",
        "a-long-name:q4_k_m    1 KB",
        "b                     22 MB",
    ]
    assert tables.aligned([]) == []


@pytest.mark.parametrize(
    ("width", "first"),
    [
        (80, "a-long-name:q4_k_m    1 KB"),
        (27, "a-long-name:q4_k_m    1 KB"),
        (26, "a-long-name:q4_k…    1 KB"),
        (10, "a-long-name…    1 KB"),
    ],
)
def test_a_narrow_terminal_cuts_names_down_to_a_point(width: int, first: str) -> None:
    assert tables.aligned(ROWS, width=width)[1] == first


def test_rows_may_be_of_different_lengths() -> None:
    assert tables.aligned([("a",), ("bb", "c")]) == ["a", "bb    c"]


def test_models_are_listed_with_short_digests_and_ages() -> None:
    models = [Listed("llama3:latest", "ab" * 32, 4_661_224_676, NOW - timedelta(days=3)), Listed("b", "0" * 64, 1, NOW)]
    assert list(tables.listed_rows(models, NOW)) == [
        ("llama3:latest", "abababababab", "4.7 GB", "3 days ago"),
        ("b", "000000000000", "1 B", "a moment ago"),
    ]
    assert [row[0] for row in tables.listed_rows(models, NOW, "LLA")] == ["llama3:latest"]


@pytest.mark.parametrize(
    ("size", "gpu", "text"),
    [
        (100, 0, "100% CPU"),
        (100, 100, "100% GPU"),
        (100, 120, "100% GPU"),
        (100, 52, "48%/52% CPU/GPU"),
        (100_000, 99_999, "1%/99% CPU/GPU"),
        (100_000, 1, "99%/1% CPU/GPU"),
        (0, 0, "100% CPU"),
    ],
)
def test_a_model_says_where_it_lies(size: int, gpu: int, text: str) -> None:
    assert tables.processor(size, gpu) == text


def test_what_runs_says_until_when() -> None:
    model = Running("m:latest", "cd" * 32, 2000, 0, 4096, NOW + timedelta(minutes=5))
    assert list(tables.running_rows([model], NOW)) == [
        ("m:latest", "cdcdcdcdcdcd", "2.0 KB", "100% CPU", "4096", "5 minutes from now")
    ]


def shown(**fields: Any) -> Shown:
    details = {"family": "llama", "parameter_size": "8.0B", "quantization_level": "Q4_0", "parent_model": ""}
    facts = {"general.architecture": "llama", "llama.context_length": 8192, "llama.rope.scaling": None}
    texts = dict.fromkeys(("modelfile", "parameters", "template", "system", "license"), "")
    return Shown(**{"details": details, "facts": facts, "capabilities": ("completion", "tools"), **texts, **fields})


def test_what_a_model_is_stands_in_sections_without_what_nobody_knows() -> None:
    assert dict(tables.sections(shown(), verbose=False)) == {
        "Model": (
            ("architecture", "llama"),
            ("parameters", "8.0B"),
            ("context length", "8192"),
            ("quantization", "Q4_0"),
        ),
        "Capabilities": (("completion",), ("tools",)),
    }


def test_parameters_are_pairs_and_long_texts_are_cut() -> None:
    license = "\n".join(f"line {n}" for n in range(10))
    found = dict(tables.sections(shown(parameters='stop      "<a b>"\nseed   1\n', license=license), verbose=False))
    assert found["Parameters"] == (("stop", '"<a b>"'), ("seed", "1"))
    assert found["License"] == (("line 0",), ("line 1",), ("line 2",), ("(7 more lines)",))


def test_verbose_shows_every_fact_and_whole_texts() -> None:
    found = dict(tables.sections(shown(system="a\n" * 9), verbose=True))
    assert found["Metadata"] == (("general.architecture", "llama"), ("llama.context_length", "8192"))
    assert len(found["System"]) == 9


def test_what_reads_images_has_a_section_of_its_own() -> None:
    eyes = {"general.architecture": "clip", "clip.projector_type": "mlp", "clip.vision.image_size": 24, "clip.x": None}
    found = dict(tables.sections(shown(eyes=eyes), verbose=True))
    assert found["Projector"] == (("architecture", "clip"), ("type", "mlp"), ("image size", "24"))
    assert ("clip.vision.image_size", "24") in found["Projector's metadata"]
