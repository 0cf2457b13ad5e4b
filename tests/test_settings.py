"""The settings, and that what is written about them is true."""

import json
import re
from pathlib import Path

import pytest

from shared.errors import ConfigurationError
from shared.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
GOOD = {
    "AZURE_OPENAI_ENDPOINT": "https://name.openai.azure.com/",
    "AZURE_OPENAI_MODEL_MAP": "gpt-4o|gpt-4o",
    "EVENT_STORAGE": "UseDevelopmentStorage=true",
}


def test_defaults() -> None:
    settings = Settings.from_environ(GOOD)
    assert settings.endpoint == "https://name.openai.azure.com"
    assert settings.api_version == "2024-10-21"
    assert settings.api_key is None
    assert settings.max_body_bytes == 32 * 2**20


def test_an_empty_setting_counts_as_absent() -> None:
    settings = Settings.from_environ(
        {**GOOD, "AZURE_OPENAI_API_KEY": " ", "EVENT_STORAGE": ""}
        | {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
    )
    assert settings.api_key is None
    assert settings.storage.connection_string


@pytest.mark.parametrize("prefix", ["EVENT_STORAGE", "AzureWebJobsStorage"])
def test_the_store_is_reached_by_identity_too(prefix: str) -> None:
    environ = {**GOOD, "EVENT_STORAGE": ""}
    environ |= {f"{prefix}__tableServiceUri": "https://x.table.core.windows.net/"}
    environ |= {f"{prefix}__clientId": "an-id"}
    storage = Settings.from_environ(environ).storage
    assert storage.table_service_uri == "https://x.table.core.windows.net"
    assert storage.client_id == "an-id"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AZURE_OPENAI_ENDPOINT", ""),
        ("AZURE_OPENAI_ENDPOINT", "name.openai.azure.com"),
        ("AZURE_OPENAI_ENDPOINT", "https://name.openai.azure.com/openai/v1"),
        ("AZURE_OPENAI_ENDPOINT", "https://key@name.openai.azure.com"),
        ("AZURE_OPENAI_MODEL_MAP", ""),
        ("EVENT_STORAGE", ""),
        ("REQUEST_MAX_BYTES", "many"),
        ("UPSTREAM_IDLE_TIMEOUT_S", "0"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        Settings.from_environ({**GOOD, name: value})
    assert name in error.value.message


def test_every_wrong_setting_is_named_at_once_and_no_value_is_shown() -> None:
    environ = {**GOOD, "AZURE_OPENAI_ENDPOINT": "the-secret-host", "REQUEST_MAX_BYTES": "-5"}
    with pytest.raises(ConfigurationError) as error:
        Settings.from_environ(environ)
    assert "AZURE_OPENAI_ENDPOINT" in error.value.message
    assert "REQUEST_MAX_BYTES" in error.value.message
    assert "the-secret-host" not in error.value.message


def test_keys_are_not_printed() -> None:
    settings = Settings.from_environ({**GOOD, "AZURE_OPENAI_API_KEY": "the-secret"})
    assert "the-secret" not in repr(settings)


def names() -> set[str]:
    return {field.alias for field in Settings.model_fields.values() if field.alias}


def test_the_readme_has_each_setting_in_its_table() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)`", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(names())


def test_the_example_settings_are_enough() -> None:
    values = json.loads((ROOT / "local.settings.example.json").read_text("utf-8"))["Values"]
    Settings.from_environ(values)
    assert values["FUNCTIONS_WORKER_RUNTIME"] == "python"
    assert values["PYTHON_ENABLE_INIT_INDEXING"] == "1"
