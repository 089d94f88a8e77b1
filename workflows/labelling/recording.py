"""Answers of the labelling page: checked, and recorded once, over nothing that it did not show."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from labelkit.domain.instance import Box, Image, Instance, check_box
from labelkit.domain.pose import ABSENT
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import InputError
from labelkit.project.project import lock_project
from labelkit.store.conflicts import HELD, beside_what_is_known
from labelkit.store.journal import KEYPOINTS, PAGE, SECOND, SKIP, VISIBILITY, Entry, Recorded
from labelkit.store.objects import LOST, NewInstance
from labelkit.workflows.labelling.work import Work
from labelkit.workflows.serving.requests import RequestError

#: What became of a keypoint: left as shown, set by hand, moved after others were set, placed by
#: hand where nothing was shown, taken away, or neither shown nor placed.
ORIGINS = ("untouched", "changed", "followed", "new", "removed", "")

#: Pauses longer than this count as this long.
IDLE_SECONDS = 20

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_COUNTS = ("clicks", "drags", "keys", "undos")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as the page sends it.

    Attributes:
        id: made by the page; an answer that arrives twice has the same one.
        instance: id of the object; "" for one that was drawn on the page.
        drawn: id that the page gave to a drawn object; "" for others.
        image: id of the image that it was drawn in; "" for others.
        kind: "keypoints", "visibility", "skip" or "second".
        content: see `Entry`.
        box: of the object, as it is on the page.
        seen: number of the newest journal entry that was shown, or id of the answer that the page
            gave before.
        age_s: seconds since it was made.
        shown: what the journal keeps beside it.
    """

    id: str
    instance: str
    drawn: str
    image: str
    kind: str
    content: Mapping[str, Any]
    box: Box
    seen: int | str
    age_s: float
    shown: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an answer.

    Attributes:
        instance: id of the object.
        conflict: another label counts until the conflict is settled.
        beside: who answered the same question since it was shown; "" if no one did.
    """

    instance: str
    conflict: bool
    beside: str


class Recording:
    """Records answers in the journal. Threads may share it.

    Args:
        work: that the answers are to.
    """

    def __init__(self, work: Work) -> None:
        self._work, self._lock = work, Lock()
        self._drawn = {
            entry.shown["region"]: entry.instance_id
            for entry in (recorded.entry for recorded in work.store.entries())
            if entry.source == PAGE and "region" in entry.shown
        }

    def record(self, answer: Answer, annotator: str) -> Receipt:
        """Record an answer; one that is in the journal already changes nothing.

        Raises:
            RequestError: if its object is not in the project, or it lies outside the image.
            ProjectError: if another command records answers right now.
        """
        store = self._work.store
        with self._lock, lock_project(self._work.project, "sync"):
            instance = self._instance(answer)
            _check_inside(answer, instance.image)
            history = list(store.history([instance.id]))
            if any(_is(recorded.entry, answer.id) for recorded in history):
                return _receipt(answer, history)
            since = {id(it.entry): it.entry for it in _since(history, answer.seen)}
            moves = answer.kind not in (SKIP, SECOND) and not since
            if moves and not answer.box.is_nearly(instance.box):
                store.move_box(instance.id, answer.box)
                self._work.redraw()
            ours = [it.entry for it in history if it.entry.source == PAGE]
            known = [entry.made_at for entry in ours if id(entry) not in since]
            made_at = datetime.now(UTC) - timedelta(seconds=answer.age_s)
            entry = Entry(
                instance_id=instance.id,
                kind=answer.kind,
                content=answer.content,
                source=PAGE,
                reference=instance.id,
                version=answer.id,
                annotator=annotator,
                # Not before what it knew, however long that was on its way.
                made_at=max([made_at.isoformat(timespec="milliseconds"), *known]),
                lead_time_s=answer.shown["effort"]["attention_s"],
                shown={**answer.shown, "box": list(answer.box)},
            )
            to_record = [entry]
            if answer.kind != SECOND:  # that one neither changes nor contradicts the label
                _, to_record = beside_what_is_known(
                    store, to_record, lambda ours, _: ours in since.values()
                )
            store.record(to_record)
            return _receipt(answer, list(store.history([instance.id])))

    def _instance(self, answer: Answer) -> Instance:
        """The object of an answer; one that was drawn is registered at its first answer."""
        instance = self._work.instance(answer.instance or self._drawn.get(answer.drawn, ""))
        if instance is not None:
            return instance
        known = self._work.store.instances(with_removed=True).get(answer.instance)
        if known is not None and known.box_source == LOST:
            return known  # the newest round does not find it: this answer takes it back
        beside = self._work.of_image.get(answer.image)
        if answer.instance or not beside:
            raise RequestError("The project no longer has this object.", 404)
        image, box = beside[0].image, answer.box
        _check_inside(answer, image)
        (made,) = self._work.store.add_instances([NewInstance(image, box, "human", box.w * box.h)])
        self._drawn[answer.drawn] = made.id
        self._work.redraw()
        return made


def _receipt(answer: Answer, history: Sequence[Recorded]) -> Receipt:
    """What became of a recorded answer, from every entry about its object."""
    place = next(i for i, it in enumerate(history) if _is(it.entry, answer.id))
    after = [it.entry.shown.get(HELD, {}) for it in history[place + 1 :]]
    newer = [
        it.entry for it in _since(history[:place], answer.seen) if it.entry.kind == answer.kind
    ]
    return Receipt(
        history[place].entry.instance_id,
        any(held.get("version") == answer.id for held in after),
        (newer[-1].annotator or newer[-1].source) if newer else "",
    )


def _is(entry: Entry, id_: str) -> bool:
    return entry.source == PAGE and entry.version == id_


def _since(history: Sequence[Recorded], seen: int | str) -> Sequence[Recorded]:
    """The entries that are newer than what the page had seen."""
    if isinstance(seen, int):
        return [recorded for recorded in history if recorded.seq > seen]
    places = [place for place, it in enumerate(history) if _is(it.entry, seen)]
    return history[places[-1] + 1 :] if places else history


def _check_inside(answer: Answer, image: Image) -> None:
    try:
        box = check_box(answer.box, image)
    except InputError as error:
        raise RequestError(error.problem) from None
    if not box.is_nearly(answer.box):
        raise RequestError(f"The box {tuple(answer.box)} is not inside {image.path}.")
    for name, value in answer.content.items() if answer.kind in (KEYPOINTS, SECOND) else ():
        if not (0 <= value[0] <= image.width and 0 <= value[1] <= image.height):
            raise RequestError(f"{name} at {tuple(value[:2])} is outside {image.path}.")


def read_answer(document: Mapping[str, Any], skeleton: Skeleton) -> Answer:
    """An answer from the page's JSON.

    Raises:
        RequestError: if it does not follow the protocol.
    """
    try:
        return _read(document, skeleton)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RequestError(f"The answer is malformed ({error!r:.200}).") from None


def _read(document: Mapping[str, Any], skeleton: Skeleton) -> Answer:
    kind, seen = document["kind"], document["seen"]
    ids = {key: document.get(key, "") for key in ("id", "drawn", "instance", "image")}
    if not all(isinstance(value, str) and len(value) < 64 for value in ids.values()):
        raise ValueError("an id is not a short text")
    if not _ID.fullmatch(ids["id"]) or (ids["drawn"] and not _ID.fullmatch(ids["drawn"])):
        raise ValueError("an id is not a UUID")
    if bool(ids["instance"]) == bool(ids["drawn"]):
        raise ValueError("an answer is about a known or a drawn object")
    if isinstance(seen, bool) or not isinstance(seen, int | str):
        raise ValueError("seen is neither a number nor an id")
    if kind == SKIP:
        content: dict[str, Any] = {}
    elif kind in (VISIBILITY, KEYPOINTS, SECOND):
        read = _tick if kind == VISIBILITY else _place
        # By the names that the page had, which may be those of before an edit of the skeleton.
        content = {name: read(value) for name, value in document["content"].items()}
        is_none = kind == SECOND and not content
        if not is_none and max(skeleton.columns_in(content)) < 0:
            raise ValueError("no keypoint is answered")
    else:
        raise ValueError(f"kind {kind!r}")
    shown = document["shown"]
    origins = {name: shown["origins"].get(name, "") for name in content}
    if not set(origins.values()) <= set(ORIGINS):
        raise ValueError("an origin is unknown")
    effort: dict[str, float] = {name: _bounded(shown["effort"][name], int) for name in _COUNTS}
    effort["attention_s"] = round(_bounded(shown["effort"]["attention_s"], float), 1)
    return Answer(
        id=ids["id"],
        instance=ids["instance"],
        drawn=ids["drawn"],
        image=ids["image"],
        kind=kind,
        content=content,
        box=Box(*(_finite(value) for value in document["box"])),
        seen=seen,
        age_s=_bounded(document["age_s"], float),
        shown={
            "model_version": str(shown["round"])[:32],
            "arm": str(shown["arm"])[:32],
            "origins": {name: what for name, what in origins.items() if what},
            "effort": effort,
            **({"region": ids["drawn"]} if ids["drawn"] else {}),
        },
    )


def _tick(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("a tick is not true or false")
    return value


def _place(value: Any) -> list[float]:
    x, y, v = value
    if v not in (0, 1, 2):
        raise ValueError(f"visibility {v!r}")
    return [0.0, 0.0, ABSENT] if v == ABSENT else [_finite(x), _finite(y), int(v)]


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _bounded(value: Any, kind: type) -> Any:
    return kind(min(max(_finite(value), 0), 1e7))
