"""The built wheel beside openai 0.28, 1.x, 2.x, 3.x and none: its errors, and the examples."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from environments import LIBRARIES, PROJECT, build_wheel, library, printed_by, start

from tests.e2e.wire import some_address

MODERN = {
    "InvalidRequestError": "BadRequestError",
    "AuthenticationError": "AuthenticationError",
    "PermissionError": "PermissionDeniedError",
    "RateLimitError": "RateLimitError",
    "ServiceUnavailableError": "InternalServerError",
    "APIError": "APIError",
    "APIError in a stream": "APIError",
    "Timeout": "APITimeoutError",
    "APIConnectionError": "APIConnectionError",
    "TryAgain": "ConflictError",
    "InvalidAPIType": "OpenAIError",
}

DOCUMENTED = """
''' Example of using the OpenAI Proxy Python SDK '''

import json
import openai.error
import openai_proxy

openai_proxy.api_key = "hackathon/githubuser"
openai_proxy.api_base = "https://YOUR_OPENAI_PROXY_ENDPOINT"
openai_proxy.api_version = "2023-07-01-preview"
openai_proxy.api_type = "azure"

poem_messages = [
    {
        "role": "system",
        "content": "You are an AI assistant that writes poems in the style of William Shakespeare.",
    },
    {"role": "user", "content": "Write a poem about indian elephants"},
]

try:
    response = openai_proxy.ChatCompletion.create(
        messages=poem_messages,
        max_tokens=256,
        temperature=1.0,
    )

    print(json.dumps(response, indent=4, sort_keys=True))

except openai.error.InvalidRequestError as invalid_request_error:
    print(invalid_request_error)

except openai.error.AuthenticationError as authentication_error:
    print(authentication_error)

except openai.error.PermissionError as permission_error:
    print(permission_error)

except openai.error.TryAgain as try_again:
    print(try_again)

except openai.error.RateLimitError as rate_limit_error:
    print(rate_limit_error)

except openai.error.APIError as api_error:
    print(api_error)

except Exception as exception:
    print(exception)
"""
SAID = "[simulated] gpt-4o here, you said: Write a poem about indian elephants"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def package(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs."""
    folder = tmp_path_factory.mktemp("package")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def met(gateway: str, simulator: str, package: Path) -> dict[str, dict[str, Any]]:
    """For each environment, the errors that were met in it."""
    probe = str(Path(__file__).with_name("probe.py"))
    running = {
        name: start([probe, gateway, simulator, some_address()], package, library(name))
        for name in LIBRARIES
    }
    return {name: json.loads(printed_by(process)) for name, process in running.items()}


@pytest.mark.parametrize("name", MODERN)
@pytest.mark.parametrize("environment", LIBRARIES)
def test_an_error_is_caught_by_the_name_that_its_users_know(
    met: dict[str, Any], environment: str, name: str
) -> None:
    known = name.partition(" ")[0]
    expected = {
        "none": [f"openai_proxy.error.{known}"],
        "0.28": [f"openai.error.{known}"],
    }.get(environment, [f"openai_proxy.error.{known}", f"openai.{MODERN[name]}"])

    assert set(expected) <= set(met[environment][name]["classes"])


@pytest.mark.parametrize("environment", LIBRARIES)
def test_an_error_tells_the_same_in_every_environment(
    met: dict[str, Any], environment: str
) -> None:
    assert "Incorrect API key provided" in met[environment]["AuthenticationError"]["text"]
    assert met[environment]["PermissionError"]["code"] == "event_ended"
    assert met[environment]["RateLimitError"]["http_status"] == 429
    assert met[environment]["APIError in a stream"]["code"] == "upstream_stream_cut"


@pytest.mark.parametrize("environment", ["1", "2", "3"])
def test_an_error_has_the_attributes_of_the_newer_ones(
    met: dict[str, Any], environment: str
) -> None:
    failure = met[environment]["PermissionError"]

    assert failure["modern"] == [403, failure["text"]]


def run(example: str, gateway: str, *folders: Path) -> str:
    """What the example prints, with only the URL changed."""
    code = example.replace("https://YOUR_OPENAI_PROXY_ENDPOINT", gateway)
    return printed_by(start(["-c", code], *folders))


def test_the_documented_example_runs_as_it_stands(gateway: str, package: Path) -> None:
    answer = json.loads(run(DOCUMENTED, gateway, package, library("0.28")))

    assert answer["choices"][0]["message"]["content"].startswith(SAID)


@pytest.mark.parametrize(
    ("key", "says"),
    [("no-such-event/anna", "Incorrect API key"), ("over-event/anna", "UTC")],
)
def test_the_documented_example_prints_the_error(
    gateway: str, package: Path, key: str, says: str
) -> None:
    example = DOCUMENTED.replace("hackathon/githubuser", key)

    assert says in run(example, gateway, package, library("0.28"))


def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(
    ("number", "environment"),
    [(0, "0.28"), (1, "1"), (2, "none")],
)
def test_the_examples_of_the_readme_run(
    gateway: str, package: Path, number: int, environment: str
) -> None:
    printed = run(examples()[number], gateway, package, library(environment))

    assert SAID in printed


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        about = archive.read(metadata).decode()

    sources = {f"openai_proxy/{path.name}" for path in (PROJECT / "openai_proxy").glob("*.py")}
    assert names == sources | {"openai_proxy/py.typed"}
    assert "Requires-Dist: httpx" in about
    assert "# openai_proxy" in about
