"""A socket that listens, and the web server behind it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import uvicorn

from labelkit.bridges.ports import check_port


@contextmanager
def listen(program: str, host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    """Listen on a port; connections wait until a server runs.

    Args:
        program: for messages, such as "labelkit serve".
        host: address to listen on.
        port: must be free.

    Returns:
        the socket, and the URL at which it is reached.

    Raises:
        UsageError: if the port is taken.
    """
    check_port(program, host, port)
    with closing(socket.socket()) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
        name = socket.gethostname() if host == "0.0.0.0" else host
        yield listening, f"http://{name}:{listening.getsockname()[1]}"


def server_of(app: Any) -> uvicorn.Server:
    """The web server of an ASGI application, not running yet."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=10,
        )
    )
