"""The programs in the documents of the systems that people come from, with only the host's name changed.

Slips are mended: brackets and quotes, imports and names that are not there, a loop over what is no stream.
`import Portkey` is `import { Portkey }`, since Node knows no other. The sample of openai_proxy is in
sdk/python/tests.
"""

import re
from pathlib import Path

import pytest

from tests.clients import environments
from tests.conftest import KEY

DOCUMENTS = Path(__file__).with_name("documents")
PICTURE = bytes(range(256)) * 12


def run(name: str, gateway: str, folder: Path, environment: str = "", **replaced: str) -> str:
    """What a documented program prints, run in this folder with the gateway's address and key."""
    code = (DOCUMENTS / name).read_text("utf-8")
    hosts = (
        r"https://(YOUR_OPENAI_PROXY_ENDPOINT|models\.inference\.ai\.azure\.com|api\.portkey\.ai)"
    )
    code = re.sub(hosts, gateway, code)
    for placeholder, text in {"PORTKEY_API_KEY": KEY, **replaced}.items():
        code = code.replace(placeholder, text)
    program = folder / name
    program.write_text(code, "utf-8")
    settings = {"GITHUB_TOKEN": KEY}
    return environments.run(program, environment=environment, cwd=folder, settings=settings)


def test_the_httpx_sample(gateway: str, tmp_path: Path) -> None:
    printed = run("httpx_sample.py", gateway, tmp_path)

    assert "[simulated] gpt-4o here, you said: Write a poem about indian elephants" in printed


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("github_basic.py", "gpt-4o-mini here, you said: What is the capital of France?"),
        ("github_multi_turn.py", "gpt-4o here, you said: What about Spain?"),
        (
            "github_stream.py",
            "gpt-4o here, you said: Give me 5 good reasons why I should exercise every day.",
        ),
        (
            "github_image.py",
            "gpt-4o-mini here, you said: What's in this image? (saw 1 image: image/jpg of 3072 bytes)",
        ),
    ],
)
@pytest.mark.parametrize("environment", ["", "openai-1"], ids=["openai 3", "openai 1"])
def test_a_sample_of_the_github_models_form(
    gateway: str, tmp_path: Path, environment: str, name: str, printed: str
) -> None:
    (tmp_path / "sample.jpg").write_bytes(PICTURE)

    assert run(name, gateway, tmp_path, environment).strip() == f"[simulated] {printed}"
