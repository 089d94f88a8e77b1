"""The private names of FiftyOne that labelkit uses, all of them.

They can move in any release: pyproject.toml sets an upper bound, and a test names what moved.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def samples_of(dataset: Any) -> Any:
    """The MongoDB collection of a dataset's samples, of all group slices."""
    return dataset._sample_collection


def id_of(dataset: Any) -> Any:
    """The id of a dataset, which its samples carry as `_dataset_id`."""
    return dataset._doc.id


def start_server(port: int, address: str, patience_s: float) -> None:
    """Start FiftyOne's web server, for a session that follows, and wait until it listens.

    A session that finds no server for ten seconds tries again ten seconds later. And FiftyOne
    gives up on a server after a minute, which a busy machine or a slow disk can take.

    Args:
        port: to listen at.
        address: to listen at.
        patience_s: seconds until the server counts as not starting.
    """
    import fiftyone as fo

    servers = importlib.import_module("fiftyone.core.session.session")._server_services
    service: Any = importlib.import_module("fiftyone.core.service").ServerService

    class PatientService(service):
        def _wait_for_child_port(self, port: int, timeout: float = patience_s) -> Any:
            return super()._wait_for_child_port(port, timeout)

    servers[port] = PatientService(port, address=address, do_not_track=fo.config.do_not_track)


def on_event(session: Any, name: str, listener: Callable[[Any], None]) -> None:
    """Call a listener for each event of this name that the App's server sends to a session."""
    session._client.add_event_listener(name, listener)
