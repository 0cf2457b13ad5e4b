"""What a caller asks of a model, checked as Azure checks it. Knows nothing of answers."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from local.simulator import text
from local.simulator.refusals import Json, invalid, unsupported_parameter, unsupported_value

_REASONING = re.compile(r"o1|o3|o4|gpt-5")
# What a reasoning model does not take, and the only temperature it does.
_SAMPLING = (
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
)
_TEMPERATURE = 1
_IMAGE_TOKENS = 85
_HINT = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using"
    " your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was"
    " not valid JSON.)"
)


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    parameters: Json


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to a text model, whichever operation it came by."""

    deployment: str
    messages: list[Json]
    max_tokens: int | None = None
    n: int = 1
    stop: list[str] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    tool_choice: str = "auto"
    is_tool_named: bool = False
    may_call_several: bool = True
    response_format: Json = field(default_factory=dict)

    @property
    def prompt_tokens(self) -> int:
        """Texts by their tokens, 85 for each image, tools by their JSON."""
        return sum(map(_message_tokens, self.messages)) + sum(map(_tool_tokens, self.tools))

    @property
    def last_message(self) -> Json:
        return self.messages[-1] if self.messages else {}

    @property
    def last_user_text(self) -> str:
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return text.content_text(message.get("content"))
        return text.content_text(self.last_message.get("content"))


def image_urls(message: Json) -> list[str]:
    """The images of a message; `image_url` is an object or a plain string."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    urls = [part.get("image_url") for part in parts if isinstance(part, dict)]
    found = [url.get("url") if isinstance(url, dict) else url for url in urls]
    return [url for url in found if isinstance(url, str)]


def parse_json(body: bytes) -> Json:
    try:
        parsed = json.loads(body)
        if b"\\ud" in body.lower():
            # Half of a surrogate pair parses, but is no text.
            json.dumps(parsed, ensure_ascii=False).encode()
    except ValueError:
        raise invalid(_HINT) from None
    if not isinstance(parsed, dict):
        raise invalid("Invalid body: expected a JSON object.", None, "invalid_type")
    return parsed


def read_int(body: Json, name: str, least: int = 1) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(f"Invalid type for '{name}': expected an integer.", name, "invalid_type")
    if value < least:
        message = f"Invalid '{name}': integer below minimum value. Expected a value >= {least}."
        raise invalid(message, name, "integer_below_min_value")
    return value


def read_bool(body: Json, name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid(f"Invalid type for '{name}': expected a boolean.", name, "invalid_type")
    return bool(value)


def read_object(body: Json, name: str) -> Json:
    """The object of that name, empty when there is none."""
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise invalid(f"Invalid type for '{name}': expected an object.", name, "invalid_type")
    return value or {}


def read_objects(body: Json, name: str) -> list[Json]:
    value = body.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        message = f"Invalid type for '{name}': expected an array of objects."
        raise invalid(message, name, "invalid_type")
    return value


def read_chat(deployment: str, body: Json) -> Ask:
    tools, choice = _read_tools(body)
    if _REASONING.match(deployment):
        _check_sampling(body)
    return Ask(
        deployment=deployment,
        messages=_read_messages(body),
        max_tokens=read_max_tokens(deployment, body),
        n=read_int(body, "n") or 1,
        stop=read_stop(body),
        tools=tools,
        tool_choice=_choice_name(choice),
        is_tool_named=isinstance(choice, dict),
        may_call_several=body.get("parallel_tool_calls") is not False and "functions" not in body,
        response_format=read_object(body, "response_format"),
    )


def read_max_tokens(deployment: str, body: Json) -> int | None:
    limit = read_int(body, "max_tokens")
    if limit is not None and _REASONING.match(deployment):
        raise unsupported_parameter("max_tokens", "max_completion_tokens")
    completion_limit = read_int(body, "max_completion_tokens")
    if limit is not None and completion_limit is not None:
        message = (
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        )
        raise invalid(message, "max_tokens", "invalid_parameter_combination")
    return completion_limit if limit is None else limit


def read_stop(body: Json) -> list[str]:
    stop = body.get("stop")
    listed = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise invalid("Invalid type for 'stop': expected strings.", "stop", "invalid_type")
    return [item for item in listed if item]


def read_tool(function: Any) -> Tool:
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        message = "Missing required parameter: 'tools[0].function.name'."
        raise invalid(message, "tools[0].function.name", "missing_required_parameter")
    description = function.get("description")
    parameters = function.get("parameters")
    return Tool(
        function["name"],
        description if isinstance(description, str) else "",
        parameters if isinstance(parameters, dict) else {"type": "object", "properties": {}},
    )


def _check_sampling(body: Json) -> None:
    temperature = body.get("temperature")
    if temperature not in (None, _TEMPERATURE):
        raise unsupported_value("temperature", temperature, _TEMPERATURE)
    for name in _SAMPLING:
        if body.get(name) is not None:
            raise unsupported_parameter(name)


def _read_messages(body: Json) -> list[Json]:
    messages = body.get("messages")
    if messages is None:
        message = "Missing required parameter: 'messages'."
        raise invalid(message, "messages", "missing_required_parameter")
    if not isinstance(messages, list):
        message = "Invalid type for 'messages': expected an array of objects."
        raise invalid(message, "messages", "invalid_type")
    if not messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        raise invalid(message, "messages", "empty_array")
    for place, item in enumerate(messages):
        _check_message(f"messages[{place}]", item)
    return messages


def _check_message(place: str, message: Any) -> None:
    if not isinstance(message, dict):
        raise invalid(f"Invalid type for '{place}': expected an object.", place, "invalid_type")
    if not isinstance(message.get("role"), str):
        name = f"{place}.role"
        raise invalid(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")


def _read_tools(body: Json) -> tuple[list[Tool], Any]:
    """Tools and the choice among them, in today's form or in the one with `functions`."""
    if body.get("functions"):
        functions = read_objects(body, "functions")
        return [read_tool(function) for function in functions], body.get("function_call")
    tools = read_objects(body, "tools")
    return [read_tool(tool.get("function")) for tool in tools], body.get("tool_choice")


def _choice_name(choice: Any) -> str:
    if isinstance(choice, dict):
        function = choice.get("function", choice)
        return str(function.get("name")) if isinstance(function, dict) else "auto"
    return choice if isinstance(choice, str) else "auto"


def _message_tokens(message: Json) -> int:
    spoken = text.count(text.content_text(message.get("content")))
    called = sum(map(text.count, _call_arguments(message)))
    return spoken + called + _IMAGE_TOKENS * len(image_urls(message))


def _call_arguments(message: Json) -> list[str]:
    calls = message.get("tool_calls")
    listed = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    functions = [call.get("function") for call in listed]
    arguments = [item.get("arguments") for item in functions if isinstance(item, dict)]
    return [item for item in arguments if isinstance(item, str)]


def _tool_tokens(tool: Tool) -> int:
    return text.count(json.dumps([tool.name, tool.description, tool.parameters]))
