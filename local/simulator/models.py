"""The list of models, faults among them."""

import json

from local.simulator.faults import FAULTS
from local.simulator.refusals import Json, not_found
from local.simulator.steps import Answer

_MODELS = (
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-5",
    "gpt-5-mini",
    "o4-mini",
    "gpt-35-turbo",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "gpt-image-1",
    "gpt-4o-mini-tts",
    "gpt-4o-transcribe",
    "whisper",
)
_CREATED = 1_732_060_800


def answer(name: str | None) -> Answer:
    """All models, or the one that is named."""
    if name is None:
        listed = [_model(model) for model in (*_MODELS, *FAULTS)]
        return _answer({"object": "list", "data": listed})
    if name not in _MODELS and name not in FAULTS:
        raise not_found()
    return _answer(_model(name))


def _answer(document: Json) -> Answer:
    return Answer(json.dumps(document).encode())


def _model(name: str) -> Json:
    return {
        "id": name,
        "object": "model",
        "created": _CREATED,
        "created_at": _CREATED,
        "owned_by": "simulated",
        "status": "succeeded",
        "lifecycle_status": "generally-available",
        "capabilities": {
            "chat_completion": "embedding" not in name,
            "embeddings": "embedding" in name,
            "completion": False,
            "fine_tune": False,
            "inference": True,
        },
    }
