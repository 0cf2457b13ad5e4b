"""What `manage.py doctor` finds, on a real Azurite and the real simulator, each thing broken in turn."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.data.tables import (
    AccountSasPermissions,
    ResourceTypes,
    generate_account_sas,
)

from local import doctor_versions
from local.doctor_findings import Status
from shared.tables import Tables
from tests import processes, test_keyless, test_manage
from tests.conftest import gateway_settings
from tests.test_events import on
from tests.test_keyless import identity_settings
from tests.test_manage import Result, Run
from tests.test_manage_resources import error, serving

manage_py = test_manage.manage_py
secured_storage = test_keyless.secured_storage
HERE = version("pydantic")
KEY = "9a1b2c3d4e5f60718293a4b5c6d7e8f9"
ACCOUNT = "devstoreaccount1"
END = ("--end", "2999-01-01")
Findings = dict[str, tuple[str, str, str]]


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """An Azurite of its own, since much is broken here."""
    with processes.azurite(processes.free_port()) as server:
        yield processes.connection_string(server.url)


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with processes.simulator("--key", KEY) as server:
        yield server.url


@pytest.fixture
def run(
    manage_py: Run, storage: str, upstream: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Run]:
    """`manage.py`, with settings that are right, and one event; no row stays."""
    use(monkeypatch, upstream)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    for name in ("SWEDEN_KEY", "MAX_ATTEMPT"):
        monkeypatch.delenv(name, raising=False)
    assert manage_py("events", "add", "a-secret-code", "--name", "The hack", *END).status == 0
    yield manage_py

    async def clear(tables: Tables) -> None:
        for table in ("events", "resources", "configs"):
            await tables.delete_all(table, " ", "~")

    on(storage, clear)


def use(monkeypatch: pytest.MonkeyPatch, endpoint: str, model_map: str = "gpt-4o|gpt-4o") -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", endpoint)
    monkeypatch.setenv("AZURE_OPENAI_MODEL_MAP", model_map)


def findings(result: Result) -> Findings:
    """Status, message and fix of each check; the worst of a check that has found several things."""
    found: Findings = {}
    for each in sorted(json.loads(result.out)["findings"], key=lambda one: severity(one["status"])):
        found[each["check"]] = (each["status"], each["message"], each["fix"])
    return found


def severity(status: str) -> int:
    return list(Status).index(Status(status))


def diagnosed(run: Run, *arguments: str) -> tuple[int, Findings]:
    result = run("doctor", "--json", *arguments)
    assert result.err == ""
    return result.status, findings(result)


def add(run: Run, name: str, *options: str) -> None:
    assert run("resources", "add", name, "--model-map", "gpt-4o|gpt-4o", *options).status == 0


def test_where_all_is_well_it_says_so_and_exits_with_0(run: Run) -> None:
    status, found = diagnosed(run)
    assert status == 0
    assert {check: finding[0] for check, finding in found.items()} == dict.fromkeys(
        ("settings", "storage", "tables", "events", "resources", "configs", "clock")
        + ("resource default/gpt-4o",)
        + ("version", "python", "dependencies"),
        "ok",
    )
    shown = run("doctor")
    assert shown.status == 0
    assert "Fix:" not in shown.out and shown.out.rstrip().endswith("All is well.")
    assert re.search(
        r"ok +resource default/gpt-4o +It answers \(chat_completions, \d+ ms\)", shown.out
    )


def test_a_problem_makes_it_exit_with_1_and_is_shown_with_its_fix(
    run: Run, upstream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, upstream, "a|sim-404,b|sim-429")
    shown = run("doctor")
    assert shown.status == 1
    assert re.search(r"problem +resource default/sim-404 +404 DeploymentNotFound", shown.out)
    assert "Fix: Correct the deployment's name in the model map" in shown.out
    assert shown.out.rstrip().endswith("1 problem, 1 warning.")


@pytest.mark.parametrize(
    ("setting", "value", "check", "message", "fix"),
    [
        ("AZURE_OPENAI_MODEL_MAP", "a|sim-404", "resource default/sim-404", "404", "model map"),
        ("AZURE_OPENAI_MODEL_MAP", "a|sim-503", "resource default/sim-503", "503", "status"),
        ("AZURE_OPENAI_MODEL_MAP", "a||b", "settings", "entry 1", "README.md"),
        ("AZURE_OPENAI_API_KEY", KEY[::-1], "resource default/gpt-4o", "401", "the key in AZURE_"),
        ("AZURE_OPENAI_ENDPOINT", "a.b", "settings", "AZURE_OPENAI_ENDPOINT", "README.md"),
        ("AZURE_OPENAI_ENDPOINT", "http://127.0.0.1:9", "resource default/gpt-4o", "", "endpoint"),
        ("QUEUE_TIMEOUT_S", "soon", "settings", "QUEUE_TIMEOUT_S", "README.md"),
        ("EVENT_STORAGE", "storage", "storage", "EVENT_STORAGE", "README.md"),
    ],
)
def test_each_problem_is_named_with_its_fix(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    value: str,
    check: str,
    message: str,
    fix: str,
) -> None:
    monkeypatch.setenv(setting, value)
    status, found = diagnosed(run)
    assert status == 1
    assert found[check][0] == "problem"
    assert message in found[check][1] and fix in found[check][2]
    assert found["python"][0] == "ok"


def test_a_deployment_at_its_limit_is_a_warning(
    run: Run, upstream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, upstream, "a|sim-429")
    status, found = diagnosed(run)
    assert status == 0
    assert found["resource default/sim-429"][0] == "warning"
    assert "capacity" in found["resource default/sim-429"][2]


def test_without_the_apps_settings_the_rest_is_checked(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, "", "")
    status, found = diagnosed(run)
    assert status == 0
    assert found["settings"][0] == "warning" and "AZURE_OPENAI_ENDPOINT" in found["settings"][1]
    assert found["storage"][0] == "ok"


def test_a_store_that_cannot_be_reached_leaves_the_resources_to_check(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"http://127.0.0.1:{processes.free_port()}"
    monkeypatch.setenv("EVENT_STORAGE", processes.connection_string(nowhere))
    status, found = diagnosed(run)
    assert status == 1
    assert found["storage"] == ("problem", "It cannot be reached.", found["storage"][2])
    assert "Azurite" in found["storage"][2]
    assert found["resource default/gpt-4o"][0] == found["clock"][0] == "ok"


def test_what_answers_in_place_of_a_store(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda _: (404, "{}")) as server:
        monkeypatch.setenv("EVENT_STORAGE", processes.connection_string(server.url))
        status, found = diagnosed(run)
    assert status == 1
    assert found["storage"][0] == "problem" and "no Table Storage" in found["storage"][1]


def test_a_store_that_refuses_the_key(
    run: Run, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = re.sub("AccountKey=[^;]+", "AccountKey=d3Jvbmc=", storage)
    monkeypatch.setenv("EVENT_STORAGE", wrong)
    status, found = diagnosed(run)
    assert status == 1
    assert found["storage"][0] == "problem" and "refuses" in found["storage"][1]
    assert "Storage Table Data Contributor" in found["storage"][2]


def test_a_store_that_can_only_be_read(
    run: Run, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = re.findall("AccountKey=([^;]+)", storage)[0]
    signature = generate_account_sas(
        AzureNamedKeyCredential(ACCOUNT, key),
        ResourceTypes(object=True, service=True, container=True),
        AccountSasPermissions(read=True, list=True),
        datetime.now(UTC) + timedelta(hours=1),
    )
    read_only = re.sub("AccountKey=[^;]+", f"SharedAccessSignature={signature}", storage)
    monkeypatch.setenv("EVENT_STORAGE", read_only.replace(f"AccountName={ACCOUNT};", ""))
    status, found = diagnosed(run)
    assert status == 1
    assert found["storage"][:2] == ("problem", "It can be read but not written.")
    assert found["events"][0] == "ok"


def test_the_store_is_checked_by_identity(secured_storage: dict[str, str], upstream: str) -> None:
    settings = {**test_manage.NO_SETTINGS, **secured_storage, **identity_settings(upstream)}
    done = doctor_process({**settings, **gateway_settings("", upstream)})
    assert findings(done)["storage"][0] == "ok"


def test_who_has_not_signed_in_is_told_to() -> None:
    settings = {
        **test_manage.NO_SETTINGS,
        "EVENT_STORAGE__tableServiceUri": "https://127.0.0.1:9",
        "AZURE_TOKEN_CREDENTIALS": "AzureCliCredential",
        "PATH": "",
    }
    done = doctor_process(settings)
    assert done.status == 1
    assert findings(done)["storage"][2] == "Sign in: az login."


def doctor_process(settings: dict[str, str], root: Path = processes.ROOT) -> Result:
    """In a process of its own: azure-identity keeps what it finds."""
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--json"],
        env={**os.environ, **settings},
        cwd=root,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.stderr == ""
    return Result(done.returncode, done.stdout, done.stderr)


def test_another_storage_account_is_noticed_by_its_missing_tables(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with processes.azurite(processes.free_port()) as empty:
        monkeypatch.setenv("EVENT_STORAGE", processes.connection_string(empty.url))
        status, found = diagnosed(run)
    assert status == 0
    assert found["tables"][0] == "warning"
    assert "events add" in found["tables"][2]


def test_a_malformed_event_is_found_and_its_code_is_not_shown(run: Run, storage: str) -> None:
    async def write(tables: Tables) -> None:
        row = {"StartUTC": "tomorrow", "EndUTC": "2999-01-01"}
        await tables.insert("events", "another: secret", "event", row)

    on(storage, write)
    result = run("doctor", "--json")
    status, message, fix = findings(result)["events"]
    assert (result.status, status) == (1, "problem")
    assert "StartUTC" in message and "events list" in fix
    assert "secret" not in result.out
    assert "another: secret" in run("events", "list").err


def test_a_malformed_resource_is_found(run: Run, storage: str) -> None:
    async def write(tables: Tables) -> None:
        row = {"Endpoint": "https://one.openai.azure.com", "ModelMap": "a|b;fast"}
        await tables.insert("resources", "sweden", "resource", row)

    on(storage, write)
    status, found = diagnosed(run)
    assert status == 1
    assert found["resources"][0] == "problem" and "sweden" in found["resources"][1]


def test_a_malformed_config_is_found(run: Run, storage: str) -> None:
    async def write(tables: Tables) -> None:
        await tables.insert("configs", "pc-team", "config", {"Config": '{"custom_host": "x"}'})

    on(storage, write)
    status, found = diagnosed(run)
    assert status == 1
    assert found["configs"][0] == "problem"
    assert "pc-team" in found["configs"][1] and "custom_host" in found["configs"][1]


@pytest.mark.parametrize("value", ["", "@Microsoft.KeyVault(SecretUri=https://v/secrets/s)"])
def test_a_resource_whose_key_is_elsewhere_is_not_asked(
    run: Run, upstream: str, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    add(run, "sweden", "--endpoint", upstream, "--key-setting", "SWEDEN_KEY")
    monkeypatch.setenv("SWEDEN_KEY", value)
    status, found = diagnosed(run)
    assert status == 0
    assert found["resource sweden"][0] == "warning"
    assert "SWEDEN_KEY" in found["resource sweden"][1] + found["resource sweden"][2]


def test_a_resource_that_is_off_is_not_asked(run: Run) -> None:
    add(run, "off", "--endpoint", "http://127.0.0.1:9", "--inactive")
    status, found = diagnosed(run)
    assert (status, found["resource off"][0]) == (0, "ok")


def test_a_model_that_no_resource_serves_is_named_with_its_event(run: Run) -> None:
    run("events", "set", "a-secret-code", "--models", "gpt-4o,gpt-9")
    status, found = diagnosed(run)
    assert status == 0
    assert found["events"][:2] == (
        "warning",
        "The event 'The hack' allows gpt-9, which no resource serves.",
    )


def test_a_misspelt_setting_is_noticed_and_the_name_of_a_key_is_not(
    run: Run, upstream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY2", KEY)
    add(run, "sweden", "--endpoint", upstream, "--key-setting", "AZURE_OPENAI_API_KEY2")
    assert diagnosed(run)[1]["settings"][0] == "ok"
    monkeypatch.setenv("MAX_ATTEMPT", "2")
    assert diagnosed(run)[1]["settings"] == (
        "warning",
        "MAX_ATTEMPT is no setting of the gateway.",
        "Is MAX_ATTEMPTS meant?",
    )


class Elsewhen(BaseHTTPRequestHandler):
    """A service without anything, whose clock is off by `by`."""

    by = timedelta()

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("x-ms-error-code", "TableNotFound")
        self.send_header("content-length", "0")
        self.end_headers()

    do_POST = do_DELETE = do_GET

    def date_time_string(self, timestamp: float | None = None) -> str:
        return format_datetime(datetime.now(UTC) + self.by, usegmt=True)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def elsewhen(request: pytest.FixtureRequest) -> Iterator[str]:
    handler = type("Handler", (Elsewhen,), {"by": timedelta(seconds=request.param)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("elsewhen", "status", "words"),
    [
        (0, "ok", "agrees"),
        (-60, "warning", "60 s ahead of"),
        (60, "warning", "60 s behind"),
        (3600, "problem", "3,600 s behind"),
    ],
    indirect=["elsewhen"],
)
@pytest.mark.parametrize("told_by", ["storage", "resource"])
def test_a_clock_that_is_off_is_noticed(
    run: Run, monkeypatch: pytest.MonkeyPatch, elsewhen: str, status: str, words: str, told_by: str
) -> None:
    """By the event store's Date header, or a resource's while the store cannot be reached."""
    nowhere = f"http://127.0.0.1:{processes.free_port()}"
    store, endpoint = (elsewhen, nowhere) if told_by == "storage" else (nowhere, elsewhen)
    monkeypatch.setenv("EVENT_STORAGE", processes.connection_string(store))
    use(monkeypatch, endpoint)
    found = diagnosed(run)[1]["clock"]
    assert found[0] == status
    assert re.search(words.replace("0 s", r"[01] s").replace("60", "(60|59)"), found[1]), found
    assert ("NTP" in found[2]) == (status != "ok")


def test_the_running_gateway_is_asked_too(run: Run) -> None:
    health: dict[str, Any] = {"status": "ok", "deployments": {}, "problems": []}
    with serving(lambda _: (200, json.dumps(health))) as gateway:
        assert diagnosed(run, "--url", gateway.url)[1]["gateway"][0] == "ok"
        health["deployments"] = {"default/gpt-4o": "open"}
        assert diagnosed(run, "--url", gateway.url)[1]["gateway"][:2] == (
            "warning",
            "default/gpt-4o is open.",
        )
        health["problems"] = ["default/gpt-4o answered 404."]
        status, found = diagnosed(run, "--url", gateway.url)
    assert status == 1
    assert found["gateway"][:2] == ("problem", "default/gpt-4o answered 404.")
    assert diagnosed(run, "--url", gateway.url)[1]["gateway"][0] == "problem"


def test_no_secret_is_shown_wherever_it_stands(
    run: Run, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_key = re.findall("AccountKey=([^;]+)", storage)[0]
    monkeypatch.setenv("SWEDEN_KEY", KEY)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY[::-1])
    with serving(lambda _: (401, error(f"{KEY} and {KEY[::-1]} and {storage}"))) as loud:
        use(monkeypatch, loud.url)
        add(run, "sweden", "--endpoint", loud.url, "--key-setting", "SWEDEN_KEY")
        told = run("doctor").out + run("doctor", "--json").out
        monkeypatch.setenv("AZURE_OPENAI_MODEL_MAP", f"a|{KEY[::-1]}|b")
        told += run("doctor").out
    assert "401" in told
    for secret in (KEY, KEY[::-1], account_key, "a-secret-code"):
        assert secret not in told


def test_a_local_settings_json_that_is_none_is_a_problem(tmp_path: Path) -> None:
    root = tmp_path / "project"
    for part in ("shared", "local"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(processes.ROOT / part, root / part, ignore=ignored)
    for name in ("manage.py", "requirements.txt"):
        shutil.copy(processes.ROOT / name, root)
    (root / "local.settings.json").write_text('{"Values": ')
    done = doctor_process({}, root)
    assert done.status == 1
    assert findings(done)["settings"][2] == "Correct local.settings.json."


@pytest.mark.parametrize(
    ("requirements", "status"),
    [
        ("# a comment\n\npydantic==0.1 \\\n    --hash=sha256:00\n", "warning"),
        (f"pydantic==0.1 ; python_version < '3'\npydantic=={HERE} ; python_version >= '3'", "ok"),
        ("no-such-package==1.0", "problem"),
        ("no-such-package==1.0 ; sys_platform == 'win32'", "ok"),
    ],
)
def test_the_dependencies_are_those_of_requirements_txt(
    tmp_path: Path, requirements: str, status: str
) -> None:
    (tmp_path / "requirements.txt").write_text(requirements)
    found = {finding.check: finding for finding in doctor_versions.examine(tmp_path)}
    assert found["dependencies"].status == status
    assert bool(found["dependencies"].fix) == (status != "ok")
