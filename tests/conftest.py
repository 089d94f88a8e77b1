"""What every test gets: one thread, no deadlines, and one trained project to copy."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from trained import Trained, copy_trained, make_trained

settings.register_profile("labelkit", deadline=None)
settings.load_profile("labelkit")

# Small networks on small pictures: more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


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
