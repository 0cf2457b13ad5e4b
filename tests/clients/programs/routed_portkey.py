"""Portkey's library for Python, telling where its calls are to go: what comes of it, as JSON."""

import json
import sys
from collections.abc import Callable
from typing import Any

from portkey_ai import Portkey

base, key, mark, _ = sys.argv[1:]
VIRTUAL_KEY = "openai-virtual-key"
SAVED = "sample-7g5tr4"
FALLBACK = {
    "strategy": {"mode": "fallback"},
    "targets": [
        {"virtual_key": "default", "override_params": {"model": "sim-503"}},
        {"virtual_key": VIRTUAL_KEY},
    ],
}


def client(**options: Any) -> Portkey:
    return Portkey(base_url=f"{base}/v1", api_key=key, **options)


def chat(portkey: Portkey) -> dict[str, Any]:
    answer = portkey.chat.completions.create(
        model="gpt-4", messages=[{"role": "user", "content": "hello"}]
    )
    return {"said": answer.choices[0].message.content, "headers": answer.get_headers()}


def stream(portkey: Portkey) -> str:
    chunks = portkey.chat.completions.create(
        model="gpt-4", messages=[{"role": "user", "content": "hello"}], stream=True
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def failure(call: Callable[[], Any]) -> dict[str, Any]:
    try:
        call()
    except Exception as error:
        return {"name": type(error).__name__, "text": str(error)}
    return {"name": "no error"}


results = {
    "plain": chat(client()),
    "virtual_key": chat(client(virtual_key=VIRTUAL_KEY)),
    "provider": chat(client(provider=f"@{VIRTUAL_KEY}")),
    "config": chat(client(config=FALLBACK)),
    "saved_config": chat(client(config=SAVED)),
    "stream": stream(client(config=FALLBACK)),
    "with_config": chat(client().with_options(config=SAVED)),
    "with_trace": chat(client().with_options(trace_id=f"trace-{mark}", metadata={"_user": mark})),
    "unknown_config_key": failure(lambda: chat(client(config={"custom_host": "http://x"}))),
    "unknown_config": failure(lambda: chat(client(config="no-such-config"))),
    "unknown_virtual_key": failure(lambda: chat(client(virtual_key="no-such-resource"))),
}
sys.stdout.write("\n" + json.dumps(results) + "\n")
