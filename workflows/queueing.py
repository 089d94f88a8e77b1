"""What people should correct next, kept until the next round says otherwise."""

from __future__ import annotations

import json
from collections.abc import Mapping

from labelkit.atomic import write_json
from labelkit.errors import ProjectError
from labelkit.predictions import Prediction
from labelkit.project import Project
from labelkit.selection import QueueItem, labelled_count, queue
from labelkit.workflows.run_round import Labels

#: Share of the queue that is served without pre-annotation, to measure what those save.
CONTROL_SHARE = 0.1
QUEUE_FILE = "queue.json"


def fill_queue(
    project: Project, labels: Labels, predictions: Mapping[str, Prediction], percent: float
) -> tuple[QueueItem, ...]:
    """Queue the dev set and then the least sure instances, up to a labelled percentage.

    Args:
        project: where the queue is kept.
        labels: what is labelled already.
        predictions: of the newest round, by instance id; may be empty.
        percent: labelled percentage that the queue should lead to.
    """
    missing = labelled_count(len(labels.instances), percent) - len(labels.trainable)
    dev_waiting = sum(item not in labels.poses for item in labels.dev)
    items = queue(
        labels.instances,
        done=labels.poses.keys(),
        dev=labels.dev,
        scores={item: prediction.score for item, prediction in predictions.items()},
        seed=project.seed,
        control_share=CONTROL_SHARE,
        limit=dev_waiting + max(missing, 0),
    )
    rows = [{"instance": i.instance_id, "reason": i.reason, "control": i.control} for i in items]
    write_json(project.root / QUEUE_FILE, {"items": rows})
    return items


def read_queue(project: Project) -> tuple[QueueItem, ...]:
    """The queue as it was last filled; empty before the first round.

    Raises:
        ProjectError: if its file is damaged.
    """
    path = project.root / QUEUE_FILE
    if not path.exists():
        return ()
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["items"]
        return tuple(QueueItem(r["instance"], r["reason"], r["control"]) for r in rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProjectError(
            f"{path} is damaged ({error}).", "Delete it; the next retrain fills it again."
        ) from error
