"""The organiser's view of resources, against a real Azurite and the real simulator.

It is an Azurite of its own, since the gateway of the other tests would use what stands here.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from shared.models import Event, Resource
from shared.resources import TABLE, Resources
from shared.tables import Tables, decode_key
from tests import processes, test_manage
from tests.conftest import add_events, gateway_settings
from tests.test_events import on
from tests.test_keyless import identity_settings
from tests.test_manage import Result, Run, refused

manage_py = test_manage.manage_py
ENDPOINT = "https://one.openai.azure.com"
GIVEN = ("--endpoint", ENDPOINT, "--model-map", "gpt-4o|my-gpt-4o")
KEY = "9a1b2c3d4e5f60718293a4b5c6d7e8f9"
OWN = ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_MODEL_MAP")


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    with processes.azurite(processes.free_port()) as server:
        yield processes.connection_string(server.url)


@pytest.fixture
def run(manage_py: Run, storage: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """`manage.py resources` with these arguments; without settings of Azure OpenAI, and no row stays."""
    for name in (*OWN, "SWEDEN_KEY"):
        monkeypatch.delenv(name, raising=False)
    yield partial(manage_py, "resources")

    async def clear(tables: Tables) -> None:
        async for row in tables.rows(TABLE):
            await Resources(tables).remove(decode_key(row["PartitionKey"]))

    on(storage, clear)


def stored(storage: str, name: str) -> Resource | None:
    return on(storage, lambda tables: Resources(tables).get(name))


def write(storage: str, name: str, row: dict[str, Any]) -> None:
    """A row as others may write it."""
    on(storage, lambda tables: tables.insert(TABLE, name, "resource", row))


def use_own(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    """The settings of the resource `default`: endpoint, key, model map."""
    for name, value in zip(OWN, values, strict=True):
        monkeypatch.setenv(name, value)


def test_add_writes_the_row_and_shows_it(
    run: Run, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEDEN_KEY", KEY)
    result = run(
        *("add", "sweden", "--endpoint", f"{ENDPOINT}/", "--key-setting", "SWEDEN_KEY"),
        *("--model-map", "gpt-4o|my-gpt-4o,gpt-5|my-gpt-5;reasoning", "--priority", "0"),
        *("--weight", "3", "--max-in-flight", "20", "--api-version", "2025-01-01-preview"),
    )
    assert (result.status, result.err) == (0, "")
    for text in ("sweden", "azure", ENDPOINT, "SWEDEN_KEY", "gpt-5 → my-gpt-5 (reasoning)"):
        assert text in result.out
    assert KEY not in result.out
    assert stored(storage, "sweden") == Resource(
        name="sweden",
        endpoint=ENDPOINT,
        key_setting="SWEDEN_KEY",
        model_map="gpt-4o|my-gpt-4o,gpt-5|my-gpt-5;reasoning",
        api_version="2025-01-01-preview",
        priority=0,
        weight=3,
        max_in_flight=20,
    )


def test_json_has_the_same_keys_for_every_command_that_shows_a_resource(run: Run) -> None:
    added = run(
        *("add", "local", "--kind", "openai", "--endpoint", "http://localhost:11434/v1"),
        *("--model-map", "llama|llama3.2:1b;auto", "--inactive", "--json"),
    ).json
    assert added == {
        "name": "local",
        "endpoint": "http://localhost:11434/v1",
        "kind": "openai",
        "key_setting": "",
        "model_map": "llama|llama3.2:1b;auto",
        "api_version": "2024-10-21",
        "priority": 1,
        "weight": 1,
        "max_in_flight": None,
        "active": False,
        "deployments": [
            {"model": "llama", "deployment": "llama3.2:1b", "flags": ["auto"], "state": None}
        ],
    }
    assert run("set", "local", "--inactive", "--json").json == added
    assert run("list", "--json").json == [added]
    assert run("remove", "local", "--yes", "--json").json == {"name": "local", "removed": True}


def test_a_key_that_is_not_set_here_gets_a_note(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    added = run("add", "sweden", *GIVEN, "--key-setting", "SWEDEN_KEY")
    assert added.status == 0
    assert re.fullmatch(r"Note: SWEDEN_KEY is not set here[^\n]+\n", added.err)
    assert run("set", "sweden", "--weight", "2").err == ""
    assert "SWEDEN_KEY" in run("set", "sweden", "--key-setting", "SWEDEN_KEY").err
    monkeypatch.setenv("SWEDEN_KEY", KEY)
    assert run("set", "sweden", "--key-setting", "SWEDEN_KEY").err == ""


def test_set_changes_what_is_given_and_nothing_else(run: Run, storage: str) -> None:
    run("add", "changing", *GIVEN, "--max-in-flight", "5", "--key-setting", "SWEDEN_KEY")
    before = stored(storage, "changing")
    assert before
    for options, changes in (
        (("--weight", "4", "--priority", "2"), {"weight": 4, "priority": 2}),
        (("--max-in-flight", "none"), {"max_in_flight": None}),
        (("--key-setting", ""), {"key_setting": ""}),
        (("--inactive",), {"active": False}),
        (("--active",), {"active": True}),
        (("--model-map", "gpt-4|b"), {"model_map": "gpt-4|b"}),
        (
            ("--kind", "openai", "--endpoint", "https://api.openai.com/v1/"),
            {"kind": "openai", "endpoint": "https://api.openai.com/v1"},
        ),
    ):
        assert run("set", "changing", *options).status == 0
        before = before.model_copy(update=changes)
        assert stored(storage, "changing") == before


def test_remove_needs_yes_where_nobody_can_be_asked(run: Run, storage: str) -> None:
    run("add", "going", *GIVEN)
    refused(run("remove", "going"), "--yes")
    assert stored(storage, "going")
    assert "going" in run("remove", "going", "--yes").out
    assert stored(storage, "going") is None


def test_a_malformed_row_is_named_and_can_be_removed(run: Run, storage: str) -> None:
    write(storage, "My Resource", {"Endpoint": ENDPOINT, "ModelMap": "a|b"})
    refused(run("list"), "My Resource")
    refused(run("set", "My Resource", "--weight", "2"), "My Resource")
    assert run("remove", "My Resource", "--yes").status == 0
    assert run("list").status == 0


OPENAI = ("--kind", "openai", "--endpoint", "https://api.openai.com/v1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "default", *GIVEN], ["default", "AZURE_OPENAI_"]),
        (["add", "Wrong", *GIVEN], ["NAME", "a-z"]),
        (["add", "w" * 41, *GIVEN], ["NAME"]),
        (["add", "wrong"], ["--endpoint"]),
        (["add", "wrong", "--endpoint", ENDPOINT], ["--model-map"]),
        (
            ["add", "wrong", *GIVEN, "--endpoint", "one.openai.azure.com"],
            ["--endpoint", "https://"],
        ),
        (["add", "wrong", *GIVEN, "--endpoint", f"{ENDPOINT}/openai"], ["behind the host"]),
        (["add", "wrong", *GIVEN, "--endpoint", "https://u:p@host"], ["--endpoint"]),
        (["add", "wrong", *GIVEN, "--endpoint", f"{ENDPOINT}?key=x"], ["--endpoint"]),
        (["add", "wrong", *GIVEN, "--endpoint", ""], ["--endpoint"]),
        (["add", "wrong", *GIVEN, "--model-map", ""], ["--model-map"]),
        (["add", "wrong", *GIVEN, "--model-map", "gpt-4o|a,"], ["model map", "entry 2"]),
        (["add", "wrong", *GIVEN, "--model-map", "gpt-4o|org/a"], ["model map", "entry 1"]),
        (["add", "wrong", *OPENAI, "--model-map", "gpt-4o|a b"], ["model map", "entry 1"]),
        (["add", "wrong", *GIVEN, "--model-map", "gpt-4o|a;quick"], ["no flag 'quick'"]),
        (["add", "wrong", *GIVEN, "--kind", "google"], ["--kind", "azure"]),
        (["add", "wrong", *GIVEN, "--key-setting", KEY], ["--key-setting", "name"]),
        (["add", "wrong", *GIVEN, "--key-setting", f"sk-{KEY}"], ["--key-setting", "name"]),
        (["add", "wrong", *GIVEN, "--key-setting", f"ghp_{KEY}"], ["not the key itself"]),
        (["add", "wrong", *GIVEN, "--priority", "-1"], ["--priority"]),
        (["add", "wrong", *GIVEN, "--priority", "none"], ["--priority"]),
        (["add", "wrong", *GIVEN, "--weight", "0"], ["--weight"]),
        (["add", "wrong", *GIVEN, "--max-in-flight", "0"], ["--max-in-flight", "or none"]),
        (["add", "wrong", *GIVEN, "--api-version", "a b"], ["--api-version", "2024-10-21"]),
        (["set", "nobody", "--weight", "1"], ["no resource 'nobody'"]),
        (["set", "default", "--weight", "1"], ["AZURE_OPENAI_"]),
        (["set", "nobody"], ["nothing to change"]),
        (["remove", "nobody", "--yes"], ["no resource 'nobody'"]),
        (["check", "nobody"], ["no resource 'nobody'"]),
        (["list", "--url", "app"], ["--url", "https://"]),
    ],
)
def test_wrong_input_gets_one_line(
    run: Run, storage: str, arguments: list[str], words: list[str]
) -> None:
    result = run(*arguments)
    refused(result, *words)
    assert KEY not in result.err
    assert stored(storage, "wrong") is None


def test_a_name_that_is_taken_is_refused(run: Run, storage: str) -> None:
    run("add", "taken", *GIVEN, "--weight", "2")
    refused(run("add", "taken", *GIVEN), "taken", "already")
    found = stored(storage, "taken")
    assert found and found.weight == 2


def test_the_resource_of_the_settings_comes_first_then_by_priority(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, priority in (("payg", "5"), ("ptu", "0")):
        run("add", name, *GIVEN, "--priority", priority)
    assert [each["name"] for each in run("list", "--json").json] == ["ptu", "payg"]
    use_own(monkeypatch, "https://own.openai.azure.com", KEY, "gpt-4o|own-gpt-4o,bare")
    assert [each["name"] for each in run("list", "--json").json] == ["default", "ptu", "payg"]
    shown = run("list")
    assert shown.err == "" and KEY not in shown.out
    own, ptu = (
        next(line for line in shown.out.splitlines() if line.strip().startswith(name))
        for name in ("default", "ptu")
    )
    for text in ("https://own.openai.azure.com", "gpt-4o → own-gpt-4o", "AZURE_OPENAI_API_KEY"):
        assert text in own
    assert "identity" in ptu
    assert "any → bare" in shown.out


def test_settings_that_are_wrong_get_a_warning_and_hide_no_row(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("add", "sweden", *GIVEN)
    use_own(monkeypatch, "own.openai.azure.com", KEY, "gpt-4o|gpt-4o")
    shown = run("list")
    assert shown.status == 0 and "sweden" in shown.out
    assert re.fullmatch(r"Warning: default [^\n]*AZURE_OPENAI_ENDPOINT[^\n]+\n", shown.err)


def test_an_event_gets_no_warning_for_models_that_a_resource_serves(
    run: Run, manage_py: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_MODEL_MAP", "gpt-4|a")
    event = ("events", "add", "--end", "2999-01-01", "--models", "gpt-4,gpt-4o,o9")
    run("add", "sweden", *GIVEN, "--inactive")
    assert "gpt-4o, o9" in manage_py(*event).err
    run("set", "sweden", "--active")
    assert manage_py(*event).err == "Warning: no resource serves o9.\n"


class Server(ThreadingHTTPServer):
    """An upstream or gateway that answers as it is told, and keeps the bodies it was sent."""

    def __init__(self, answer: Callable[[dict[str, Any]], tuple[int, str]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        length = int(self.headers["content-length"] or 0)
        body = json.loads(self.rfile.read(length) or "{}")
        self.server.bodies.append(body)
        status, content = self.server.answer(body)
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content.encode())

    def do_GET(self) -> None:
        self.headers["content-length"] = "0"
        self.do_POST()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(answer: Callable[[dict[str, Any]], tuple[int, str]]) -> Iterator[Server]:
    with Server(answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_list_asks_a_gateway_for_the_state_of_each_deployment(run: Run) -> None:
    health = {
        "status": "ok",
        "deployments": {"sweden/b": "open", "default/c": "cooling"},
        "problems": ["bad-map: no such flag."],
    }
    run("add", "sweden", *GIVEN[:2], "--model-map", "gpt-4o|a,gpt-4|b;auto")
    run("add", "unused", *GIVEN, "--inactive")
    with serving(lambda _: (200, json.dumps(health))) as gateway:
        shown = run("list", "--url", f"{gateway.url}/")
        listed = json.loads(run("list", "--url", gateway.url, "--json").out)
    assert shown.status == 0
    for text in ("gpt-4o → a, ok", "gpt-4 → b (auto), open", "gpt-4o → my-gpt-4o "):
        assert text in shown.out
    assert shown.err == "bad-map: no such flag.\ndefault/c is cooling.\n"
    states = {each["name"]: [one["state"] for one in each["deployments"]] for each in listed}
    assert states == {"sweden": ["closed", "open"], "unused": [None]}


def test_list_shows_how_a_running_gateway_sees_a_deployment_that_fails(
    run: Run, storage: str, simulator: str
) -> None:
    failing = ("--endpoint", simulator, "--model-map", "sim-503|sim-503", "--key-setting", "A_KEY")
    run("add", "failing", *failing)
    window = {"start": datetime(2020, 1, 1), "end": datetime(2999, 1, 1)}
    asyncio.run(add_events(storage, [Event(code="hackathon", **window)]))
    settings = {**gateway_settings(storage, simulator), "A_KEY": KEY, "BREAKER_FAILURES": "1"}
    settings["AZURE_OPENAI_MODEL_MAP"] = "gpt-4o|gpt-4o"
    with processes.gateway(settings) as server:
        call = {"model": "sim-503", "messages": [{"role": "user", "content": "Hi"}]}
        url, headers = f"{server.url}/v1/chat/completions", {"api-key": "hackathon/ann"}
        assert httpx.post(url, headers=headers, json=call, timeout=30).status_code == 503
        shown = run("list", "--url", server.url)
    assert (shown.status, shown.err) == (0, "")
    assert "sim-503 → sim-503, open" in shown.out


@pytest.mark.parametrize(
    "answer", [(404, "{}"), (200, "<html>"), (200, '{"status": "ok"}'), (503, "[]")]
)
def test_list_tells_where_there_is_no_gateway(run: Run, answer: tuple[int, str]) -> None:
    run("add", "sweden", *GIVEN)
    with serving(lambda _: answer) as server:
        shown = run("list", "--url", server.url)
    assert shown.status == 1 and "sweden" in shown.out
    assert re.fullmatch(r"The gateway cannot be asked: [^\n]+\n", shown.err)


def test_list_tells_what_a_misconfigured_gateway_complains_of(run: Run) -> None:
    health = {"status": "misconfigured", "problem": "AZURE_OPENAI_MODEL_MAP: missing."}
    with serving(lambda _: (503, json.dumps(health))) as gateway:
        shown = run("list", "--url", gateway.url)
    assert (shown.status, shown.err) == (1, "AZURE_OPENAI_MODEL_MAP: missing.\n")


def test_list_tells_if_the_gateway_cannot_be_reached(run: Run) -> None:
    shown = run("list", "--url", f"http://127.0.0.1:{processes.free_port()}")
    assert shown.status == 1
    assert re.fullmatch(r"The gateway cannot be asked: [^\n]*refused[^\n]*\n", shown.err)


def outcomes(result: Result) -> dict[str, tuple[str, int | None]]:
    """The operation and the status of each deployment, from JSON."""
    return {
        each["deployment"]: (each["operation"], each["status"]) for each in json.loads(result.out)
    }


def test_check_calls_each_deployment_of_every_active_resource_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with processes.simulator("--key", KEY) as upstream:
        use_own(
            monkeypatch,
            upstream.url,
            KEY,
            "gpt-4o|gpt-4o,gpt-4|gpt-4o,embed|text-embedding-3-small,o3|o3;reasoning,dall-e|dall-e-3",
        )
        monkeypatch.setenv("SWEDEN_KEY", KEY)
        given = ("--kind", "openai", "--endpoint", f"{upstream.url}/openai/v1")
        run("add", "sweden", *given, "--model-map", "gpt-4o|gpt-4o", "--key-setting", "SWEDEN_KEY")
        run("add", "unused", *given, "--model-map", "gpt-4o|gpt-4o", "--inactive")
        result = run("check", "--json")
        shown = run("check")
        calls = httpx.get(f"{upstream.url}/simulator/calls").json()["calls"]
    assert (result.status, result.err) == (0, "")
    assert outcomes(result) == {
        "default/gpt-4o": ("chat_completions", 200),
        "default/text-embedding-3-small": ("embeddings", 200),
        "default/o3": ("chat_completions", 200),
        "default/dall-e-3": ("not tried", None),
        "sweden/gpt-4o": ("chat_completions", 200),
    }
    assert len(calls) == 2 * 4
    assert re.search(r"default/gpt-4o +chat_completions +200 +\d+ ", shown.out)
    assert KEY not in shown.out


def test_check_tells_what_is_wrong_and_exits_with_1(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with processes.simulator("--key", KEY) as upstream:
        monkeypatch.setenv("GOOD_KEY", KEY)
        monkeypatch.setenv("WRONG_KEY", KEY[::-1])
        monkeypatch.delenv("MISSING_KEY", raising=False)
        for name, model_map in (
            ("good", "a|gpt-4o,b|sim-503,c|sim-404"),
            ("wrong", "a|gpt-4o"),
            ("missing", "a|gpt-4o"),
        ):
            setting = ("--key-setting", f"{name.upper()}_KEY")
            run("add", name, "--endpoint", upstream.url, "--model-map", model_map, *setting)
        nowhere = f"http://127.0.0.1:{processes.free_port()}"
        run("add", "nowhere", *OPENAI[:2], "--endpoint", nowhere, "--model-map", "a|b")
        result = run("check", "--json")
        one = run("check", "wrong")
    problems = {each["deployment"]: each["problem"] for each in json.loads(result.out)}
    assert result.status == 1
    assert {key: status for key, (_, status) in outcomes(result).items()} == {
        "good/gpt-4o": 200,
        "good/sim-503": 503,
        "good/sim-404": 404,
        "wrong/gpt-4o": 401,
        "missing/gpt-4o": None,
        "nowhere/b": None,
    }
    assert problems["good/gpt-4o"] == ""
    assert "DeploymentNotFound" in problems["good/sim-404"]
    assert "MISSING_KEY" in problems["missing/gpt-4o"]
    assert problems["nowhere/b"]
    assert one.status == 1
    assert "Access denied" in one.out and "good/" not in one.out
    assert KEY not in result.out and KEY[::-1] not in result.out + one.out


def test_check_of_one_that_is_switched_off_tries_it_all_the_same(
    run: Run, simulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATER_KEY", KEY)
    given = ("--endpoint", simulator, "--key-setting", "LATER_KEY", "--inactive")
    run("add", "later", "--model-map", "a|gpt-4o", *given)
    assert run("check", "--json").json == []
    assert outcomes(run("check", "later", "--json")) == {"later/gpt-4o": ("chat_completions", 200)}


def test_check_without_a_key_signs_in(run: Run, storage: str, simulator: str) -> None:
    run("add", "keyless", "--endpoint", simulator, "--model-map", "a|gpt-4o")
    with_identity = {**test_manage.on(storage), **identity_settings(simulator)}
    done = subprocess.run(
        [sys.executable, "manage.py", "resources", "check"],
        env={**os.environ, **with_identity},
        cwd=processes.ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"keyless/gpt-4o +chat_completions +200 ", done.stdout)


def error(message: str, code: str | None = None) -> str:
    return json.dumps({"error": {"message": message, "code": code}})


def test_check_tries_the_older_limit_where_the_newer_one_is_refused(run: Run) -> None:
    def answer(body: dict[str, Any]) -> tuple[int, str]:
        if "max_completion_tokens" in body:
            return 400, error("max_completion_tokens is not known", "unsupported_parameter")
        return 200, "{}"

    with serving(answer) as upstream:
        run("add", "older", *OPENAI[:2], "--endpoint", upstream.url, "--model-map", "a|b")
        assert run("check", "older").status == 0
    assert [body.get("max_tokens") for body in upstream.bodies] == [None, 1]
    assert upstream.bodies[-1]["model"] == "b"


def test_check_takes_a_model_that_wants_more_than_a_token_for_a_good_one(run: Run) -> None:
    told = "Could not finish the message because max_tokens or model output limit was reached."
    with serving(lambda _: (400, error(told))) as upstream:
        run("add", "thinking", *OPENAI[:2], "--endpoint", upstream.url, "--model-map", "a|b")
        assert run("check", "thinking").status == 0


def test_check_never_shows_a_key_that_an_upstream_repeats(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEDEN_KEY", KEY)
    key = ("--key-setting", "SWEDEN_KEY")
    with serving(lambda _: (401, error(f"{KEY} is no\n\x1b[31mgood"))) as upstream:
        run("add", "loud", *OPENAI[:2], "--endpoint", upstream.url, "--model-map", "a|b", *key)
        result = run("check", "loud")
    assert result.status == 1
    assert "is no [31mgood" in result.out and KEY not in result.out and "\x1b" not in result.out


def test_an_event_may_resume_streams(manage_py: Run) -> None:
    def resumes(*arguments: str) -> bool:
        event = manage_py("events", *arguments, "--json").json
        shown = manage_py("events", "show", "resuming-event").out
        assert re.search(rf"Resumes streams +{'yes' if event['resume_streams'] else 'no'},", shown)
        return bool(event["resume_streams"])

    assert not resumes("add", "resuming-event", "--end", "2999-01-01")
    assert resumes("set", "resuming-event", "--resume-streams")
    assert resumes("set", "resuming-event", "--name", "Another")
    assert not resumes("set", "resuming-event", "--no-resume-streams")
