"""What the page gets to ask about one object: what it shows, and what is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from labelkit.domain.pose import ABSENT, UNKNOWN, Pose
from labelkit.domain.selection import QueueItem
from labelkit.project.preannotation import pre_annotation
from labelkit.store.journal import KEYPOINTS, SECOND, TELLING, WITHDRAWN, pose_of, presence_of
from labelkit.workflows.labelling.pictures import close_up
from labelkit.workflows.labelling.work import Work
from labelkit.workflows.reviewing.items import read_suspicious

#: What annotators are shown, as the journal names it: nothing because the object is in the control
#: arm, nothing because there is no prediction, a prediction, or the label that counts, with
#: predictions of keypoints that it leaves unknown. `SECOND` is nothing as well, whatever is known.
CONTROL, NOTHING, PREDICTION, LABEL = "control", "nothing", "prediction", "label"


def question(work: Work, item: QueueItem) -> dict[str, Any]:
    """The question about an object, as JSON values.

    Args:
        work: that lent it.
        item: of the queue.

    Returns:
        `points`: K times [x, y, v, confidence 0 ... 1], or null without a location; `ticks`: K
        times whether it is present, or null; `seen`: number of the newest journal entry about it;
        `note`: what is probably wrong with the label, "" if nothing is.
    """
    id_ = item.instance_id
    instance = work.instances[id_]
    skeleton, image = work.project.skeleton, instance.image
    history = list(work.store.history([id_]))
    is_second = item.reason == SECOND
    entries = [] if is_second else [recorded.entry for recorded in history]
    label = pose_of([it for it in entries if it.kind in (KEYPOINTS, WITHDRAWN)], skeleton)
    answer = presence_of([it for it in entries if it.kind in TELLING], skeleton)
    prediction = None if item.control else work.prediction(id_)
    predicted = None if prediction is None else pre_annotation(prediction, answer, image)
    pose, arm = predicted, NOTHING if predicted is None else PREDICTION
    if label.known.any():
        pose, arm = label if predicted is None else label.completed(predicted), LABEL
    elif is_second:
        arm = SECOND
    elif item.control and work.round and work.mode == "keypoints":
        arm = CONTROL
    known = (answer > UNKNOWN).any()
    present = answer if known or pose is None else pose.visibility
    ticks = [None if code == UNKNOWN else bool(code > ABSENT) for code in present.tolist()]
    part = close_up(instance)
    others = [other for other in work.of_image[image.id] if other.id != id_]
    return {
        "instance": id_,
        "image": {"id": image.id, "path": image.path, "width": image.width, "height": image.height},
        "part": None if part is None else list(map(int, part)),
        "box": list(instance.box),
        "category": instance.category,
        "individual": instance.individual,
        "others": [list(other.box) for other in others],
        "reason": item.reason,
        "note": "; ".join(() if is_second else read_suspicious(work.project).get(id_, ())),
        "arm": arm,
        "round": "" if predicted is None or label.known.all() else work.round,
        "points": [None] * len(skeleton) if pose is None else _points(pose),
        "ticks": ticks,
        "seen": history[-1].seq if history else 0,
    }


def _points(pose: Pose) -> list[list[float] | None]:
    """K times [x, y, v, confidence]; null where a person has to place it or call it absent."""
    rows = np.column_stack([pose.xy, pose.visibility, pose.score]).round(4).tolist()
    return [row if row[2] > UNKNOWN else None for row in rows]
