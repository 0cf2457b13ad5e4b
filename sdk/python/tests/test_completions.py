"""Completions, which the simulated Azure OpenAI answers itself."""

import openai_proxy
from conftest import Way


def test_a_completion_is_answered(way: Way, azure: str) -> None:
    answer = way(openai_proxy.Completion, api_base=f"{azure}/gpt-35-turbo", prompt="hello")

    assert answer.object == "text_completion"
    assert "hello" in answer.choices[0].text


def test_a_completion_can_stream(way: Way, azure: str) -> None:
    base = f"{azure}/gpt-35-turbo"
    chunks = way(openai_proxy.Completion, api_base=base, prompt="hello", stream=True)

    assert "hello" in "".join(choice.text for chunk in chunks for choice in chunk.choices)
