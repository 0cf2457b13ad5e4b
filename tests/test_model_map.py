"""The grammar of the model map, and which deployment serves a model."""

import pytest

from shared.errors import ConfigurationError
from shared.model_map import ModelMap
from shared.models import Resource
from shared.operations import CHAT_COMPLETIONS, EMBEDDINGS

MAP = ModelMap.parse("gpt-3.5-turbo|gpt-35-turbo, GPT-4 | prod-4 ,text-embedding-3-small|embed")


def deployment(model_map: ModelMap, model: str) -> str | None:
    entry = model_map.find(model)
    return entry.deployment if entry else None


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("gpt-3.5-turbo", "gpt-35-turbo"),
        ("GPT-3.5-Turbo", "gpt-35-turbo"),
        ("gpt-35-turbo", "gpt-35-turbo"),
        ("gpt-4", "prod-4"),
        ("GPT-4", "prod-4"),
        ("prod-4", None),
        ("gpt-5", None),
    ],
)
def test_models_match_exactly_then_in_any_case_then_without_dots(
    model: str, found: str | None
) -> None:
    assert deployment(MAP, model) == found


def test_an_exact_match_wins_over_a_likeness() -> None:
    model_map = ModelMap.parse("gpt-35-turbo|a,gpt-3.5-turbo|b")
    assert deployment(model_map, "gpt-3.5-turbo") == "b"
    assert deployment(model_map, "gpt-35-turbo") == "a"


def test_an_azure_path_names_a_model_or_a_deployment() -> None:
    for name in ("GPT-4", "prod-4", "gpt-4"):
        entry = MAP.find_deployment(name)
        assert entry and entry.deployment == "prod-4"
    assert MAP.find_deployment("prod-5") is None


def test_a_call_without_a_model_takes_the_first_entry_that_fits() -> None:
    model_map = ModelMap.parse("text-embedding-3-small|embed,dall-e-3|images,gpt-4o|chat")
    chat, embeddings = (
        model_map.first(CHAT_COMPLETIONS.fits),
        model_map.first(EMBEDDINGS.fits),
    )
    assert chat and chat.deployment == "chat"
    assert embeddings and embeddings.deployment == "embed"


def test_a_call_without_a_model_finds_nothing_where_nothing_fits() -> None:
    assert ModelMap.parse("gpt-4o|chat").first(EMBEDDINGS.fits) is None


def test_a_bare_deployment_serves_every_model() -> None:
    model_map = ModelMap.parse("gpt-4o|chat,everything")
    assert deployment(model_map, "gpt-4o") == "chat"
    assert deployment(model_map, "whatever") == "everything"


@pytest.mark.parametrize(
    ("models", "left"),
    [
        ((), ["gpt-3.5-turbo", "GPT-4", "text-embedding-3-small"]),
        (("text-embedding-3-small", "gpt-4"), ["GPT-4", "text-embedding-3-small"]),
        (("gpt-35-turbo", "gpt-3.5-turbo"), ["gpt-3.5-turbo"]),
        (("unknown",), []),
    ],
)
def test_an_event_narrows_the_map_and_keeps_its_order(
    models: tuple[str, ...], left: list[str]
) -> None:
    assert MAP.narrow(models).models == left


def test_a_narrowed_bare_deployment_serves_the_named_models_only() -> None:
    narrowed = ModelMap.parse("everything").narrow(("gpt-4o",))
    assert deployment(narrowed, "gpt-4o") == "everything"
    assert deployment(narrowed, "gpt-5") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("gpt-4|a,,gpt-5|b", "entry 2 (''): it is empty"),
        ("gpt-4|a,", "entry 2 (''): it is empty"),
        (",gpt-4|a", "entry 1 (''): it is empty"),
        ("|a", "the model in front of '|' is missing"),
        ("gpt-4|", "entry 1 ('gpt-4|'): the deployment behind '|' is missing"),
        ("gpt-4|a|b", "more than one '|'"),
        ("gpt-4|a,GPT-4|b", "entry 2 ('GPT-4|b'): the model 'GPT-4' stands there twice"),
        ("gpt 4|a", "a model name has no blanks"),
        ("gpt-4;x|a", "a model name has no blanks"),
        ("gpt-4|a/b", "a deployment name has letters, digits"),
    ],
)
def test_a_malformed_map_names_the_entry_and_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        ModelMap.parse(text)
    assert complaint in error.value.message
    assert "AZURE_OPENAI_MODEL_MAP" in error.value.message


@pytest.mark.parametrize(
    ("name", "where"),
    [("default", "AZURE_OPENAI_MODEL_MAP: entry 1"), ("west", "The resource west: the model map")],
)
def test_a_wrong_map_is_named_where_it_stands(name: str, where: str) -> None:
    resource = Resource(name=name, endpoint="https://a.openai.azure.com", model_map="a|b|c")
    with pytest.raises(ConfigurationError, match=where):
        ModelMap.of(resource)
