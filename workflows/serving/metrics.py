"""What the prediction server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.types import ASGIApp, Receive, Scope, Send

from labelkit.workflows.serving.task_predictor import TaskAnswer, TaskPredictor

#: Paths with a name of their own in the counts. Strangers cannot add more.
PATHS = ("/health", "/setup", "/versions", "/predict", "/webhook", "/metrics")

#: Upper ends in seconds of the buckets that answering times are counted in.
BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Metrics:
    """Counts since the server's start.

    Args:
        predictor: whose round and failed reloads are reported too.
    """

    def __init__(self, predictor: TaskPredictor) -> None:
        self._predictor = predictor
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "labelkit_serve_requests", "Requests.", ("path", "status"), registry=registry
        )
        self._tasks = Counter(
            "labelkit_serve_tasks", "Tasks of /predict.", ("outcome",), registry=registry
        )
        self._answered, self._refused = map(self._tasks.labels, ("answered", "refused"))
        self._instances = Counter(
            "labelkit_serve_instances", "Instances predicted.", registry=registry
        )
        self._seconds = Histogram(
            "labelkit_serve_predict_seconds",
            "Time to answer /predict.",
            buckets=BUCKETS,
            registry=registry,
        )
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """What the predictor counts itself."""
        yield CounterMetricFamily(
            "labelkit_serve_failed_reloads",
            "Rounds that could not be loaded.",
            value=self._predictor.failed_reloads,
        )
        yield GaugeMetricFamily(
            "labelkit_serve_round", "Round that is served.", value=self._predictor.round_number
        )

    def request(self, path: str, status: int) -> None:
        """Count a request and its status."""
        self._requests.labels(path if path in PATHS else "other", status).inc()

    def predicted(self, answers: Sequence[TaskAnswer], seconds: float) -> None:
        """Count a call of /predict."""
        refused = sum(bool(answer.problem) for answer in answers)
        self._answered.inc(len(answers) - refused)
        self._refused.inc(refused)
        self._instances.inc(sum(answer.instances for answer in answers))
        self._seconds.observe(seconds)

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self._registry)


class CountRequests:
    """Counts every request to an application, refused ones too.

    Args:
        app: the application.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count its response."""

        async def counting(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.metrics.request(scope["path"], message["status"])
            await send(message)

        await self.app(scope, receive, counting)
