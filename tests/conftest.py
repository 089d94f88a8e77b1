"""What every test gets: its lane, one thread, no deadlines, and one trained project to copy."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from live_studio import live, live_once, synced
from mongo import fiftyone_database
from postgres import postgres, store_url
from trained import Trained, copy_trained, make_trained, with_store_at

__all__ = ["fiftyone_database", "live", "live_once", "postgres", "store_url", "synced"]

settings.register_profile("labelkit", deadline=None)
settings.load_profile("labelkit")

# Small networks on small pictures: more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line has it

# Weights that are needed are made, or in the cache: no test waits for a server elsewhere.
os.environ["HF_HUB_OFFLINE"] = "1"

#: A test that uses one of these fixtures carries the marker; `make test-fast` leaves both out.
LANES = {
    "server": {"fiftyone_database", "live_once", "postgres"},
    "slow": {"trained_once"},
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they start, before `-m` chooses among them."""
    for item in items:
        for marker, fixtures in LANES.items():
            if not fixtures.isdisjoint(getattr(item, "fixturenames", ())):
                item.add_marker(marker)


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The project that `trained` copies; not to be changed."""
    return make_trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def trained(trained_once: Trained, tmp_path: Path) -> Iterator[Trained]:
    """A project of 24 figures after its location-free round, all the test's own."""
    copy = copy_trained(trained_once, tmp_path)
    yield copy
    copy.store.close()


@pytest.fixture
def trained_anywhere(
    trained_once: Trained, tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Trained]:
    """The same, its labels once in a file of the project and once on a database server."""
    copy = copy_trained(trained_once, tmp_path)
    if not store_url.startswith("sqlite"):
        monkeypatch.setenv("LABELKIT_DB", store_url)
        copy = with_store_at(copy, store_url)
    yield copy
    copy.store.close()
