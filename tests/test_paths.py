"""The paths under which clients reach the operations."""

import pytest

from shared.errors import MethodNotAllowed, NotFound
from shared.operations import CHAT_COMPLETIONS, EMBEDDINGS, OPERATIONS, RESPONSES
from shared.paths import Target, find_target

CHAT = "chat/completions"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        *(
            (f"{base}/{CHAT}", Target(CHAT_COMPLETIONS))
            for base in ("", "/v1", "/api/v1", "//v1", "/api/v1/")
        ),
        *(
            (f"{base}/{CHAT}", Target(CHAT_COMPLETIONS, is_azure_form=True))
            for base in ("/openai/v1", "/openai", "/api/v1/openai", "/v1/openai/v1")
        ),
        *(
            (f"{base}/deployments/gpt-4o/{CHAT}", Target(CHAT_COMPLETIONS, "gpt-4o", "", True))
            for base in ("/openai", "/api/v1/openai", "/v1/openai", "", "/api/v1", "/v1")
        ),
        *(
            (f"{base}/engines/gpt-4o/{CHAT}", Target(CHAT_COMPLETIONS, "gpt-4o"))
            for base in ("", "/api/v1", "/v1", "/openai")
        ),
        ("/v1/embeddings", Target(EMBEDDINGS)),
        ("/v1/chat//completions/", Target(CHAT_COMPLETIONS)),
        (
            f"/openai/deployments/org%2Fmy%20model/{CHAT}",
            Target(CHAT_COMPLETIONS, "org/my model", "", True),
        ),
    ],
)
def test_every_spelling_of_an_operation_is_found(path: str, target: Target) -> None:
    assert find_target("POST", path) == target


@pytest.mark.parametrize("path", OPERATIONS)
def test_every_operation_is_found_in_each_form(path: str) -> None:
    operation = OPERATIONS[path]
    for base in ("", "/v1", "/api/v1"):
        assert find_target("POST", f"{base}/{path}") == Target(operation)
        for form in ("/openai", "/openai/v1"):
            found = find_target("POST", f"{base}{form}/{path}")
            assert found == Target(operation, is_azure_form=True)
        for form in ("/openai/deployments/a", "/deployments/a"):
            assert find_target("POST", f"{base}{form}/{path}") == Target(operation, "a", "", True)
        assert find_target("POST", f"{base}/engines/a/{path}") == Target(operation, "a")


@pytest.mark.parametrize("base", ["", "/v1", "/api/v1", "/openai", "/openai/v1", "/v1/openai"])
def test_a_stored_response_is_found(base: str) -> None:
    is_azure_form = "openai" in base
    found = Target("response", is_azure_form=is_azure_form, response="resp_1")
    for method in ("GET", "DELETE"):
        assert find_target(method, f"{base}/responses/resp_1") == found
    items = Target("response", is_azure_form=is_azure_form, response="resp_1", part="input_items")
    assert find_target("GET", f"{base}/responses/resp_1/input_items") == items
    assert find_target("POST", f"{base}/responses").resource is RESPONSES


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/", Target("home")),
        ("", Target("home")),
        ("/health", Target("health")),
        ("/api/v1/event", Target("event")),
        ("/models", Target("models")),
        ("/v1/models/", Target("models")),
        ("/api/v1/models/gpt-4o", Target("models", model="gpt-4o")),
        ("/v1/models/org/model", Target("models", model="org/model")),
        ("/openai/models", Target("models", is_azure_form=True)),
        ("/info", Target("info")),
        ("/v1/info", Target("info")),
    ],
)
def test_what_is_read_is_found(path: str, target: Target) -> None:
    assert find_target("GET", path) == target
    assert find_target("HEAD", path) == target


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/v2/chat/completions",
        "/v1",
        "/openai/deployments",
        "/openai/deployments/gpt-4o/nope",
        "/v1/models/" + "m" * 2000,
        "/v1/responses/resp_1/cancel",
        "/openai/deployments/gpt-4o/responses/resp_1",
    ],
)
def test_an_unknown_path_is_not_found(path: str) -> None:
    with pytest.raises(NotFound):
        find_target("POST", path)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", f"/v1/{CHAT}", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("DELETE", "/", "GET, HEAD"),
        ("GET", "/v1/responses", "POST"),
        ("POST", "/v1/responses/resp_1", "GET, DELETE"),
        ("DELETE", "/v1/responses/resp_1/input_items", "GET"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(method: str, path: str, allowed: str) -> None:
    with pytest.raises(MethodNotAllowed) as error:
        find_target(method, path)
    assert error.value.headers == {"allow": allowed}
