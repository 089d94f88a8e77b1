"""`labelkit serve`: the newest round behind Label Studio's ML backend protocol.

A task that is opened without a prediction gets one. Strangers get nothing: everything but /health
asks for the shared secret.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labelkit.bridges.ports import check_port
from labelkit.errors import InputError, LabelkitError, MissingDependencyError, UsageError
from labelkit.progress import Progress
from labelkit.project.project import Project
from labelkit.store.label_store import LabelStore
from labelkit.workflows.serving.interrupts import interrupted_once
from labelkit.workflows.serving.task_predictor import TaskPredictor

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

PASSWORD_VARIABLE = "LABELKIT_SERVE_PASSWORD"
USER = "labelkit"

#: Bytes of a request. A task with its annotations has about 10 kB.
LARGEST_BODY = 32 * 2**20

#: Upper ends in seconds of the classes that answering times are counted in.
BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

_ENCODINGS = ("utf-8", "latin-1")

PATHS = ("/health", "/setup", "/versions", "/predict", "/webhook", "/metrics")


class RequestError(InputError):
    """A request that makes no sense.

    Args:
        problem: what is wrong with it.
        status: of the response.
    """

    def __init__(self, problem: str, status: int = 400) -> None:
        super().__init__(problem)
        self.status = status


@dataclass(slots=True)
class Metrics:
    """What happened since the start, for whoever operates the server."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    instances: int = 0
    seconds: list[float] = field(default_factory=lambda: [0.0] * (len(BUCKETS) + 1))
    seconds_sum: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def request(self, path: str, status: int) -> None:
        """Count a request and how it was answered."""
        with self.lock:
            self.requests[path if path in PATHS else "other", status] += 1

    def predicted(self, answered: int, refused: int, instances: int, seconds: float) -> None:
        """Count a call of /predict."""
        with self.lock:
            self.tasks["answered"] += answered
            self.tasks["refused"] += refused
            self.instances += instances
            self.seconds_sum += seconds
            self.seconds[sum(seconds > limit for limit in BUCKETS)] += 1

    def text(self, round_number: int, failed_reloads: int) -> str:
        """In the format that Prometheus reads."""
        with self.lock:
            lines = ["# TYPE labelkit_serve_requests_total counter"]
            lines += [
                f'labelkit_serve_requests_total{{path="{path}",status="{status}"}} {count}'
                for (path, status), count in sorted(self.requests.items())
            ]
            lines.append("# TYPE labelkit_serve_tasks_total counter")
            lines += [
                f'labelkit_serve_tasks_total{{outcome="{outcome}"}} {self.tasks[outcome]}'
                for outcome in ("answered", "refused")
            ]
            lines.append("# TYPE labelkit_serve_instances_total counter")
            lines.append(f"labelkit_serve_instances_total {self.instances}")
            lines.append("# TYPE labelkit_serve_predict_seconds histogram")
            total = 0.0
            for limit, count in zip([*map(str, BUCKETS), "+Inf"], self.seconds, strict=True):
                total += count
                lines.append(f'labelkit_serve_predict_seconds_bucket{{le="{limit}"}} {total:.0f}')
            lines.append(f"labelkit_serve_predict_seconds_sum {self.seconds_sum:.6f}")
            lines.append(f"labelkit_serve_predict_seconds_count {total:.0f}")
        lines.append("# TYPE labelkit_serve_failed_reloads_total counter")
        lines.append(f"labelkit_serve_failed_reloads_total {failed_reloads}")
        lines.append("# TYPE labelkit_serve_round gauge")
        lines.append(f"labelkit_serve_round {round_number}")
        return "\n".join(lines) + "\n"


class Guard:
    """Lets in who knows the secret, and counts everybody.

    Args:
        app: what is guarded.
        password: the shared secret.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, password: str, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics
        # Clients do not agree on letters beyond ASCII: Label Studio sends the second one.
        self._expected = [f"{USER}:{password}".encode(code, "replace") for code in _ENCODINGS]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401."""
        from starlette.responses import JSONResponse

        if scope["type"] != "http":
            return
        path = scope["path"]

        async def counting(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.metrics.request(path, message["status"])
            await send(message)

        if path == "/health" or self._knows_the_secret(dict(scope["headers"])):
            await self.app(scope, receive, counting)
            return
        asks = {"WWW-Authenticate": 'Basic realm="labelkit", charset="UTF-8"'}
        body = {"error": f"Basic authentication is needed: user {USER}, and the shared secret."}
        await JSONResponse(body, 401, asks)(scope, receive, counting)

    def _knows_the_secret(self, headers: Mapping[bytes, bytes]) -> bool:
        kind, _, said = headers.get(b"authorization", b"").partition(b" ")
        try:
            offered = base64.b64decode(said.strip(), validate=True)
        except (binascii.Error, ValueError):
            offered = b""
        # The time this takes tells nothing about where the two differ.
        matches = [hmac.compare_digest(offered, expected) for expected in self._expected]
        return any(matches) and kind.lower() == b"basic"


def read_secret() -> str:
    """The shared secret, from the environment.

    Raises:
        UsageError: if there is none.
    """
    password = os.environ.get(PASSWORD_VARIABLE, "")
    if not password.strip():
        raise UsageError(
            f"{PASSWORD_VARIABLE} is not set: labelkit serve answers nobody without a secret.",
            f'Type: export {PASSWORD_VARIABLE}="$(openssl rand -hex 20)"',
        )
    return password


def make_app(predictor: TaskPredictor, password: str) -> Starlette:
    """The protocol as an ASGI application.

    Args:
        predictor: answers the tasks.
        password: the shared secret.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.responses import JSONResponse, PlainTextResponse
    from starlette.routing import Route

    metrics = Metrics()

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "UP"})

    async def setup(request: Request) -> Response:
        await _json(request)  # it holds a key of Label Studio's, which is not wanted here
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
        metrics.predicted(
            len(answers) - len(problems),
            len(problems),
            sum(answer.instances for answer in answers),
            time.perf_counter() - started,
        )
        if problems and len(problems) == len(answers):
            first = problems[0]["error"]
            return JSONResponse({"error": first, "errors": problems}, 404)
        # One entry a task, as Label Studio wants it; an empty one stores nothing.
        results = [list(answer.predictions) for answer in answers]
        body = {
            "results": [rows[0] if len(rows) == 1 else rows for rows in results],
            "model_version": f"round-{predictor.round_number:03d}",
        }
        return JSONResponse(body | ({"errors": problems} if problems else {}))

    async def webhook(request: Request) -> Response:
        await _json(request)
        return JSONResponse({"status": "noted; labelkit retrain is what trains"})

    async def show_metrics(request: Request) -> Response:
        text = metrics.text(predictor.round_number, predictor.failed_reloads)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

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
        middleware=[Middleware(Guard, password=password, metrics=metrics)],
        exception_handlers={LabelkitError: refused},
    )


async def _json(request: Request) -> Mapping[str, Any]:
    """The JSON object of a request, read no further than `LARGEST_BODY`."""
    too_big = RequestError(f"The request is larger than {LARGEST_BODY >> 20} MB.", 413)
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > LARGEST_BODY:
        raise too_big
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise too_big
    try:
        document = json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise RequestError(f"The request is not JSON ({type(error).__name__}).") from None
    if not isinstance(document, Mapping):
        raise RequestError("The request is not a JSON object.")
    return document


def _tasks(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tasks = document.get("tasks")
    if not isinstance(tasks, list) or not tasks:
        raise RequestError('The request has no list of "tasks".')
    for number, task in enumerate(tasks):
        if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
            raise RequestError(f'Task {number} of the request has no "data".')
    return tasks


@dataclass(frozen=True, slots=True, eq=False)
class Serving:
    """A server that is about to answer.

    Attributes:
        url: where it answers.
        version: the round that it answers with.
        app: the application.
        listening: the socket, on which connections wait already.
    """

    url: str
    version: str
    app: Any
    listening: socket.socket

    def text(self) -> str:
        """For people."""
        return "\n".join(
            [
                f"labelkit serves {self.version} at {self.url}",
                f"  user      {USER}",
                f"  password  the one in {PASSWORD_VARIABLE}",
                f"  metrics   {self.url}/metrics",
                "In Label Studio: Settings > Model > Connect Model, with this URL and basic "
                "authentication.",
                "A server that is not labelkit studio calls nobody on its own machine, unless "
                "started with LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS=false.",
                "Stop it with Ctrl-C.",
            ]
        )

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {"url": self.url, "model_version": self.version, "user": USER}

    def server(self) -> Any:
        """The uvicorn server, not running yet."""
        import uvicorn

        return uvicorn.Server(
            uvicorn.Config(
                self.app,
                log_level="warning",
                access_log=False,
                server_header=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=10,
            )
        )

    def run(self) -> None:
        """Answer until Ctrl-C or a polite kill, which raise KeyboardInterrupt in the end."""
        self.server().run(sockets=[self.listening])


@contextmanager
def serve(
    project: Project, store: LabelStore, progress: Progress, *, host: str, port: int
) -> Iterator[Serving]:
    """Load the newest round and listen.

    Args:
        project: whose tasks are answered.
        store: its labels.
        progress: told when another round is served.
        host: address to listen on.
        port: must be free.

    Raises:
        UsageError: if there is no secret in the environment, or the port is taken.
        ProjectError: if no round is complete.
        MissingDependencyError: if the web server is not installed.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{error.name} is not installed.", "Type: pip install starlette uvicorn"
        ) from error
    password = read_secret()
    with interrupted_once():
        check_port("labelkit serve", host, port)
        predictor = TaskPredictor(project, store, progress)
        with closing(socket.socket()) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen(128)
            url = f"http://{socket.gethostname() if host == '0.0.0.0' else host}:{port}"
            app = make_app(predictor, password)
            yield Serving(url, predictor.version(), app, listening)
