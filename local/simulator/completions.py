"""Legacy completions: the document, and the events of the stream."""

import json
from collections.abc import Iterator
from typing import Any

from local.simulator import text
from local.simulator.ask import Ask, read_int, read_max_tokens, read_stop
from local.simulator.chat import (
    DONE,
    MARK,
    PROMPT_FILTER_RESULTS,
    envelope,
    event,
    filter_results,
    first_event,
    read_stream,
    token_events,
)
from local.simulator.refusals import Json, invalid
from local.simulator.reply import Reply, compose, filtered_half_way
from local.simulator.steps import Answer, Demand, usage_of


def answer(demand: Demand) -> Answer:
    prompts = _read_prompts(demand.fields)
    wants_stream, wants_usage = read_stream(demand.fields)
    asks = [_ask(demand, prompt) for prompt in prompts]
    replies = [reply for ask in asks for reply in compose(ask)]
    if demand.has_late_filter:
        replies = [filtered_half_way(reply) for reply in replies]
    size = sum(reply.size for reply in replies)
    usage = usage_of(sum(map(_count, prompts)), size)
    base = envelope(asks[0], "text_completion", "cmpl")
    if wants_stream and demand.may_stream:
        sent = _events(base, replies, usage if wants_usage else None)
        return Answer(events=sent, usage=usage, tokens=size)
    return Answer(_document(base, replies, usage), usage=usage, tokens=size)


def _ask(demand: Demand, prompt: str | list[int]) -> Ask:
    said = prompt if isinstance(prompt, str) else f"{len(prompt)} token numbers"
    return Ask(
        deployment=demand.deployment,
        messages=[{"role": "user", "content": said}],
        max_tokens=read_max_tokens(demand.deployment, demand.fields),
        n=read_int(demand.fields, "n") or 1,
        stop=read_stop(demand.fields),
    )


def _read_prompts(body: Json) -> list[Any]:
    prompt = body.get("prompt")
    prompts = prompt if isinstance(prompt, list) else [prompt]
    if prompts and all(isinstance(item, int) for item in prompts):
        prompts = [prompts]
    if not prompts or not all(isinstance(item, str | list) for item in prompts):
        message = "Missing required parameter: 'prompt'."
        raise invalid(message, "prompt", "missing_required_parameter")
    return prompts


def _count(prompt: str | list[int]) -> int:
    return text.count(prompt) if isinstance(prompt, str) else len(prompt)


def _choice(index: int, said: str, finish: str | None, results: Json) -> Json:
    return {
        "index": index,
        "text": said,
        "finish_reason": finish,
        "logprobs": None,
        "content_filter_results": results,
    }


def _document(base: Json, replies: list[Reply], usage: Json) -> bytes:
    choices = [
        _choice(index, reply.text, reply.finish, filter_results(reply))
        for index, reply in enumerate(replies)
    ]
    shown = {"choices": choices, "prompt_filter_results": PROMPT_FILTER_RESULTS, "usage": usage}
    return json.dumps({**base, **shown}, ensure_ascii=False).encode()


def _events(base: Json, replies: list[Reply], usage: Json | None) -> Iterator[bytes]:
    chunk = base if usage is None else {**base, "usage": None}
    yield first_event()
    for index, reply in enumerate(replies):
        template = {**chunk, "choices": [_choice(index, MARK, None, {})]}
        yield from token_events(template, reply.tokens)
        yield event({**chunk, "choices": [_choice(index, "", reply.finish, {})]})
    if usage is not None:
        yield event({**base, "choices": [], "usage": usage})
    yield DONE
