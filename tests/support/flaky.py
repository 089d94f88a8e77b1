"""A proxy in front of a server that fails on demand: what networks and busy servers really do."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

PAGE = b"<html>" + b"welcome " * 20_000 + b"</html>"
COOKIE = "very-secret-cookie"

#: Method and path of a request -> the name of the failure.
Failing = Callable[[str, str], str]


class Flaky:
    """The proxy's settings.

    Attributes:
        url: where it listens.
        failing: decides what happens to each request: "" passes it on, "500", "401", "html",
            "redirect", "nonsense", "other", "502", "echo" and "cut" answer at once, "lost" passes
            it on and drops the answer, "slow" passes it on and answers late.
        slow_seconds: how late.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.url = ""
        self.failing: Failing = lambda method, path: ""
        self.slow_seconds = 3.0


def _echo(header: str | None) -> bytes:
    return json.dumps({"detail": f"bad header: {header}"}).encode()


@contextmanager
def flaky(target: str) -> Iterator[Flaky]:
    """A proxy in front of `target`."""
    settings = Flaky(target)

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            how = settings.failing(self.command, self.path)
            answers = {
                "500": (500, "application/json", b'{"detail": "out of memory"}'),
                "401": (401, "application/json", b'{"detail": "Invalid token."}'),
                "html": (200, "text/html", PAGE),
                "nonsense": (200, "application/json", b'["what?"'),
                "redirect": (302, "text/html", b""),
                "other": (200, "application/json", b'{"hello": "world"}'),
                "502": (502, "text/html", PAGE),
                "echo": (400, "application/json", _echo(self.headers["Authorization"])),
            }
            if how == "cut":
                self.close_connection = True
                return
            if how in answers:
                self._send(*answers[how])
                return
            kept = {
                k: v
                for k, v in self.headers.items()
                if k.lower() in ("authorization", "content-type")
            }
            answer = httpx.request(
                self.command, target + self.path, content=body, headers=kept, timeout=60
            )
            if how == "lost":
                self.close_connection = True
                return
            if how == "slow":
                time.sleep(settings.slow_seconds)
            self._send(answer.status_code, answer.headers.get("content-type", ""), answer.content)

        def _send(self, status: int, kind: str, content: bytes) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Set-Cookie", f"sessionid={COOKIE}")
                self.send_header("Location", "https://login.example.org/")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # the client did not wait
                pass

        do_GET = do_POST = do_PATCH = do_DELETE = _answer

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    settings.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield settings
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
