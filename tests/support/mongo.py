"""The suite's own database for FiftyOne, or the reason why it is missing."""

from __future__ import annotations

import atexit
import os
import warnings
from contextlib import ExitStack
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

import pytest

from labelkit.bridges.fiftyone.mongod import own_mongod
from labelkit.errors import MissingDependencyError

CHROMIUM = Path("/usr/bin/chromium")


def missing(what: str) -> None:
    """Skip a test because of what is missing; with LABELKIT_REQUIRE_SERVICES=1, fail instead."""
    if os.environ.get("LABELKIT_REQUIRE_SERVICES") == "1":
        pytest.fail(f"LABELKIT_REQUIRE_SERVICES=1, but {what}", pytrace=False)
    pytest.skip(what)


@cache
def _start() -> str:
    """Start mongod once, and point FiftyOne at it; returns "", or why that failed."""
    if find_spec("fiftyone") is None:
        return "fiftyone is not installed"
    folder = Path(mkdtemp(prefix="labelkit-mongod-"))
    stack = ExitStack()
    # FiftyOne cleans its database up when Python ends, and waits for it: this hook, registered
    # before FiftyOne's, runs after it.
    atexit.register(stack.close)
    try:
        uri = stack.enter_context(own_mongod(folder))
        stack.callback(_disconnect)
    except MissingDependencyError as error:
        return error.problem
    os.environ.update(
        FIFTYONE_DATABASE_URI=uri,
        FIFTYONE_DATABASE_NAME="labelkit-tests",
        FIFTYONE_DATABASE_VALIDATION="false",  # it warns of MongoDB 6
        FIFTYONE_DO_NOT_TRACK="true",
        FIFTYONE_LOGGING_LEVEL="ERROR",
        FIFTYONE_SHOW_PROGRESS_BARS="false",
        FIFTYONE_PLUGINS_DIR=str(folder / "plugins"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it imports is full of deprecated Python
        import fiftyone

        fiftyone.list_datasets()  # connects, and imports the rest
    return ""


def _disconnect() -> None:
    """Close what FiftyOne leaves open; Python would warn about it."""
    import mongoengine
    from fiftyone.core.odm import database

    mongoengine.disconnect_all()
    if database._client is not None:
        database._client.close()


@pytest.fixture
def fiftyone_database() -> None:
    """A MongoDB that FiftyOne uses; without one the test is skipped, with the reason."""
    if reason := _start():
        missing(reason)


def chromium() -> Path:
    """The browser; without one, skip the test."""
    if find_spec("playwright") is None:
        missing("playwright is not installed")
    if not CHROMIUM.is_file():
        missing(f"{CHROMIUM} does not exist; type: apt-get install chromium")
    return CHROMIUM
