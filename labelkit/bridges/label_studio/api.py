"""The part of Label Studio's HTTP API that push and pull need, with plain errors.

Requests go through the SDK's transport, which knows both kinds of keys, renews access tokens and
retries what may be retried. Its typed models are not used: they take seconds to import, and longer
to fill than the server takes to answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from labelkit.bridges.label_studio.filters import (
    ANSWERED,
    UNTOUCHED,
    changed_before,
    changed_since,
    has_draft,
    has_predictions_of,
    numbers,
    view,
    within,
)
from labelkit.errors import ServiceError, UsageError

#: Seconds until a server counts as not answering.
TIMEOUT_SECONDS = 120.0

#: Tasks on a page of whole tasks, and of task numbers.
PAGE, LIGHT_PAGE = 200, 10_000

#: The only form of times that Label Studio reads.
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?\d*(?:Z|\+00:00)?")

_ADDRESS = "Set LABEL_STUDIO_URL to the server's address."
_EXPIRED = "The key in LABEL_STUDIO_API_KEY is not a Label Studio key, or it has expired."
_FRESH = "Copy a new one from Label Studio, Account & Settings."
_REFUSED = (
    "Check that the user of the key may do this, and that the server is Label Studio 1.23.2 or "
    "newer."
)
_AGAIN = "Run the same command again: nothing is lost and nothing is sent twice."
_HOW = (
    "Type: export LABEL_STUDIO_URL=http://127.0.0.1:8080 (labelkit studio prints it).\n"
    "Without a server: labelkit push --files, and labelkit pull --file EXPORT.json"
)


def connect() -> StudioApi:
    """The server at LABEL_STUDIO_URL, with the key in LABEL_STUDIO_API_KEY.

    Raises:
        UsageError: if one of them is not set or malformed.
    """
    import httpx

    url = os.environ.get("LABEL_STUDIO_URL", "").strip().rstrip("/")
    key = os.environ.get("LABEL_STUDIO_API_KEY", "").strip()
    if not url:
        raise UsageError("LABEL_STUDIO_URL is not set.", _HOW)
    try:
        httpx.URL(url)
        plausible = re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", url)
    except httpx.InvalidURL:
        plausible = None
    if not plausible:  # it may hold a password, so the message does not repeat it
        raise UsageError("LABEL_STUDIO_URL is not the URL of a server (http://...).", _HOW)
    if not key:
        raise UsageError(
            "LABEL_STUDIO_API_KEY is not set.",
            "Copy the key from Label Studio, Account & Settings, or from the file that labelkit "
            "studio names.",
        )
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise UsageError(
            "LABEL_STUDIO_API_KEY holds characters that a key cannot have.", "Copy it again."
        )
    return StudioApi(url, key)


class StudioApi:
    """One server and one key, to be used in a `with` block, which closes the connections.

    Every method raises `ServiceError` if the server is down or slow, refuses the key, or does not
    answer like Label Studio. No message holds the key or a cookie.

    Args:
        url: of the server, without a trailing slash.
        key: legacy token or personal access token.
    """

    def __init__(self, url: str, key: str) -> None:
        import httpx
        from label_studio_sdk.core.client_wrapper import SyncClientWrapper

        self.url, self._key = url, key
        # A redirect would turn a POST into a GET; it is an error instead.
        self._client = httpx.Client(
            timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
            verify=url.lower().startswith("https:"),  # reading certificates takes a while
            event_hooks={"response": [self._check_renewal]},
        )
        try:
            self._transport = SyncClientWrapper(
                api_key=key, base_url=url + "/", max_retries=2, httpx_client=self._client
            ).httpx_client
        except Exception:  # it reads the claims of a personal access token, which can be anything
            self._client.close()
            raise ServiceError(_EXPIRED, _FRESH) from None

    def __enter__(self) -> StudioApi:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    # The server and its projects

    def check(self) -> None:
        """Make sure that this is a Label Studio that accepts the key."""
        who = self._get("api/current-user/whoami")
        if not isinstance(who, dict) or "email" not in who:
            raise ServiceError(f"{self.url} is not a Label Studio.", _ADDRESS)

    def users(self) -> dict[int, str]:
        """E-mail addresses by id."""
        return {user["id"]: user["email"] for user in self._get("api/users/")}

    def project(self, project_id: int) -> dict[str, Any] | None:
        """A project, or None if it does not exist."""
        found = self._get(f"api/projects/{project_id}/", missing=None)
        return None if found is None else dict(found)

    def projects_marked(self, marker: str) -> list[int]:
        """Ids of the projects with a marker in their description, oldest first."""
        found = []
        for page in self._pages("api/projects/", {"include": "id,description"}, "results"):
            found += [item["id"] for item in page if marker in item["description"]]
        return sorted(found)

    def create_project(self, **fields: Any) -> dict[str, Any]:
        """Make a project with these fields of Label Studio's API, and return it."""
        return dict(self._send("POST", "api/projects/", fields, again=False))

    def change_project(self, project_id: int, **fields: Any) -> dict[str, Any]:
        """Set fields of a project, and return it.

        Raises:
            ServiceError: also if Label Studio refuses the fields.
        """
        return dict(self._send("PATCH", f"api/projects/{project_id}/", fields))

    def local_folders(self, project_id: int) -> list[str]:
        """Paths of the local storages that a project reads images from."""
        found = self._get("api/storages/localfiles", {"project": project_id})
        return [str(item["path"]) for item in found]

    def add_local_folder(self, project_id: int, path: str) -> None:
        """Let a project read images below a folder of the server's machine."""
        fields = {"project": project_id, "path": path, "use_blob_urls": True, "title": "labelkit"}
        self._send("POST", "api/storages/localfiles", fields, again=False)

    # Tasks

    def task_facts(self, project_id: int, include: str) -> Iterator[dict[str, Any]]:
        """Some fields of every task of a project, in the order of their ids.

        Args:
            project_id: Label Studio's.
            include: names of the fields, separated by commas.
        """
        query = {"project": project_id, "fields": "task_only", "include": include}
        for page in self._pages("api/tasks/", query, "tasks"):
            yield from page

    def count_tasks(self, project_id: int, ranges: Sequence[tuple[int, int]] = ()) -> int:
        """Number of tasks of a project. It costs little, where listing them reads all they hold.

        Args:
            project_id: Label Studio's.
            ranges: (first, last) ids; only tasks in one of these ranges count, if there are any.
        """
        query = {
            "project": project_id,
            "fields": "task_only",
            "include": "id",
            "page_size": 1,
            "query": view(within(ranges), "or"),
        }
        return int(self._get("api/tasks/", query, "total"))

    def answered_tasks(self, project_id: int) -> set[int]:
        """Ids of the tasks that were answered or skipped."""
        return self._tasks_with(project_id, *numbers([ANSWERED]))

    def drafted_tasks(self, project_id: int) -> set[int]:
        """Ids of the tasks that an annotator began and did not submit."""
        return self._tasks_with(project_id, has_draft(True))

    def predicted_tasks(self, project_id: int, model_version: str) -> set[int]:
        """Ids of the tasks that have a prediction of a model version."""
        return self._tasks_with(project_id, has_predictions_of(model_version))

    def _tasks_with(self, project_id: int, condition: dict[str, Any]) -> set[int]:
        query = {
            "project": project_id,
            "fields": "task_only",
            "include": "id",
            "query": view([condition]),
        }
        return {task["id"] for page in self._pages("api/tasks/", query, "tasks") for task in page}

    def newest_change(self, project_id: int, *conditions: tuple[str, str, int]) -> str | None:
        """`updated_at` of the task that was changed last.

        Args:
            project_id: Label Studio's.
            conditions: (column, operator, number), one of which must hold.

        Returns:
            in the form that sorts, see `changed_tasks`; "" if there is no such task, None if there
            is no such project.
        """
        query = {
            "project": project_id,
            "fields": "task_only",
            "include": "id,updated_at",
            "page_size": 1,
            "query": view(numbers(conditions), "or", "-tasks:updated_at"),
        }
        tasks = self._get("api/tasks/", query, "tasks", missing=None)
        if tasks is None:
            return None
        return _time(tasks[0]["updated_at"]) if tasks else ""

    def changed_tasks(
        self, project_id: int, since: str, *conditions: tuple[str, str, int], before: str = ""
    ) -> Iterator[dict[str, Any]]:
        """Whole tasks that were changed at or after a time, oldest change first.

        People continue to label while this reads. Every page starts from the last change of the
        page before, so that no task slips between two pages; a task can come twice. `updated_at`
        has one form, 2026-01-31T23:59:59.000000Z, in which the later time is the greater string.

        Args:
            project_id: Label Studio's.
            since: `updated_at` in that form; "" for the beginning.
            conditions: further (column, operator, number), all of which must hold.
            before: only tasks that were changed before this time; "" for the end.
        """
        until = [changed_before(before)] if before else []
        since, page = since or "1970-01-01T00:00:00.000000Z", 1
        while True:
            items = [changed_since(since), *until, *numbers(conditions)]
            query = {
                "project": project_id,
                "fields": "all",
                "page": page,
                "page_size": PAGE,
                "query": view(items, "and", "tasks:updated_at"),
            }
            # Past the last page Label Studio answers 404.
            tasks = self._get("api/tasks/", query, "tasks", missing=())
            for task in tasks:
                task["updated_at"] = _time(task["updated_at"])
            yield from tasks
            if len(tasks) < PAGE:
                return
            last = tasks[-1]["updated_at"]
            since, page = (last, 1) if last != since else (since, page + 1)

    def import_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Add tasks with their predictions; a failure is not retried, which might add them twice.

        Returns:
            their ids, in the same order.
        """
        where = f"api/projects/{project_id}/import?return_task_ids=true"
        ids = list(map(int, self._send("POST", where, tasks, "task_ids", again=False)))
        if len(ids) != len(tasks):
            raise ServiceError(f"{self.url} added {len(ids)} of {len(tasks)} tasks.", _AGAIN)
        return ids

    def import_predictions(self, project_id: int, predictions: Sequence[Mapping[str, Any]]) -> None:
        """Add predictions to tasks; a failure is not retried."""
        where = f"api/projects/{project_id}/import/predictions"
        self._send("POST", where, predictions, again=False)

    def change_task(self, task_id: int, **fields: Any) -> None:
        """Set fields of a task; its annotations and drafts stay."""
        self._send("PATCH", f"api/tasks/{task_id}/", fields)

    def delete_untouched(self, project_id: int, task_ids: Sequence[int]) -> None:
        """Delete those of some tasks that are still untouched when the server deletes them."""
        fields = {
            "selectedItems": {"all": False, "included": list(task_ids)},
            "filters": {"conjunction": "and", "items": list(UNTOUCHED)},
            "ordering": [],
        }
        self._send("POST", f"api/dm/actions/?id=delete_tasks&project={project_id}", fields)

    # Requests

    def _pages(self, path: str, query: Mapping[str, Any], of: str) -> Iterator[Any]:
        number = 0
        while True:
            number += 1
            asked = {**query, "page": number, "page_size": LIGHT_PAGE}
            page = self._get(path, asked, of, missing=())
            yield page
            if len(page) < LIGHT_PAGE:
                return

    def _get(
        self, path: str, query: Mapping[str, Any] | None = None, of: str = "", **missing: Any
    ) -> Any:
        """The JSON of an answer, or its part under a name; `missing` for a 404."""
        with self._plain_errors():
            answer = self._transport.request(path, method="GET", params=dict(query or {}))
            if answer.status_code == 404 and missing and "json" in _kind(answer):
                return missing["missing"]
            return self._content(answer, of)

    def _send(
        self, method: str, path: str, fields: Any, of: str = "", *, again: bool = True
    ) -> Any:
        with self._plain_errors():
            answer = self._transport.request(
                path,
                method=method,
                content=json.dumps(fields, allow_nan=False).encode(),
                headers={"Content-Type": "application/json"},
                request_options={"max_retries": 2 if again else 0},
            )
            return self._content(answer, of)

    def _content(self, answer: Any, of: str = "") -> Any:
        """The JSON of an answer, or its part under a name."""
        status, kind = answer.status_code, _kind(answer)
        if status in (401, 403):
            raise ServiceError(
                f"{self.url} refuses the key in LABEL_STUDIO_API_KEY ({status}).",
                f"{_FRESH} Legacy tokens have to be switched on there.",
            )
        if 300 <= status < 400:
            raise ServiceError(
                f"{self.url} redirects to another address ({status}).",
                "Set LABEL_STUDIO_URL to the address that a browser shows after the redirect.",
            )
        if status >= 500:
            raise ServiceError(f"{self.url} failed: {self._detail(answer)}", _AGAIN)
        if "json" not in kind and status != 204:
            raise ServiceError(
                f"{self.url} is not a Label Studio: it answers with {kind or 'nothing'} "
                f"({status}).",
                _ADDRESS,
            )
        if status >= 400:
            raise ServiceError(f"{self.url} refuses: {self._detail(answer)}", _REFUSED)
        content: Any = answer.json() if answer.content else None
        return content[of] if of else content

    def _check_renewal(self, answer: Any) -> None:
        """Check the renewal of a personal access token, where the SDK trusts any answer."""
        if answer.request.url.path.endswith("/api/token/refresh/"):
            answer.read()
            self._content(answer)

    def _detail(self, answer: Any) -> str:
        """The status and a short JSON error; nothing of an HTML page, and never the key."""
        try:
            content = answer.json()
            parts: Iterable[Any] = [content.get("detail"), content.get("validation_errors")]
            detail = " ".join(str(part) for part in parts if part)
        except (ValueError, AttributeError):
            detail = ""
        return f"{answer.status_code} {detail.replace(self._key, '***')[:300]}".rstrip()

    @contextlib.contextmanager
    def _plain_errors(self) -> Iterator[None]:
        """Failures of the transport as our own; their text can hold cookies and whole pages."""
        import httpx

        try:
            yield
        except httpx.TimeoutException:
            raise ServiceError(
                f"{self.url} did not answer within {TIMEOUT_SECONDS:.0f} s.",
                f"Check that Label Studio is running. {_AGAIN}",
            ) from None
        except httpx.ConnectError:
            raise ServiceError(
                f"No server answers at {self.url}.", f"Start it: labelkit studio. {_AGAIN}"
            ) from None
        except httpx.HTTPError as error:
            raise ServiceError(
                f"The connection to {self.url} broke ({type(error).__name__}).", _AGAIN
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ServiceError(
                f"{self.url} does not answer like a Label Studio ({type(error).__name__}).",
                _ADDRESS,
            ) from None


def _kind(answer: Any) -> str:
    return str(answer.headers.get("content-type", ""))


def _time(text: Any) -> str:
    """A time in the only form that Label Studio reads."""
    found = _TIME.fullmatch(str(text))
    if found is None:
        raise ServiceError(f"Label Studio wrote {str(text)[:40]!r}, which is not a time.", _ADDRESS)
    return f"{found[1]}.{(found[2] or '0'):0<6}Z"
