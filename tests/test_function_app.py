"""The function app: its triggers, what they cost to load, and what it leaves in the log."""

import json
import subprocess
import sys

from tests.processes import ROOT

TRIGGERS = """
import json, function_app
print(json.dumps({
    function.get_function_name(): function.get_trigger().get_dict_repr()
    for function in function_app.app.get_functions()
}, default=str))
"""


def test_every_route_is_anonymous_and_the_timers_run_at_night() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", TRIGGERS], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    triggers = json.loads(printed)
    timers = {
        "fold_usage": "0 30 1 * * *",
        "sweep_cache": "0 45 1 * * *",
        "forget_responses": "0 0 2 * * *",
    }
    for name, schedule in timers.items():
        timer = triggers.pop(name)
        assert (timer["type"], timer["schedule"]) == ("timerTrigger", schedule)
    assert {name: trigger["route"] for name, trigger in triggers.items()} == {
        "chat_completions": "api/v1/chat/completions",
        "embeddings": "api/v1/embeddings",
        "completions": "api/v1/completions",
        "responses": "api/v1/responses",
        "response": "api/v1/responses/{response}",
        "response_input_items": "api/v1/responses/{response}/input_items",
        "image_generations": "api/v1/images/generations",
        "image_edits": "api/v1/images/edits",
        "audio_speech": "api/v1/audio/speech",
        "audio_transcriptions": "api/v1/audio/transcriptions",
        "audio_translations": "api/v1/audio/translations",
        "models": "api/v1/models",
        "model": "api/v1/models/{model}",
        "event": "api/v1/event",
        "health": "health",
        "every_other_path": "{*path}",
    }
    assert {str(trigger["authLevel"]).lower() for trigger in triggers.values()} <= {
        "anonymous",
        "authlevel.anonymous",
    }


def test_loading_the_app_reads_no_setting_and_loads_no_client() -> None:
    """The platform indexes the functions before the first request; the rest can wait for that."""
    code = (
        "import sys, function_app; "
        "print([name for name in ('aiohttp', 'azure.data.tables', 'azure.identity') "
        "if name in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={}, capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "[]"


def test_host_json_takes_the_prefix_away() -> None:
    host = json.loads((ROOT / "host.json").read_text("utf-8"))
    assert host["extensions"]["http"]["routePrefix"] == ""
