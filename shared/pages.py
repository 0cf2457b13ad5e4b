"""What the gateway answers by itself: models, the caller's event, its health, and what it is."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from shared.caps import Standing
from shared.catalogue import Catalogue, Served
from shared.exchange import Answer
from shared.models import Caller
from shared.operations import OPERATIONS

VERSION = "0.1.0"
_HOME = Path(__file__).with_name("home.html")


def json_answer(content: Mapping[str, Any], status: int = 200) -> Answer:
    body = json.dumps(content, ensure_ascii=False).encode()
    return Answer(status, [(b"content-type", b"application/json")], body)


def models(available: Catalogue) -> Answer:
    """OpenAI's list of models: those the caller's event allows."""
    return json_answer({"object": "list", "data": [_model(name) for name in available.models]})


def model(available: Catalogue, name: str) -> Answer:
    """One model. Raises NotFound if the event does not have it."""
    served = available.find_deployment(name)
    if served is None:
        raise available.unknown(name)
    return json_answer(_model(served.model))


def info(default: Served | None) -> Answer:
    """What the Azure AI Inference clients ask for with `get_model_info`: the default chat model."""
    return json_answer(
        {
            "model_name": default.model if default else "",
            "model_type": "chat-completion",
            "model_provider_name": "Azure OpenAI",
        }
    )


def event(caller: Caller, available: Catalogue, standings: Iterable[Standing]) -> Answer:
    """What the caller's event allows, and what is left of it.

    Times are ISO 8601 in UTC. `max_tokens` is per request, `cache_max_age` in seconds; the caps that
    the event has are under `caps`, by their name, with the time at which they begin anew.
    """
    granted = caller.event
    return json_answer(
        {
            "object": "event",
            "name": granted.name,
            "attendee": caller.attendee,
            "start": granted.start.isoformat(),
            "end": granted.end.isoformat(),
            "timezone": granted.timezone,
            "models": available.models,
            "max_tokens": granted.max_tokens,
            "cache_max_age": granted.cache_max_age,
            "caps": {standing.cap.name: _standing(standing) for standing in standings},
            "url": granted.url,
            "url_text": granted.url_text,
            "organizer_name": granted.organizer_name,
            "organizer_email": granted.organizer_email,
        }
    )


def health(store_is_down: bool, states: Mapping[str, str], problems: Sequence[str]) -> Answer:
    """`ok`, or `degraded` while the event store is down or not all deployments take calls.

    `states` are those of the deployments that do not, as this instance sees them.
    """
    return json_answer(
        {
            "status": "degraded" if store_is_down or states or problems else "ok",
            "version": VERSION,
            "event_store": "unavailable" if store_is_down else "ok",
            "deployments": states,
            "problems": problems,
        }
    )


def misconfigured(problem: str) -> Answer:
    """What is wrong with the app settings, with 503."""
    return json_answer(
        {"status": "misconfigured", "version": VERSION, "problem": problem}, status=503
    )


def home(base_url: str, wants_html: bool) -> Answer:
    """What this is and how to call it, as a page for people and as JSON for programs."""
    if wants_html:
        page = Template(_HOME.read_text("utf-8")).substitute(base_url=escape(base_url))
        return Answer(200, [(b"content-type", b"text/html; charset=utf-8")], page.encode())
    return json_answer(
        {
            "name": "Azure OpenAI gateway",
            "version": VERSION,
            "base_url": f"{base_url}/v1",
            "api_key": "EVENT-CODE/YOUR-NAME",
            "operations": [
                *(f"POST /v1/{path}" for path in OPERATIONS),
                "GET, DELETE /v1/responses/{id}",
                "GET /v1/responses/{id}/input_items",
                "GET /v1/models",
                "GET /api/v1/event",
                "GET /health",
            ],
        }
    )


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "limit": standing.limit,
        "used": standing.used,
        "remaining": max(standing.limit - standing.used, 0),
        "resets_at": standing.resets_at.isoformat() if standing.resets_at else None,
        "counts": standing.cap.counts,
        "per": "attendee" if standing.cap.per_attendee else "event",
    }


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "azure-openai"}
