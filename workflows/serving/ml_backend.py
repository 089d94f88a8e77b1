"""Label Studio's ML backend protocol as an ASGI application."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from labelkit.errors import LabelkitError
from labelkit.workflows.serving.guard import Guard
from labelkit.workflows.serving.metrics import CountRequests, Metrics
from labelkit.workflows.serving.requests import RequestError, json_object
from labelkit.workflows.serving.task_predictor import TaskPredictor

#: Bytes of a request. A task with its annotations has about 10 kB.
LARGEST_BODY = 32 * 2**20


def make_app(predictor: TaskPredictor, password: str) -> Starlette:
    """The protocol as an ASGI application.

    Args:
        predictor: answers the tasks.
        password: the shared secret.
    """
    metrics = Metrics(predictor)

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "UP"})

    async def setup(request: Request) -> Response:
        await _json(request)  # it holds a key of Label Studio's, which is not needed here
        return JSONResponse({"model_version": await run_in_threadpool(predictor.version)})

    async def versions(request: Request) -> Response:
        return JSONResponse({"versions": [await run_in_threadpool(predictor.version)]})

    async def predict(request: Request) -> Response:
        started = time.perf_counter()
        tasks = _tasks(await _json(request))
        answers = await run_in_threadpool(predictor.answer, tasks)
        problems = [
            {"task": task.get("id"), "error": answer.problem}
            for task, answer in zip(tasks, answers, strict=True)
            if answer.problem
        ]
        metrics.predicted(answers, time.perf_counter() - started)
        if problems and len(problems) == len(answers):
            first = problems[0]["error"]
            return JSONResponse({"error": first, "errors": problems}, 404)
        # Label Studio expects one entry a task; an empty one stores nothing.
        results = [list(answer.predictions) for answer in answers]
        body = {
            "results": [rows[0] if len(rows) == 1 else rows for rows in results],
            "model_version": f"round-{predictor.round_number:03d}",
        }
        return JSONResponse(body | ({"errors": problems} if problems else {}))

    async def webhook(request: Request) -> Response:
        await _json(request)
        return JSONResponse({"status": "noted; labelkit retrain trains"})

    async def show_metrics(request: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, LabelkitError)
        status = error.status if isinstance(error, RequestError) else 500
        return JSONResponse({"error": error.problem, "next_step": error.next_step}, status)

    endpoints: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("/health", "GET", health),
        ("/setup", "POST", setup),
        ("/versions", "GET", versions),
        ("/predict", "POST", predict),
        ("/webhook", "POST", webhook),
        ("/metrics", "GET", show_metrics),
    ]
    return Starlette(
        routes=[Route(path, call, methods=[method]) for path, method, call in endpoints],
        middleware=[
            Middleware(CountRequests, metrics=metrics),
            Middleware(Guard, password=password),
        ],
        exception_handlers={LabelkitError: refused},
    )


async def _json(request: Request) -> Mapping[str, Any]:
    return await json_object(request, LARGEST_BODY)


def _tasks(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tasks = document.get("tasks")
    if not isinstance(tasks, list) or not tasks:
        raise RequestError('The request has no list of "tasks".')
    for number, task in enumerate(tasks):
        if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
            raise RequestError(f'Task {number} of the request has no "data".')
    return tasks
