"""The commands in the documents of the systems that people come from, with only the host's name changed.

Slips of their typesetting are mended: `[` for `(`, `''` for an apostrophe, an HTML tag in a command. The
programs are in tests/clients/documents.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import KEY
from tests.e2e.calls import Calls, names
from tests.e2e.wire import content_of, events_of

PICTURE = bytes(range(256)) * 12  # base64 of it is wrapped into many lines

EVENT_CODE_CURL = """
curl -X POST \\
-H "openai-event-code: hackathon/githubuser" \\
-H "Content-Type: application/json" \\
-d '{
    "max_tokens": 256,
    "temperature": 1,
    "messages": [
        {
            "role": "system",
            "content": "You are an AI assistant that writes poems in the style of William Shakespeare."
        },
        {
            "role": "user",
            "content": "Write a poem about indian elephants"
        }
    ]
}' \\
https://YOUR_OPENAI_PROXY_ENDPOINT/api/v1/chat/completions
"""

EVENT_CODE_JQ = EVENT_CODE_CURL.rstrip("\n") + " | jq"

SCALAONE_CURL = """
curl -X "POST" "https://openaiproxy2.azurewebsites.net/v1/chat/completions" \\
     -H 'Authorization: Bearer hackathon/githubuser' \\
     -H 'Content-Type: application/json; charset=utf-8' \\
     -d $'{
  "messages": [
    {
      "content": "hi",
      "role": "user"
    }
  ],
  "temperature": 1,
  "model": "gpt-3.5-turbo",
  "stream": false
}'
"""

XAI_CURL = """
curl https://api.x.ai/v1/chat/completions \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer $XAI_API_KEY" \\
  -d '{
      "messages": [
        {
          "role": "system",
          "content": "You are Grok, a chatbot inspired by the Hitchhikers Guide to the Galaxy."
        },
        {
          "role": "user",
          "content": "What is the answer to life and universe?"
        }
      ],
      "model": "grok-beta",
      "stream": false,
      "temperature": 0
    }'
"""

MULTI_TURN_CURL = """
curl -X POST "https://models.inference.ai.azure.com/chat/completions" \\
    -H "Content-Type: application/json" \\
    -H "Authorization: Bearer $GITHUB_TOKEN" \\
    -d '{
        "messages": [
            {
                "role": "system",
                "content": "You are a helpful assistant."
            },
            {
                "role": "user",
                "content": "What is the capital of France?"
            },
            {
                "role": "assistant",
                "content": "The capital of France is Paris."
            },
            {
                "role": "user",
                "content": "What about Spain?"
            }
        ],
        "model": "gpt-4o"
    }'
"""

STREAM_CURL = """
curl -X POST "https://models.inference.ai.azure.com/chat/completions" \\
    -H "Content-Type: application/json" \\
    -H "Authorization: Bearer $GITHUB_TOKEN" \\
    -d '{
        "messages": [
            {
                "role": "system",
                "content": "You are a helpful assistant."
            },
            {
                "role": "user",
                "content": "Give me 5 good reasons why I should exercise every day."
            }
        ],
        "stream": true,
        "model": "gpt-4o"
    }'
"""

IMAGE_CURL = """
PAYLOAD_FILE="payload.json"
IMAGE_DATA="`cat \\"$(pwd)/sample.jpg\\" | base64`"
echo '{
        "messages": [
            {
                "role": "system",
                "content": "You are a helpful assistant that describes images in details."
            },
            {
                "role": "user",
                "content": [{"text": "What'\\''s in this image?", "type": "text"}, {"image_url": {"url":"data:image/jpeg;base64,'"${IMAGE_DATA}"'","detail":"low"}, "type": "image_url"}]
            }
        ],
        "model": "gpt-4o"
    }' > "$PAYLOAD_FILE"

curl -X POST "https://models.inference.ai.azure.com/chat/completions" \\
    -H "Content-Type: application/json" \\
    -H "Authorization: Bearer $GITHUB_TOKEN" \\
    -d @payload.json
echo
rm -f "$PAYLOAD_FILE"
"""  # noqa: E501

PORTKEY_CURL = """
curl "https://api.portkey.ai/v1/chat/completions" \\
  -H "Content-Type: application/json" \\
  -H "x-portkey-api-key: $PORTKEY_API_KEY" \\
  -H "x-portkey-provider: openai" \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -d '{
    "model": "gpt-4",
    "messages": [{"role": "user", "content": "Hello!"}]
  }'
"""

PORTKEY_IMAGE_CURL = """
curl "https://api.portkey.ai/v1/chat/completions" \\
  -H "Content-Type: application/json" \\
  -H "x-portkey-api-key: $PORTKEY_API_KEY" \\
  -H "x-portkey-provider: openai" \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -d '{
    "model": "gpt-4-vision-preview",
    "messages": [
      {
        "role": "user",
        "content": [
          {
            "type": "text",
            "text": "What’s in this image?"
          },
          {
            "type": "image_url",
            "image_url": {
              "url": "https://upload.wikimedia.org/wikipedia/commons/thumb/d/dd/Gfp-wisconsin-madison-the-nature-boardwalk.jpg/2560px-Gfp-wisconsin-madison-the-nature-boardwalk.jpg"
            }
          }
        ]
      }
    ],
    "max_tokens": 300
  }'
"""

PORTKEY_STREAM_CURL = """
curl "https://api.portkey.ai/v1/chat/completions" \\
  -H "Content-Type: application/json" \\
  -H "x-portkey-api-key: $PORTKEY_API_KEY" \\
  -H "x-portkey-provider: openai" \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -d '{
    "model": "gpt-4",
    "messages": [{"role": "user", "content": "Hello!"}],
    "stream": true
  }'
"""

PORTKEY_TOOLS_CURL = """
curl "https://api.portkey.ai/v1/chat/completions" \\
  -H "Content-Type: application/json" \\
  -H "x-portkey-api-key: $PORTKEY_API_KEY" \\
  -H "x-portkey-provider: openai" \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -d '{
  "model": "gpt-3.5-turbo",
  "messages": [
    {
      "role": "user",
      "content": "What is the weather like in Boston?"
    }
  ],
  "tools": [
    {
      "type": "function",
      "function": {
        "name": "get_current_weather",
        "description": "Get the current weather in a given location",
        "parameters": {
          "type": "object",
          "properties": {
            "location": {
              "type": "string",
              "description": "The city and state, e.g. San Francisco, CA"
            },
            "unit": {
              "type": "string",
              "enum": ["celsius", "fahrenheit"]
            }
          },
          "required": ["location"]
        }
      }
    }
  ],
  "tool_choice": "auto"
}'
"""

PORTKEY_TRACE_CURL = """
curl "https://api.portkey.ai/v1/chat/completions" \\
  -H "Content-Type: application/json" \\
  -H "x-portkey-api-key: $PORTKEY_API_KEY" \\
  -H "x-portkey-config: config-key" \\
  -H "x-portkey-trace-id: $UNIQUE_TRACE_ID" \\
  -H "x-portkey-metadata: {\\"_user\\":\\"john\\"}" \\
  -H "x-portkey-cache-force-refresh: True" \\
  -d '{
    "model": "gpt-4",
    "messages": [{"role": "user", "content": "Hello!"}]
  }'
"""


def run(command: str, gateway: str, folder: Path) -> bytes:
    """What the command prints, run by bash in this folder."""
    command = re.sub(r"https://[\w.]+(?=/v1|/api/v1|/chat)", gateway, command)
    keys = {
        "XAI_API_KEY": KEY,
        "GITHUB_TOKEN": KEY,
        "PORTKEY_API_KEY": KEY,
        "OPENAI_API_KEY": "sk-a-placeholder",
        "UNIQUE_TRACE_ID": "trace-1",
    }
    done = subprocess.run(
        ["bash", "-c", command.replace("curl ", "curl -sS ", 1)],
        cwd=folder,
        env={**os.environ, **keys},
        capture_output=True,
        check=True,
        timeout=20,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("command", "model", "asked"),
    [
        pytest.param(EVENT_CODE_CURL, "gpt-4o", "Write a poem about", id="event code, no model"),
        pytest.param(EVENT_CODE_JQ, "gpt-4o", "Write a poem about", id="event code, by jq"),
        pytest.param(SCALAONE_CURL, "gpt-35-turbo", "hi", id="bearer and a mapped model"),
        pytest.param(XAI_CURL, "grok-3", "What is the answer to life", id="grok-beta"),
        pytest.param(MULTI_TURN_CURL, "gpt-4o", "What about Spain?", id="multi-turn"),
        pytest.param(PORTKEY_CURL, "gpt-4", "Hello!", id="portkey with a placeholder"),
        pytest.param(PORTKEY_IMAGE_CURL, "gpt-4o", "What’s in this image?", id="portkey, image"),
        pytest.param(PORTKEY_TRACE_CURL, "gpt-4", "Hello!", id="portkey with trace and config"),
    ],
)
def test_a_curl_command_is_answered(
    gateway: str, tmp_path: Path, command: str, model: str, asked: str
) -> None:
    answer = json.loads(run(command, gateway, tmp_path))

    said = answer["choices"][0]["message"]["content"]
    assert said.startswith(f"[simulated] {model} here, you said: {asked}")


@pytest.mark.parametrize(
    ("command", "asked"),
    [(STREAM_CURL, "Give me 5 good reasons"), (PORTKEY_STREAM_CURL, "Hello!")],
    ids=["bearer", "portkey"],
)
def test_a_curl_command_can_stream(gateway: str, tmp_path: Path, command: str, asked: str) -> None:
    events = events_of(run(command, gateway, tmp_path))

    assert f"you said: {asked}" in content_of(events)
    assert all(event["choices"] for event in events[:-1])
    assert events[-1] == "[DONE]"


def test_a_curl_command_can_send_an_image(gateway: str, tmp_path: Path) -> None:
    (tmp_path / "sample.jpg").write_bytes(PICTURE)

    answer = json.loads(run(IMAGE_CURL, gateway, tmp_path))

    saw = f"What's in this image? (saw 1 image: image/jpeg of {len(PICTURE)} bytes)"
    assert answer["choices"][0]["message"]["content"].endswith(saw)


def test_a_curl_command_can_have_a_tool_called(gateway: str, tmp_path: Path) -> None:
    answer = json.loads(run(PORTKEY_TOOLS_CURL, gateway, tmp_path))

    [call] = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "get_current_weather"


def test_the_portkey_headers_stay_here(gateway: str, tmp_path: Path, calls: Calls) -> None:
    command = PORTKEY_TRACE_CURL.replace("Hello!", f"Hello from {tmp_path}!")
    run(command, gateway, tmp_path)

    assert not {name for name in names(calls.only(str(tmp_path))) if "portkey" in name}
