"""Portkey's library for Python, asking for a cache: what the answers say of it, as JSON."""

import json
import sys
from typing import Any

from portkey_ai import Portkey

base, key, name = sys.argv[1:]
SIMPLE = {"cache": {"mode": "simple", "max_age": 60}}


def status(**options: Any) -> str | None:
    """The cache's status of one and the same call."""
    client = Portkey(base_url=f"{base}/v1", api_key=key, **options)
    answer = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": f"cached for {name}"}]
    )
    return answer.get_headers().get("cache-status")


results = {
    "first": status(config=SIMPLE),
    "again": status(config=SIMPLE),
    "refreshed": status(config=SIMPLE, cache_force_refresh=True),
    "without": status(metadata={"_user": "john"}),
}
sys.stdout.write("\n" + json.dumps(results) + "\n")
