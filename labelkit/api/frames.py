"""A project as pandas data frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple
from typing import Any

import numpy as np
import pandas as pd

from labelkit.domain.prediction import Prediction
from labelkit.project.predictions import read_predictions
from labelkit.project.project import Project
from labelkit.project.rounds import latest_complete, rounds
from labelkit.store.journal import KEYPOINTS, VISIBILITY, WITHDRAWN, Entry
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.queue_file import waiting

SPLITS = ("dev", "labelled", "skipped", "answered", "unlabelled")


def keypoints(project: Project, store: LabelStore) -> pd.DataFrame:
    """One row for each keypoint of each instance."""
    labels, names = read_snapshot(project, store), project.skeleton.keypoints
    ids, count = list(labels.instances), len(names)
    predictions: Mapping[str, Prediction] = {}
    if (newest := latest_complete(project)) is not None:
        predictions = read_predictions(newest.path / "predictions.parquet", project.skeleton)
    shape = (len(ids), count)
    xy, predicted_xy = np.full((*shape, 2), np.nan), np.full((*shape, 2), np.nan)
    score, presence = np.full(shape, np.nan), np.full(shape, np.nan)
    visibility, present = np.full(shape, -1), np.full(shape, -1)
    for row, id_ in enumerate(ids):
        if id_ in labels.presences:
            present[row] = labels.presences[id_]
        if id_ in labels.poses:
            pose = labels.poses[id_]
            xy[row] = np.where(pose.present[:, None], pose.xy, np.nan)
            visibility[row] = pose.visibility
        if id_ in predictions:
            found = predictions[id_]
            predicted_xy[row] = found.xy
            score[row] = np.where(found.pose.known, found.pose.score, np.nan)
            presence[row] = found.presence
    counting = _counting_entries(store)

    def repeated(value: Callable[[str], Any]) -> np.ndarray:
        return np.repeat(np.array([value(id_) for id_ in ids], dtype=object), count)

    def of_entry(attribute: str) -> np.ndarray:
        return repeated(lambda id_: getattr(counting.get(id_), attribute, ""))

    return pd.DataFrame(
        {
            "image": repeated(lambda id_: labels.instances[id_].image.path),
            "instance": repeated(str),
            "category": repeated(lambda id_: labels.instances[id_].category),
            "individual": repeated(lambda id_: labels.instances[id_].individual),
            "keypoint": pd.Categorical([*names] * len(ids), names),
            "x": xy[..., 0].ravel(),
            "y": xy[..., 1].ravel(),
            "visibility": _nullable(visibility),
            "present": _nullable(present).astype("boolean"),
            "annotator": of_entry("annotator"),
            "made_at": _times(of_entry("made_at")),
            "source": of_entry("source"),
            "split": pd.Categorical(repeated(lambda id_: _split(id_, labels)), SPLITS),
            "predicted_x": predicted_xy[..., 0].ravel(),
            "predicted_y": predicted_xy[..., 1].ravel(),
            "predicted_score": score.ravel(),
            "predicted_presence": presence.ravel(),
        }
    )


def answers(project: Project, store: LabelStore) -> pd.DataFrame:
    """One row for each entry of the journal, oldest first."""
    known = store.instances(with_removed=True)
    paths = {id_: instance.image.path for id_, instance in known.items()}
    rows = [
        (
            seq,
            paths[entry.instance_id],
            entry.instance_id,
            entry.kind,
            entry.content,
            entry.annotator,
            entry.made_at,
            recorded_at,
            entry.lead_time_s,
            entry.source,
            entry.reference,
            entry.version,
            entry.shown,
        )
        for seq, recorded_at, entry in store.entries()
    ]
    columns = "seq image instance kind content annotator made_at recorded_at lead_time_s source"
    frame = pd.DataFrame(rows, columns=[*columns.split(), "reference", "version", "shown"])
    return frame.assign(
        made_at=_times(frame["made_at"]),
        recorded_at=_times(frame["recorded_at"]),
    ).astype({"seq": int, "lead_time_s": float})


def history(project: Project, store: LabelStore) -> pd.DataFrame:
    """One row for each round, in the order in which they began."""
    rows = [
        {
            "round": item.plan.number,
            "kind": item.plan.kind,
            "status": item.status,
            "labelled": len(item.plan.labelled),
            "labelled_share": item.plan.labelled_share,
            "started_at": item.started_at,
            "finished_at": item.finished_at,
            "seed": item.plan.seed,
            **{key: value for key, value in item.plan.settings.items() if key != "skeleton"},
            **{f"dev_{name}": value for name, value in item.facts.get("dev", {}).items()},
        }
        for item in rounds(project)
    ]
    columns = ["round", "kind", "status", "labelled", "labelled_share", "started_at", "finished_at"]
    frame = pd.DataFrame(rows, columns=None if rows else columns)
    return frame.assign(
        started_at=_times(frame["started_at"]), finished_at=_times(frame["finished_at"])
    )


def queue(project: Project, store: LabelStore) -> pd.DataFrame:
    """One row for each instance that waits for correction, the next one first."""
    labels = read_snapshot(project, store)
    rows = [
        (labels.instances[item.instance_id].image.path, *astuple(item))
        for item in waiting(project, labels)
    ]
    return pd.DataFrame(rows, columns=["image", "instance", "reason", "control"]).astype(
        {"control": bool}
    )


FRAMES = {"keypoints": keypoints, "answers": answers, "history": history, "queue": queue}


def _counting_entries(store: LabelStore) -> dict[str, Entry]:
    """The entry that each label comes from: keypoints, or else a visibility answer."""
    found: dict[str, Entry] = {}
    for kinds in ((VISIBILITY, KEYPOINTS, WITHDRAWN), (KEYPOINTS, WITHDRAWN)):
        found |= {e.instance_id: e for e in store.latest(kinds) if e.kind != WITHDRAWN}
    return found


def _split(id_: str, labels: LabelSnapshot) -> str:
    if id_ in labels.dev:
        return "dev"
    if id_ in labels.poses:
        return "labelled"
    if id_ in labels.skipped:
        return "skipped"
    return "answered" if id_ in labels.presences else "unlabelled"


def _nullable(codes: np.ndarray) -> pd.Series:
    """Codes of any shape in one column, missing where they are negative."""
    return pd.Series(codes.ravel(), dtype="Int8").where(codes.ravel() >= 0)


def _times(texts: Any) -> Any:
    """ISO 8601 texts as UTC times; NaT where there is none."""
    return pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
