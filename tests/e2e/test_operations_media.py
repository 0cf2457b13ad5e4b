"""Completions, images, speech and transcriptions with OpenAI's own Python library."""

import asyncio
import base64
import io
import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from openai import APIError, AzureOpenAI, BadRequestError, OpenAI

from tests import processes
from tests.conftest import EVENTS, KEY, add_events, gateway_settings
from tests.e2e.calls import Calls, values
from tests.e2e.test_openai_python import client, v1
from tests.e2e.test_usage_of_streams import serving
from tests.e2e.wire import error_of, events_of

__all__ = ["client", "v1"]
SOUND = ("speech.mp3", b"\xff\xfb\x90\x64" + bytes(40_000), "audio/mpeg")
PICTURE = ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(500), "image/png")


def test_a_text_is_completed(client: OpenAI, calls: Calls, text: str) -> None:
    answer = client.completions.create(model="gpt-4o", prompt=text, max_tokens=50)

    assert answer.choices[0].text == f"[simulated] gpt-4o here, you said: {text}"
    assert calls.only(text)["path"].startswith("/openai/deployments/gpt-4o/completions?")


def test_a_completion_comes_as_a_stream(v1: OpenAI, calls: Calls, text: str) -> None:
    stream = v1.completions.create(model="gpt-4o", prompt=text, stream=True)
    chunks = list(stream)

    assert "".join(chunk.choices[0].text for chunk in chunks).endswith(f"you said: {text}")
    assert all(chunk.usage is None for chunk in chunks)
    assert json.loads(calls.only(text)["body"])["stream_options"] == {"include_usage": True}


def test_each_prompt_of_a_list_is_completed(v1: OpenAI, text: str) -> None:
    answer = v1.completions.create(model="gpt-4o", prompt=[text, "b"], n=2)

    assert len(answer.choices) == 4


def test_an_image_is_made(client: OpenAI, calls: Calls, text: str) -> None:
    answer = client.images.generate(model="gpt-image-1", prompt=text, n=2)

    assert answer.data and len(answer.data) == 2
    assert base64.b64decode(answer.data[0].b64_json or "").startswith(b"\x89PNG")
    assert answer.usage and answer.usage.output_tokens > 0
    path = "/openai/deployments/gpt-image-1/images/generations?"
    assert calls.only(text)["path"].startswith(path)


def test_an_image_comes_in_stages(v1: OpenAI, text: str) -> None:
    stream = v1.images.generate(model="gpt-image-1", prompt=text, stream=True, partial_images=2)
    kinds = [event.type for event in stream]

    assert kinds == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]


def test_several_images_come_in_stages(v1: OpenAI, text: str) -> None:
    stream = v1.images.generate(model="gpt-image-1", prompt=text, stream=True, n=3)
    kinds = [event.type for event in stream]

    assert kinds.count("image_generation.completed") == 3
    assert kinds[-1] == "image_generation.completed"


def test_images_of_which_some_are_missing_are_no_whole_answer(http: httpx.Client) -> None:
    body = {"model": "sim-nodone", "prompt": "hi", "stream": True, "n": 2}
    stream = http.post("/v1/images/generations", headers={"api-key": KEY}, json=body).text

    assert stream.count("event: image_generation.completed") == 1
    assert "upstream_stream_cut" in stream.split("\n\n")[-2]


def test_images_are_edited(client: OpenAI, calls: Calls, text: str) -> None:
    answer = client.images.edit(
        model="gpt-image-1", image=[PICTURE, PICTURE], mask=PICTURE, prompt=text
    )

    assert answer.data and answer.data[0].b64_json
    assert answer.usage and answer.usage.input_tokens_details.image_tokens == 3 * 272
    assert calls.only(text)["path"].startswith("/openai/deployments/gpt-image-1/images/edits?")


def test_an_edited_image_comes_in_stages(v1: OpenAI, text: str) -> None:
    stream = v1.images.edit(model="gpt-image-1", image=PICTURE, prompt=text, stream=True)

    assert [event.type for event in stream][-1] == "image_edit.completed"


def test_a_text_is_spoken(client: OpenAI, calls: Calls, text: str) -> None:
    answer = client.audio.speech.create(model="gpt-4o-mini-tts", voice="coral", input=text)

    assert answer.content.startswith(b"\xff\xfb") and len(answer.content) == 4170
    assert answer.response.headers["content-type"] == "audio/mpeg"
    assert answer.response.headers["content-length"] == "4170"
    assert answer.response.headers["x-gateway-deployment"] == "default/gpt-4o-mini-tts"
    assert calls.only(text)["path"].startswith("/openai/deployments/gpt-4o-mini-tts/audio/speech?")


def test_speech_is_written_to_a_file_as_it_comes(v1: OpenAI, text: str, tmp_path: Path) -> None:
    asked = v1.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="coral", input=text, response_format="wav"
    )
    with asked as answer:
        answer.stream_to_file(tmp_path / "said.wav")

    assert (tmp_path / "said.wav").read_bytes().startswith(b"RIFF")


def test_speech_comes_as_events(v1: OpenAI, text: str) -> None:
    asked = v1.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="coral", input=text, stream_format="sse"
    )
    with asked as answer:
        events = [line for line in answer.iter_lines() if line.startswith("event: ")]

    assert events == ["event: speech.audio.delta"] * 5 + ["event: speech.audio.done"]


def test_speech_comes_piece_by_piece(http: httpx.Client) -> None:
    body = {"model": "sim-drip", "input": "hi", "voice": "coral"}
    with http.stream("POST", "/v1/audio/speech", headers={"api-key": KEY}, json=body) as answer:
        pieces = [piece for piece in answer.iter_raw() if piece]

    assert [len(piece) for piece in pieces] == [2085, 2085]


@pytest.mark.filterwarnings("ignore:deprecated")  # by the library, for translations
@pytest.mark.parametrize("operation", ["transcriptions", "translations"])
def test_a_recording_is_heard(client: OpenAI, calls: Calls, text: str, operation: str) -> None:
    api = getattr(client.audio, operation)
    heard = api.create(model="gpt-4o-transcribe", file=SOUND, prompt=text)

    assert heard.text == "[simulated] gpt-4o-transcribe heard speech.mp3 of 40004 bytes"
    path = f"/openai/deployments/gpt-4o-transcribe/audio/{operation}?"
    assert calls.only(text)["path"].startswith(path)


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
def test_a_transcript_may_be_plain_text(v1: OpenAI, form: str) -> None:
    heard = v1.audio.transcriptions.create(model="whisper-1", file=SOUND, response_format=form)

    assert isinstance(heard, str) and "of 40004 bytes" in heard


def test_a_transcript_comes_word_by_word(v1: OpenAI) -> None:
    stream = v1.audio.transcriptions.create(model="gpt-4o-transcribe", file=SOUND, stream=True)
    *words, last = list(stream)

    assert "".join(event.delta for event in words) == last.text
    assert last.usage.output_tokens == len(words)


def test_a_model_that_does_not_stream_answers_at_once(http: httpx.Client) -> None:
    form = {"model": "whisper-1", "stream": "true"}
    answer = http.post(
        "/v1/audio/transcriptions", headers={"api-key": KEY}, data=form, files={"file": SOUND}
    )

    assert answer.json()["text"]


@pytest.mark.parametrize(
    ("path", "fields", "model"),
    [
        ("completions", {"prompt": "hi"}, "gpt-4o"),
        ("responses", {"input": "hi"}, "gpt-4o"),
        ("images/generations", {"prompt": "hi"}, "gpt-image-1"),
        ("audio/speech", {"input": "hi", "voice": "coral"}, "gpt-4o-mini-tts"),
    ],
)
@pytest.mark.parametrize("base", ["", "/v1", "/api/v1", "/openai/v1", "/openai", "/api/v1/openai"])
def test_every_spelling_leads_there_also_without_a_model(
    http: httpx.Client, base: str, path: str, fields: dict, model: str
) -> None:
    answer = http.post(f"{base}/{path}", headers={"api-key": KEY}, json=fields)

    assert answer.status_code == 200
    assert answer.headers["x-gateway-deployment"] == f"default/{model}"


@pytest.mark.parametrize("path", ["audio/transcriptions", "audio/translations", "images/edits"])
@pytest.mark.parametrize("base", ["", "/v1", "/api/v1/openai"])
def test_a_form_may_leave_the_model_out(http: httpx.Client, base: str, path: str) -> None:
    name = "image" if path == "images/edits" else "file"
    answer = http.post(
        f"{base}/{path}",
        headers={"api-key": KEY},
        data={"prompt": "hi"},
        files={name: SOUND},
    )

    model = "gpt-image-1" if name == "image" else "whisper-1"
    assert answer.headers["x-gateway-deployment"] == f"default/{model}"


def test_an_azure_path_decides_for_a_form(gateway: str, calls: Calls, text: str) -> None:
    with AzureOpenAI(
        azure_endpoint=gateway,
        azure_deployment="gpt-4o-transcribe",
        api_version="2024-10-21",
        api_key=KEY,
    ) as client:
        heard = client.audio.transcriptions.create(model="whisper-1", file=SOUND, prompt=text)

    assert heard.text.startswith("[simulated] gpt-4o-transcribe heard")
    assert "whisper-1" in calls.only(text)["body"]


def test_a_form_goes_up_byte_for_byte(http: httpx.Client, calls: Calls, text: str) -> None:
    body = (
        "--a b'c\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; name=prompt"
        f'\r\n\r\n{text}\r\n--a b\'c\r\nContent-Disposition: form-data; name="file"; filename="x"'
        "\r\n\r\n--a b\r\n--a b'\r\n\r\n--a b'c  \r\nContent-Disposition: form-data; name=\"model\""
        "\r\n\r\nwhisper-1\r\n--a b'c--\r\nepilogue"
    )
    headers = {"api-key": KEY, "content-type": 'multipart/form-data; boundary="a b\'c"; x=y'}
    answer = http.post("/v1/audio/transcriptions", headers=headers, content=body)

    assert answer.status_code == 200
    call = calls.only(text)
    assert call["body"] == body
    assert values(call, "content-length") == [str(len(body))]
    assert values(call, "content-type") == ['multipart/form-data; boundary="a b\'c"']


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"model": "whisper-1"}'),
        ("", b""),
        ("multipart/form-data", b"--b--"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"--c--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=x\r\n"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data; name=model\r\n\r\nwhisper-1\r\n",
        ),
    ],
)
def test_what_is_no_whole_form_is_refused(
    http: httpx.Client, content_type: str, body: bytes
) -> None:
    headers = {"api-key": KEY, "content-type": content_type}
    answer = http.post("/v1/audio/transcriptions", headers=headers, content=body)

    assert answer.status_code == 400
    assert error_of(answer)["code"] == "invalid_form"


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("audio/transcriptions", [("model", b"whisper-1"), ("model", b"gpt-4o")], "model"),
        ("audio/transcriptions", [("stream", b"yes")], "stream"),
        ("audio/transcriptions", [("stream", b"true"), ("stream", b"false")], "stream"),
        ("audio/transcriptions", [("prompt", b"\xff")], "prompt"),
        ("images/edits", [("n", b"two")], "n"),
        ("images/edits", [("n", b"0")], "n"),
        ("images/edits", [("n", b"1"), ("n", b"9")], "n"),
        ("images/edits", [("prompt", b"x" * 2**20), ("user", b"x")], None),
    ],
    ids=str,
)
def test_a_field_that_cannot_be_right_is_refused(
    http: httpx.Client, path: str, fields: list, param: str | None
) -> None:
    files = [(name, (None, value)) for name, value in fields] + [("file", SOUND)]
    answer = http.post(f"/v1/{path}", headers={"api-key": KEY}, files=files)

    assert answer.status_code == 400
    assert error_of(answer)["param"] == param


def test_the_model_may_not_be_a_file(http: httpx.Client) -> None:
    files = {"model": SOUND, "file": SOUND}
    answer = http.post("/v1/audio/translations", headers={"api-key": KEY}, files=files)

    error = error_of(answer)
    assert (error["code"], error["param"]) == ("invalid_form", "model")


def test_a_huge_form_is_refused(http: httpx.Client) -> None:
    files = {"file": ("a.wav", io.BytesIO(bytes(33 * 2**20)))}
    answer = http.post(
        "/v1/audio/transcriptions", headers={"api-key": KEY}, files=files, timeout=60
    )

    assert answer.status_code == 413
    assert error_of(answer)["code"] == "request_too_large"


def test_an_error_of_the_upstream_goes_through(v1: OpenAI) -> None:
    with pytest.raises(BadRequestError) as error:
        v1.audio.transcriptions.create(
            model="gpt-4o-transcribe", file=SOUND, response_format="nonsense"
        )

    assert error.value.param == "response_format"


def test_events_of_speech_that_break_off_end_with_an_error(http: httpx.Client) -> None:
    body = {"model": "sim-tear", "input": "hi", "stream_format": "sse"}
    stream = http.post("/v1/audio/speech", headers={"api-key": KEY}, json=body).text
    *_, last = stream.removesuffix("\n\n").split("\n\n")

    error = json.loads(last.removeprefix("event: error\ndata: "))["error"]
    assert error["code"] == "upstream_stream_cut"


def test_a_streamed_transcript_that_breaks_off_raises_in_the_library(v1: OpenAI) -> None:
    said = []
    with pytest.raises(APIError) as error:
        for event in v1.audio.transcriptions.create(model="sim-cut", file=SOUND, stream=True):
            said.append(event.type)

    assert error.value.code == "upstream_stream_cut"
    assert said == ["transcript.text.delta"] * 3


@pytest.mark.parametrize("model", ["sim-cut", "sim-tear", "sim-stall"])
def test_speech_that_breaks_off_never_looks_complete(http: httpx.Client, model: str) -> None:
    body = {"model": model, "input": "hi", "voice": "coral"}
    with (
        pytest.raises(httpx.RemoteProtocolError),
        http.stream("POST", "/v1/audio/speech", headers={"api-key": KEY}, json=body) as answer,
    ):
        assert answer.status_code == 200
        for _ in answer.iter_raw():
            pass


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("sim-silence", 504, "upstream_timeout"),
        ("sim-reset", 502, "upstream_unreachable"),
        ("sim-empty", 502, "upstream_unreachable"),
        ("sim-500", 500, "500"),
    ],
)
def test_speech_that_never_begins_is_an_ordinary_error(
    http: httpx.Client, model: str, status: int, code: str
) -> None:
    body = {"model": model, "input": "hi", "voice": "coral"}
    answer = http.post("/v1/audio/speech", headers={"api-key": KEY}, json=body)

    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize(
    ("model", "form"), [("sim-cut", "json"), ("sim-cut", "text"), ("sim-malformed", "json")]
)
def test_a_transcript_that_is_not_whole_is_an_error(
    http: httpx.Client, model: str, form: str
) -> None:
    answer = http.post(
        "/v1/audio/transcriptions",
        headers={"api-key": KEY},
        data={"model": model, "response_format": form},
        files={"file": SOUND},
    )

    assert answer.status_code == 502
    assert error_of(answer)["code"] == "upstream_unreachable"


def test_a_broken_stream_of_completions_ends_as_one_of_chats(v1: OpenAI) -> None:
    with pytest.raises(APIError) as error:
        list(v1.completions.create(model="sim-cut", prompt="repeat 30", stream=True))

    assert error.value.code == "upstream_stream_cut"


def test_a_whole_stream_of_completions_ends_with_done(http: httpx.Client) -> None:
    body = {"model": "sim-nodone", "prompt": "hi", "stream": True}
    stream = http.post("/v1/completions", headers={"api-key": KEY}, json=body).content

    assert events_of(stream)[-1] == "[DONE]"


class SpeechOfUnknownLength(BaseHTTPRequestHandler):
    """An upstream that does not tell how long its answer is, and breaks off where asked to."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-type", "audio/mpeg")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for _ in range(3):
            self.wfile.write(b"3\r\nabc\r\n")
        if body["input"] == "whole":
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def test_speech_of_unknown_length_never_looks_complete_when_it_is_not(storage: str) -> None:
    asyncio.run(add_events(storage, EVENTS))
    with (
        serving(SpeechOfUnknownLength) as upstream,
        processes.gateway(gateway_settings(storage, upstream)) as server,
        httpx.Client(base_url=server.url, headers={"api-key": KEY}) as client,
    ):
        whole = client.post("/v1/audio/speech", json={"input": "whole"})
        assert whole.content == b"abc" * 3
        with pytest.raises(httpx.RemoteProtocolError):
            client.post("/v1/audio/speech", json={"input": "broken"})
        assert not any("Traceback" in line for line in server.lines)
