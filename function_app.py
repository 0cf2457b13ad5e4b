"""The function app's table of contents: a trigger for each route, each handing its request on.

The routes are anonymous since the gateway checks keys of its own. The catch-all takes every other
spelling of the same calls, the home page, and whatever is not there. The timers run in the night
(UTC).
"""

import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, Response

from shared import upkeep, web
from shared.call_log import quiet_libraries

quiet_libraries()
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route("api/v1/chat/completions", methods=["POST"])
async def chat_completions(req: Request) -> Response:
    return await web.handle(req)


@app.route("api/v1/embeddings", methods=["POST"])
async def embeddings(req: Request) -> Response:
    return await web.handle(req)


@app.route("api/v1/completions", methods=["POST"])
async def completions(req: Request) -> Response:
    return await web.handle(req)


@app.route("api/v1/responses", methods=["POST"])
async def responses(req: Request) -> Response:
    return await web.handle(req)


@app.route("api/v1/responses/{response}", methods=["GET", "DELETE"])
async def response(req: Request) -> Response:
    return await web.handle(req)


@app.route("api/v1/responses/{response}/input_items", methods=["GET"])
async def response_input_items(req: Request) -> Response:
    return await web.handle(req)


@app.route("api/v1/images/generations", methods=["POST"])
async def image_generations(req: Request) -> Response:
    return await web.handle(req)


@app.route("api/v1/images/edits", methods=["POST"])
async def image_edits(req: Request) -> Response:
    return await web.handle(req)


@app.route("api/v1/audio/speech", methods=["POST"])
async def audio_speech(req: Request) -> Response:
    return await web.handle(req)


@app.route("api/v1/audio/transcriptions", methods=["POST"])
async def audio_transcriptions(req: Request) -> Response:
    return await web.handle(req)


@app.route("api/v1/audio/translations", methods=["POST"])
async def audio_translations(req: Request) -> Response:
    return await web.handle(req)


@app.route("api/v1/models", methods=["GET"])
async def models(req: Request) -> Response:
    return await web.handle(req)


@app.route("api/v1/models/{model}", methods=["GET"])
async def model(req: Request) -> Response:
    return await web.handle(req)


@app.route("api/v1/event", methods=["GET"])
async def event(req: Request) -> Response:
    return await web.handle(req)


@app.route("health", methods=["GET"])
async def health(req: Request) -> Response:
    return await web.handle(req)


@app.route("{*path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def every_other_path(req: Request) -> Response:
    return await web.handle(req)


@app.timer_trigger(arg_name="timer", schedule="0 30 1 * * *")
async def fold_usage(timer: func.TimerRequest) -> None:
    await upkeep.fold_usage()


@app.timer_trigger(arg_name="timer", schedule="0 45 1 * * *")
async def sweep_cache(timer: func.TimerRequest) -> None:
    await upkeep.sweep_cache()


@app.timer_trigger(arg_name="timer", schedule="0 0 2 * * *")
async def forget_responses(timer: func.TimerRequest) -> None:
    await upkeep.forget_responses()
