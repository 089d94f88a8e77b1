"""Ports that are free, and ports that are not."""

from __future__ import annotations

import socket

import pytest

from labelkit.bridges.ports import check_port, free_port
from labelkit.errors import UsageError


def test_a_free_port_passes():
    check_port("Label Studio", "127.0.0.1", free_port())


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_busy_port_is_refused_with_a_free_one(address):
    with socket.socket() as other:
        other.bind((address, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError) as caught:
            check_port("Label Studio", "127.0.0.1", port)
    assert f"port {port} of 127.0.0.1" in caught.value.problem
    assert "--port" in caught.value.next_step
    named = int(caught.value.next_step.rpartition(" ")[2])
    assert port < named < port + 50


@pytest.mark.parametrize(("host", "port"), [("203.0.113.7", 8080), ("127.0.0.1", 70_000)])
def test_an_address_that_is_not_ours_is_refused(host, port):
    with pytest.raises(UsageError, match=f"port {port}"):
        check_port("Label Studio", host, port)
