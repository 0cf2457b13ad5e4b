"""A guard against the Functions worker's leak of one object for each streamed-mode request."""

import sys

_COORDINATORS = ("azure_functions_runtime.http_v2", "azure_functions_worker.http_v2")


def forget(invocation_id: str) -> None:
    """Drop what the worker keeps about an invocation that is over.

    `HttpCoordinator` remembers every invocation for ever (about 2 kB each; still so in
    azure-functions-runtime 1.3.0). Does nothing where the worker is another or has changed.
    """
    for name in _COORDINATORS:
        coordinator = getattr(sys.modules.get(name), "http_coordinator", None)
        references = getattr(coordinator, "_context_references", None)
        if isinstance(references, dict):
            references.pop(invocation_id, None)
