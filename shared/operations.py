"""The API calls that the gateway forwards."""

import re
from dataclasses import dataclass, replace

_SPECIAL = re.compile(r"embed|dall-e|gpt-image|whisper|transcribe|tts", re.IGNORECASE)
_EMBEDDING = re.compile(r"embed", re.IGNORECASE)
_IMAGE = re.compile(r"dall-e|image", re.IGNORECASE)
_SPEECH = re.compile(r"tts", re.IGNORECASE)
_HEARING = re.compile(r"whisper|transcribe", re.IGNORECASE)
# The most that gpt-image-1 makes of one image: high quality, 1024 by 1536
# (https://developers.openai.com/api/docs/guides/image-generation, "Cost and latency").
IMAGE_TOKENS = 6240


@dataclass(frozen=True, eq=False)
class Operation:
    """One API call that is forwarded: adding one to OPERATIONS is all it takes.

    `path` is what stands behind a base URL, here and upstream; one that is `on_v1` has no deployment
    in Azure's path but names it in its body. Its body is JSON, or, if it `is_form`, a multipart form.

    `prompt_fields` are the members that cost input tokens. `output_fields` are those that ask for
    output tokens; the first one is set where an event has a cap and the caller asks for nothing, to
    at most `default_output` if the upstream has such a rule. `multipliers` are those that ask for
    several answers; if it `answers_each_prompt`, a list of prompts does so too. `answer_tokens` is what
    one answer costs that no field bounds. What it answers costs tokens by its length if it
    `writes_text`.

    `final_events` are the types of the events that can end its stream; without any, its stream ends as
    that of chat completions, and has its usage only with `stream_options` if it `tells_usage_if_asked`.
    One that `answers_media` may answer with something else than JSON. One that `is_stored` may be asked
    for its answer again. Answers of one that `is_cacheable` may be given again to others (docs/cache.md).
    Members in `refused` are refused, for the reason given there.

    `only` and `never` tell by the names of a model and its deployment whether a call that names no
    model may go to it.
    """

    name: str
    path: str
    prompt_fields: tuple[str, ...]
    output_fields: tuple[str, ...] = ()
    default_output: int | None = None
    multipliers: tuple[str, ...] = ()
    answers_each_prompt: bool = False
    answer_tokens: int | None = None
    writes_text: bool = False
    final_events: frozenset[str] = frozenset()
    tells_usage_if_asked: bool = False
    is_cacheable: bool = False
    on_v1: bool = False
    is_form: bool = False
    answers_media: bool = False
    is_stored: bool = False
    refused: tuple[tuple[str, str], ...] = ()
    only: re.Pattern[str] | None = None
    never: re.Pattern[str] | None = None

    @property
    def streams(self) -> bool:
        """Whether its answer can be a stream."""
        return self.tells_usage_if_asked or bool(self.final_events)

    def fits(self, names: str) -> bool:
        if self.only:
            return bool(self.only.search(names))
        return not (self.never and self.never.search(names))


CHAT_COMPLETIONS = Operation(
    name="chat_completions",
    path="chat/completions",
    prompt_fields=("messages", "tools", "functions", "response_format"),
    # Every chat model that Azure still deploys takes max_completion_tokens; the reasoning models
    # refuse max_tokens.
    output_fields=("max_completion_tokens", "max_tokens"),
    multipliers=("n", "best_of"),
    writes_text=True,
    tells_usage_if_asked=True,
    is_cacheable=True,
    never=_SPECIAL,
)
EMBEDDINGS = Operation(
    name="embeddings",
    path="embeddings",
    prompt_fields=("input",),
    is_cacheable=True,
    only=_EMBEDDING,
)
COMPLETIONS = Operation(
    name="completions",
    path="completions",
    prompt_fields=("prompt", "suffix"),
    output_fields=("max_tokens",),
    default_output=16,
    multipliers=("n", "best_of"),
    answers_each_prompt=True,
    writes_text=True,
    tells_usage_if_asked=True,
    is_cacheable=True,
    never=_SPECIAL,
)
RESPONSES = Operation(
    name="responses",
    path="responses",
    prompt_fields=("input", "instructions", "tools", "text", "prompt"),
    output_fields=("max_output_tokens",),
    writes_text=True,
    final_events=frozenset({"response.completed", "response.incomplete", "response.failed"}),
    on_v1=True,
    is_stored=True,
    refused=(
        (
            "background",
            "'background' is not possible here: what such a response uses could not be counted. "
            "Leave it out, and ask for a stream if the answer takes long.",
        ),
        (
            "conversation",
            "'conversation' is not possible here: conversations belong to no attendee. Leave it "
            "out, and go on from a 'previous_response_id'.",
        ),
    ),
    never=_SPECIAL,
)
IMAGE_GENERATIONS = Operation(
    name="image_generations",
    path="images/generations",
    prompt_fields=("prompt",),
    multipliers=("n",),
    answer_tokens=IMAGE_TOKENS,
    final_events=frozenset({"image_generation.completed"}),
    only=_IMAGE,
)
IMAGE_EDITS = Operation(
    name="image_edits",
    path="images/edits",
    prompt_fields=("prompt", "image", "image[]", "mask"),
    multipliers=("n",),
    answer_tokens=IMAGE_TOKENS,
    final_events=frozenset({"image_edit.completed"}),
    is_form=True,
    only=_IMAGE,
)
AUDIO_SPEECH = Operation(
    name="audio_speech",
    path="audio/speech",
    prompt_fields=("input", "instructions"),
    final_events=frozenset({"speech.audio.done"}),
    answers_media=True,
    only=_SPEECH,
)
AUDIO_TRANSCRIPTIONS = Operation(
    name="audio_transcriptions",
    path="audio/transcriptions",
    prompt_fields=("file", "prompt"),
    writes_text=True,
    final_events=frozenset({"transcript.text.done"}),
    is_form=True,
    answers_media=True,
    only=_HEARING,
)
AUDIO_TRANSLATIONS = replace(
    AUDIO_TRANSCRIPTIONS, name="audio_translations", path="audio/translations"
)
OPERATIONS = {
    operation.path: operation
    for operation in (
        CHAT_COMPLETIONS,
        EMBEDDINGS,
        COMPLETIONS,
        RESPONSES,
        IMAGE_GENERATIONS,
        IMAGE_EDITS,
        AUDIO_SPEECH,
        AUDIO_TRANSCRIPTIONS,
        AUDIO_TRANSLATIONS,
    )
}
