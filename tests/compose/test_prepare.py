from __future__ import annotations

from pathlib import Path

import pytest
from sight import MODEL, PROJECTOR
from tiny import write_adapter, write_decoder
from tropilla.common.errors import ConfigurationError
from tropilla.compose.prepare import check_models, parse_model
from tropilla.compose.program import ModelFile
from tropilla.workers import pocket


def test_a_model_is_a_name_and_a_file_wherever_the_worker_is_started() -> None:
    assert parse_model("qwen/tiny:q4=/models/a=b.gguf") == ModelFile("qwen/tiny:q4", Path("/models/a=b.gguf"))
    assert parse_model("tiny=a.gguf").path == Path.cwd() / "a.gguf"
    assert parse_model("tiny=~/a.gguf").path == Path.home() / "a.gguf"


def test_no_model_is_the_built_in_one() -> None:
    assert parse_model("") == ModelFile()


@pytest.mark.parametrize("text", ["tiny", "tiny=", "=/a.gguf", "-x=/a.gguf", "a:b:c=/a.gguf", "../up=/a.gguf"])
def test_what_is_no_model_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_model(text)


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    models = (ModelFile("a", tmp_path / "1"), ModelFile("a", tmp_path / "2"))
    with pytest.raises(ConfigurationError, match="two models are called a"):
        check_models(models)


@pytest.mark.parametrize("others", [(("poet", Path("/2")),), (("pocket", Path("/2")),)])
def test_one_name_never_means_two_things(others: tuple[tuple[str, Path], ...], tmp_path: Path) -> None:
    models = (ModelFile(adapters=(("poet", Path("/1")),)), ModelFile("a", tmp_path / "1", others))
    with pytest.raises(ConfigurationError, match=f"two models or adapters are called {others[0][0]}"):
        check_models(models)


def test_an_adapter_that_does_not_fit_its_model_is_found_before_anything_runs(tmp_path: Path) -> None:
    other = write_decoder(tmp_path / "other.gguf")
    fitting = ("poet", write_adapter(tmp_path / "poet.gguf", pocket.path()))
    check_models((ModelFile(adapters=(fitting,)), ModelFile("a", other)))
    with pytest.raises(ConfigurationError, match=r"poet\.gguf cannot be an adapter of a: it adapts a blk\.0\..* shape"):
        check_models((ModelFile("a", other, (fitting,)),))


def test_a_file_that_is_no_gguf_is_found_before_anything_runs(tmp_path: Path) -> None:
    file = tmp_path / "page.gguf"
    file.write_text("<html>not found</html>")
    with pytest.raises(ConfigurationError, match=r"page\.gguf"):
        check_models((ModelFile("a", file),))


def test_a_projector_that_is_none_is_found_before_anything_runs(tmp_path: Path) -> None:
    check_models((ModelFile("sight", MODEL, projector=PROJECTOR),))
    with pytest.raises(ConfigurationError, match=r"sight\.gguf is no projector"):
        check_models((ModelFile("sight", MODEL, projector=MODEL),))
    with pytest.raises(ConfigurationError, match=r"mmproj-sight\.gguf is not for this model"):
        check_models((ModelFile("other", write_decoder(tmp_path / "other.gguf"), projector=PROJECTOR),))
