"""What a server can do wrong, in plain words, and nothing lost or doubled by it."""

from __future__ import annotations

import itertools
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from flaky import COOKIE, Flaky, flaky
from live_studio import Synced

from labelkit.bridges.label_studio import api as studio_api
from labelkit.bridges.label_studio.api import StudioApi, connect
from labelkit.bridges.ports import free_port
from labelkit.domain.selection import QueueItem
from labelkit.errors import LabelkitError, ServiceError, UsageError
from labelkit.store.journal import KEYPOINTS
from labelkit.workflows.rounds.queue_file import write_queue

KEY = "0123456789abcdef-the-secret-key"
AGAIN = "run the same command again: nothing is lost and nothing comes twice."

#: Failure -> what is said, and how many times a request that may be repeated was sent.
SAID = {
    "500": (r"failed: 500 out of memory$", AGAIN, 3),
    "502": (r"failed: 502$", AGAIN, 3),
    "cut": (r"The connection to \S+ broke \(RemoteProtocolError\)", AGAIN, 3),
    "401": (r"refuses the key in LABEL_STUDIO_API_KEY \(401\)", "Take a fresh one", 1),
    "echo": (r"refuses: 400 bad header: Token \*\*\*$", "Label Studio 1.23.2 or newer", 1),
    "html": (r"is no Label Studio: it answers with text/html \(200\)", "Set LABEL_STUDIO_URL", 1),
    "other": (r"is no Label Studio\.$", "Set LABEL_STUDIO_URL", 1),
    "nonsense": (r"answers what no Label Studio would", "Set LABEL_STUDIO_URL", 1),
    "redirect": (r"sends its visitors elsewhere \(302\)", "that a browser shows in the end", 1),
}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK tries again after moments instead of seconds."""
    monkeypatch.setattr("label_studio_sdk.core.http_client.INITIAL_RETRY_DELAY_SECONDS", 0.01)


@pytest.fixture
def broken() -> Iterator[Flaky]:
    """A server with no Label Studio behind it."""
    with flaky("http://127.0.0.1:9") as proxy:
        yield proxy


def refused(
    action: Callable[[], Any], match: str, next_step: str, *secrets: str
) -> type[LabelkitError]:
    """That it says so in a few words, with what to do, and nothing that has to stay secret."""
    with pytest.raises((ServiceError, UsageError)) as caught:
        action()
    said = str(caught.value)
    assert re.search(match, caught.value.problem)
    assert next_step in caught.value.next_step
    assert len(said) < 500
    assert not [word for word in (KEY, COOKIE, "sessionid", "welcome", *secrets) if word in said]
    return caught.type


class FailsFrom:
    """Lets some requests through, and fails in one way from then on."""

    def __init__(self, passed: int, how: str) -> None:
        self.asked, self.passed, self.how = itertools.count(), passed, how
        self.over = threading.Event()

    def __call__(self, method: str, path: str) -> str:
        if next(self.asked) < self.passed:
            return ""
        if self.how == "hang":
            self.over.wait(30)
            return "cut"
        return self.how


def answering(proxy: Flaky, how: str) -> Callable[[], None]:
    """Asks a server that always fails in one way."""
    proxy.failing = lambda method, path: how

    def ask() -> None:
        with StudioApi(proxy.url, KEY) as api:
            api.check()

    return ask


@pytest.mark.parametrize("how", SAID)
def test_each_failure_is_named_with_the_next_step(broken, how):
    match, next_step, tries = SAID[how]
    asked = []
    ask = answering(broken, how)
    broken.failing = lambda method, path: asked.append(path) or how
    refused(ask, match, next_step)
    assert len(asked) == tries


def test_a_server_that_is_down_is_named():
    url = f"http://127.0.0.1:{free_port()}"
    with StudioApi(url, KEY) as api:
        refused(api.check, f"Nobody answers at {url}.", "Start it: labelkit studio.")


def test_a_server_that_hangs_is_given_up(broken, monkeypatch):
    monkeypatch.setattr(studio_api, "TIMEOUT_SECONDS", 0.3)
    failing = FailsFrom(0, "hang")
    ask = answering(broken, "")
    broken.failing = failing
    refused(ask, "did not answer within", AGAIN)
    failing.over.set()


def test_what_was_not_meant_to_be_repeated_is_sent_once(broken):
    asked = []
    with StudioApi(broken.url, KEY) as api:
        for how in ("500", "cut"):
            broken.failing = lambda method, path, how=how: asked.append(path) or how
            refused(lambda: api.import_tasks(1, [{}]), "failed: 500|broke", "again")
    assert len(asked) == 2


def test_a_server_that_takes_some_of_the_tasks_is_noticed(synced):
    synced.push()
    with flaky(synced.live.url) as proxy, StudioApi(proxy.url, synced.live.log_in.api_key) as api:
        api._send = lambda *arguments, **how: [1]  # type: ignore[method-assign]
        tasks = [{"data": {"image": "http://127.0.0.1:9/a.png"}}] * 2
        refused(lambda: api.import_tasks(synced.project_id, tasks), "took 1 of 2 tasks", "again")


def test_json_of_another_shape_is_no_answer_wherever_it_comes(broken):
    broken.failing = lambda method, path: "other"
    with StudioApi(broken.url, KEY) as api:
        for action in (
            lambda: api.projects_marked("mark"),
            lambda: list(api.task_facts(1, "id")),
            lambda: api.drafted_tasks(1),
            lambda: api.newest_change(1),
            lambda: list(api.changed_tasks(1, "")),
            lambda: api.import_tasks(1, [{}]),
        ):
            refused(action, r"answers what no Label Studio would \(KeyError\)", "Set LABEL_STUDIO")


# Addresses and keys


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "localhost",
        "ftp://host",
        "http://",
        "http://a b",
        "http://host:port",
        "http://[::1",
        "http://host/?next=1",
        f"http://ann:{KEY}@host",
        f"//ann:{KEY}@host",
        "http://ä..b",
    ],
)
def test_an_address_that_is_none_is_refused_before_anything_is_sent(url, monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_URL", url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", KEY)
    assert (
        refused(connect, "LABEL_STUDIO_URL is not the URL of a server", "Type: export LABEL_STUDIO")
        is UsageError
    )


def test_an_address_and_a_key_that_are_not_set_are_asked_for(monkeypatch):
    for empty in ("", "  "):
        monkeypatch.setenv("LABEL_STUDIO_URL", empty)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", KEY)
        refused(connect, "LABEL_STUDIO_URL is not set", "Without a server: labelkit push --files")
        monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", empty)
        refused(connect, "LABEL_STUDIO_API_KEY is not set", "Account & Settings")


@pytest.mark.parametrize("key", [f"Token {KEY}", f"{KEY}ü", f"{KEY}\n{KEY}", f"{KEY}\x7f"])
def test_a_key_with_characters_that_no_key_has_is_not_sent(key, monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", key)
    refused(connect, "LABEL_STUDIO_API_KEY holds characters that no key has", "Copy it once more")


def personal_token(**claims: Any) -> str:
    return jwt.encode(claims, "signed with a secret of somebody else", algorithm="HS256")


@pytest.mark.parametrize(
    "claims",
    [{}, {"exp": 1}, {"exp": "soon"}, {"exp": None}, {"exp": 10**20}, {"exp": -(10**20)}],
)
def test_a_personal_access_token_that_has_expired_or_is_none_is_not_sent(claims):
    token = personal_token(**claims)
    refused(
        lambda: StudioApi("http://127.0.0.1:9", token),
        "is no key of Label Studio's, or it has expired",
        "Take a fresh one",
        token,
    )


@pytest.mark.parametrize("how", [how for how in SAID if how not in ("echo", "other")])
def test_a_personal_access_token_that_cannot_be_renewed_says_why(broken, how):
    match, next_step, _ = SAID[how]
    token = personal_token(exp=4_000_000_000, token_type="refresh")
    broken.failing = lambda method, path: how
    with StudioApi(broken.url, token) as api:
        refused(api.check, match, next_step, token)


@pytest.mark.parametrize("key", ["0" * 40, "a.b.c", personal_token(exp=4_000_000_000)])
def test_the_real_server_refuses_a_wrong_key(live, key):
    with StudioApi(live.url, key) as api:
        refused(api.check, "refuses the key in LABEL_STUDIO_API_KEY", "Take a fresh one", key)


# Nothing is lost or doubled


@pytest.fixture
def queued(synced: Synced, monkeypatch: pytest.MonkeyPatch) -> Synced:
    """Eight instances, sent three at a time and read two at a time."""
    monkeypatch.setattr("labelkit.workflows.sync.push_server.CHUNK", 3)
    monkeypatch.setattr(studio_api, "PAGE", 2)
    ids = list(synced.trained.store.instances())[:8]
    items = [QueueItem(id_, "unsure", False) for id_ in ids]
    write_queue(synced.trained.project, items)
    return synced


def until_it_works(
    proxy: Flaky, key: str, ways: tuple[str, ...], command: Callable[[StudioApi], Any]
) -> int:
    """Run a command that fails from its first request on, then from its second, and so on."""
    for passed, how in enumerate(itertools.cycle(ways)):
        assert passed < 60
        failing = proxy.failing = FailsFrom(passed, how)
        said = None
        with StudioApi(proxy.url, key) as api:
            try:
                command(api)
            except ServiceError as error:
                said = error
        failing.over.set()
        if said is None:
            return passed
        assert said.next_step
        assert not [word for word in (key, COOKIE, "welcome") if word in str(said)]
    raise AssertionError


@pytest.mark.parametrize("ways", [("500", "hang"), ("cut", "html", "401"), ("lost",)])
def test_whatever_request_fails_the_next_runs_lose_nothing_and_double_nothing(
    queued, ways, monkeypatch
):
    store, skeleton = queued.trained.store, queued.trained.project.skeleton
    key = queued.live.log_in.api_key
    if "hang" in ways:
        monkeypatch.setattr(studio_api, "TIMEOUT_SECONDS", 0.5)
    with flaky(queued.live.url) as proxy:
        assert until_it_works(proxy, key, ways, queued.push) >= 5
        queued.push()  # the same server by its own address
        tasks = queued.tasks()
        asked = Counter(id_ for task in tasks for id_ in task["data"]["labelkit"]["instances"])
        assert asked == dict.fromkeys(list(store.instances())[:8], 1)
        assert [len(task["predictions"]) for task in tasks] == [1] * len(tasks)
        assert queued.api.projects_marked(queued.sent.uid) == [queued.project_id]

        for task in tasks:
            queued.submit(task, task["predictions"][0]["result"])
        assert until_it_works(proxy, key, ways, queued.pull) >= 5
    assert store.poses(skeleton).keys() == asked.keys()
    kept = Counter(r.entry.instance_id for r in store.entries() if r.entry.kind == KEYPOINTS)
    assert kept == asked
    assert queued.pull().added == 0


def test_a_slow_server_is_waited_for(queued):
    with flaky(queued.live.url) as proxy, StudioApi(proxy.url, queued.live.log_in.api_key) as api:
        proxy.slow_seconds = 0.2
        proxy.failing = lambda method, path: "slow"
        assert queued.push(api).sent == 8
        assert queued.pull(api).added == 0
