"""Ports of this machine: free ones, and a clear error for those that are taken."""

from __future__ import annotations

import socket
from contextlib import closing

from labelkit.errors import UsageError

LOOPBACK = "127.0.0.1"


def check_port(program: str, host: str, port: int) -> None:
    """Make sure that a program can listen on a port.

    Raises:
        UsageError: if there is no such port, another program uses it, or the address does not
            belong to this machine.
    """
    if not 0 <= port <= 65535:
        raise UsageError(
            f"{program} cannot listen on port {port}: it does not exist.",
            "Choose a port from 1024 to 65535.",
        )
    problem = _problem(host, port)
    if problem is None:
        return
    free = next((other for other in range(port + 1, port + 50) if not _problem(host, other)), None)
    raise UsageError(
        f"{program} cannot listen on port {port} of {host} ({problem}).",
        f"Choose another port: --port {free}"
        if free
        else "Choose another address: --host 127.0.0.1",
    )


def _problem(host: str, port: int) -> str | None:
    """Why a server cannot listen there; None if it can."""
    with closing(socket.socket()) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            return (getattr(error, "strerror", None) or str(error)).lower()
    with closing(socket.socket()) as probe:
        # Label Studio checks this one, whatever address it is to listen on.
        taken = probe.connect_ex(("localhost", port)) == 0
    return "another program listens on localhost" if taken else None


def is_free(port: int) -> bool:
    """Whether a server can listen there, on this machine only."""
    return _problem(LOOPBACK, port) is None


def free_port() -> int:
    """A port of this machine that no program uses."""
    with closing(socket.socket()) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
