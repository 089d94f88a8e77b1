"""Serves pictures of response maps, heatmaps and CAMs to the FiftyOne App, on this machine only.

A heatmap in the App is an address. Ours have no files behind them: a picture is made when the App
requests it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from types import TracebackType

from labelkit.errors import LabelkitError
from labelkit.project.response_pictures import KINDS, MapPictures

HOST = "127.0.0.1"

_PATH = re.compile(rf"/maps/(\d{{3,}})/({'|'.join(KINDS)})/(\d+)/([0-9a-f]{{16}}(?:-\d+)?)\.png")
_THIS_MACHINE = re.compile(r"(?:https?://)?(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?")


def map_url(port: int, number: int, kind: str, keypoint: int, id_: str) -> str:
    """The address of one map.

    Args:
        port: of the server.
        number: of the round.
        kind: see `KINDS`.
        keypoint: its index.
        id_: of an instance (a map over its crop) or of an image (a map over all of it).
    """
    return f"http://{HOST}:{port}/maps/{number:03d}/{kind}/{keypoint}/{id_}.png"


class MapServer:
    """A web server for the maps of a project, in its own thread.

    Args:
        open_round: opens the pictures of a round by its number; called once for each round.
        port: to listen at; 0 takes a free one.

    Raises:
        OSError: if the port is taken.
    """

    def __init__(self, open_round: Callable[[int], MapPictures], port: int) -> None:
        self._open_round, self._rounds, self._lock = open_round, dict[int, MapPictures](), Lock()
        self._server = ThreadingHTTPServer((HOST, port), self._handler())
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> MapServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _picture(self, number: int, kind: str, keypoint: int, id_: str) -> bytes:
        with self._lock:
            if number not in self._rounds:
                self._rounds[number] = self._open_round(number)
        return self._rounds[number].get(kind, keypoint, id_)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        picture = self._picture

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                # Another page in the same browser must neither reach us under its own name (DNS
                # rebinding) nor read our answers.
                if not _THIS_MACHINE.fullmatch(self.headers.get("Host", "")):
                    self._answer(403, b"")
                    return
                match = _PATH.fullmatch(self.path.partition("?")[0])
                if match is None:
                    self._answer(404, b"")
                    return
                number, kind, keypoint, id_ = match.groups()
                try:
                    content = picture(int(number), kind, int(keypoint), id_)
                except LabelkitError as error:
                    self._answer(404, str(error).encode())
                    return
                self._answer(200, content)

            def _answer(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "image/png" if status == 200 else "text/plain")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("X-Content-Type-Options", "nosniff")
                self.send_header("Cache-Control", "no-cache")
                origin = self.headers.get("Origin", "")
                if _THIS_MACHINE.fullmatch(origin):
                    self.send_header("Access-Control-Allow-Origin", origin)
                    self.send_header("Vary", "Origin")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing: the terminal belongs to the user."""

        return Handler
