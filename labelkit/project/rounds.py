"""Rounds: a training, or the predictions of a file, in a folder that never changes afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labelkit.errors import ProjectError, UsageError
from labelkit.files.atomic import write_json
from labelkit.project.project import Project

#: The kind of a round without a network: its predictions came from another model.
FOREIGN = "foreign"
#: The kind of a round whose network reads whole images, and finds the objects in them.
DETECTOR_FREE = "detector-free"
KINDS = ("location-free", "semi-weak", FOREIGN, DETECTOR_FREE)
TRAINING, COMPLETE, ABANDONED = "training", "complete", "abandoned"

#: Files of a round's folder that this module writes; workflows write the others.
ROUND_FILE, LABELLED_FILE = "round.json", "labelled.json"


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """Everything that determines a round.

    Attributes:
        number: 0, 1, ... in the order in which rounds began.
        kind: "location-free", "semi-weak", "foreign" or "detector-free".
        labelled: ids of the instances whose locations are trained on, in nested order: a smaller
            set is a prefix. Of a foreign round, those that its adapter was learned from.
        labelled_share: of the project's instances, 0 ... 1.
        journal_head: number of the newest journal entry that is used; later ones wait for the
            next round.
        settings: preset, backbone, steps, ...; JSON values. Of a foreign round: "name", "file" and
            "keypoints", the names in the file. Of a detector-free one also "model".
        seed: of the training.
    """

    number: int
    kind: str
    labelled: tuple[str, ...]
    labelled_share: float
    journal_head: int
    settings: Mapping[str, Any]
    seed: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ProjectError(f"A round is {' or '.join(KINDS)}, not {self.kind!r}.")

    @property
    def is_foreign(self) -> bool:
        """Whether its predictions came from another model: it has no network and no maps."""
        return self.kind == FOREIGN

    @property
    def finds_objects(self) -> bool:
        """Whether its network reads whole images: it has no response maps."""
        return self.kind == DETECTOR_FREE

    @property
    def reads_boxes(self) -> bool:
        """Whether it has a network that predicts objects in given boxes, and response maps."""
        return not (self.is_foreign or self.finds_objects)

    @property
    def labelled_hash(self) -> str:
        """SHA-256 of the labelled ids, in their order."""
        return hashlib.sha256("\n".join(self.labelled).encode()).hexdigest()

    @property
    def fingerprint(self) -> str:
        """First 8 hex digits of a SHA-256 of the whole plan."""
        document = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(document.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Round:
    """A round on disk.

    Attributes:
        path: its folder.
        plan: of its training.
        status: "training", "complete", or "abandoned".
        started_at, finished_at: ISO 8601; the latter is "" while training.
        facts: its results (scores, counts, durations); empty while training.
    """

    path: Path
    plan: RoundPlan
    status: str
    started_at: str
    finished_at: str
    facts: Mapping[str, Any]


def next_round_number(project: Project) -> int:
    """The number of the next round."""
    return max((found.plan.number for found in rounds(project)), default=-1) + 1


def begin_round(project: Project, plan: RoundPlan) -> Path:
    """Lock the labelled instances of a round and make its folder.

    The unfinished round of the same plan continues.

    Returns:
        the folder, for checkpoint, predictions and maps.

    Raises:
        ProjectError: if a different round is unfinished, or the number is not the next one.
    """
    open_round = unfinished(project)
    if open_round is not None:
        if _same(open_round.plan, plan):
            return open_round.path
        raise _not_finished(project, open_round)
    if plan.number != next_round_number(project):
        raise ProjectError(
            f"The next round of {project.root} is {next_round_number(project):03d}, "
            f"not {plan.number:03d}."
        )
    path = project.rounds_root / f"{plan.number:03d}"
    # Last: the second file makes the folder a round, so a kill before it leaves none.
    _lock(path, plan)
    write_json(path / ROUND_FILE, _document(plan, TRAINING, _now(), "", {}))
    return path


def add_round(
    project: Project, plan: RoundPlan, facts: Mapping[str, Any], fill: Callable[[Path], object]
) -> Round:
    """Add a round that needs no training: it is complete at once, and a kill leaves none.

    Args:
        project: that gets it.
        plan: of the round, with the next number.
        facts: see `Round`.
        fill: writes its files into a folder.

    Raises:
        ProjectError: if a round is unfinished.
    """
    if (begun := unfinished(project)) is not None:
        raise _not_finished(project, begun)
    new, path = project.rounds_root / ".new", project.rounds_root / f"{plan.number:03d}"
    shutil.rmtree(new, ignore_errors=True)  # left by a kill
    _lock(new, plan)
    fill(new)
    write_json(new / ROUND_FILE, _document(plan, COMPLETE, _now(), _now(), facts))
    new.rename(path)
    return read_round(path)


def finish_round(path: Path, facts: Mapping[str, Any]) -> Round:
    """Record the results of a round, which never changes afterwards.

    Raises:
        ProjectError: if it is finished or abandoned already.
    """
    return _close(path, COMPLETE, facts)


def abandon_round(path: Path, reason: str) -> Round:
    """Give up an unfinished round, so that another can begin; its labels are unlocked.

    Raises:
        ProjectError: if it is finished or abandoned already.
    """
    return _close(path, ABANDONED, {"reason": reason})


def take_back_round(path: Path) -> None:
    """Undo `begin_round` where the training could not begin: the number is free again."""
    # First the file that makes it a round, so that a kill after this line leaves none.
    (path / ROUND_FILE).unlink()
    (path / LABELLED_FILE).unlink()
    with contextlib.suppress(OSError):  # the user keeps something there
        path.rmdir()


def rounds(project: Project) -> list[Round]:
    """Every round that began, by number.

    Raises:
        ProjectError: if a round's files are damaged.
    """
    files = project.rounds_root.glob(f"*/{ROUND_FILE}")
    found = [read_round(file.parent) for file in files if file.parent.name.isdecimal()]
    return sorted(found, key=lambda item: item.plan.number)


def unfinished(project: Project) -> Round | None:
    """The round that is training, or was training when its command was killed."""
    return next((item for item in rounds(project) if item.status == TRAINING), None)


def latest_complete(project: Project) -> Round | None:
    """The newest round with predictions."""
    complete = [item for item in rounds(project) if item.status == COMPLETE]
    return complete[-1] if complete else None


def latest_trained(project: Project) -> Round | None:
    """The newest round with a network and predictions."""
    complete = [item for item in rounds(project) if item.status == COMPLETE]
    trained = [item for item in complete if not item.plan.is_foreign]
    return trained[-1] if trained else None


def trained_round(project: Project, number: int | None) -> Round:
    """A round with a network and predictions; None takes the newest.

    Raises:
        ProjectError: if no round has a network.
        UsageError: if there is no such complete round, or it has no network.
    """
    newest = latest_trained(project)
    if number is None and newest is not None:
        return newest
    found = complete_round(project, number)
    if not found.plan.is_foreign:
        return found
    problem = f"{in_words(found)} has no network: its predictions came from a file."
    if newest is None:
        raise ProjectError(problem, "Train one: labelkit retrain")
    raise UsageError(problem, f"The newest round with one is {newest.plan.number}.")


def in_words(found: Round) -> str:
    """How a round is called: "Round 003", and whose predictions it holds."""
    settings = found.plan.settings
    source = f" (predictions of {settings['name']})" if found.plan.is_foreign else ""
    if found.plan.finds_objects:
        source = f" ({settings['model']})"
    return f"Round {found.plan.number:03d}{source}"


def complete_round(project: Project, number: int | None) -> Round:
    """A round with predictions; None takes the newest.

    Raises:
        ProjectError: if no round is complete.
        UsageError: if there is no such complete round.
    """
    complete = {item.plan.number: item for item in rounds(project) if item.status == COMPLETE}
    if not complete:
        raise ProjectError(
            f"No round of {project.root} is complete: there are no predictions yet.",
            "See what comes first: labelkit status",
        )
    if number is not None and number not in complete:
        numbers = ", ".join(map(str, complete))
        raise UsageError(f"There is no complete round {number}.", f"Rounds: {numbers}.")
    return complete[max(complete) if number is None else number]


def locked_labelled(project: Project) -> list[str]:
    """Ids of the instances that rounds trained on, in nested order, without abandoned rounds.

    A labelled set of any size that starts with these is nested with all earlier ones.
    """
    return _nested(
        item.plan.labelled
        for item in rounds(project)
        if item.status != ABANDONED and not item.plan.is_foreign
    )


def read_from(training: Mapping[str, Any]) -> str:
    """Which maps a network's keypoints are read from: "heatmaps" or "response".

    Args:
        training: the record of a training, as a round's facts and the header of its weights have
            it. Those until 2026-11-28 do not say.
    """
    return str(training.get("read_from", "heatmaps" if training.get("located") else "response"))


def read_round(path: Path) -> Round:
    """Read a round's folder.

    Raises:
        ProjectError: if it is not a round, is damaged, or its locked list was changed.
    """
    try:
        document = json.loads((path / ROUND_FILE).read_text(encoding="utf-8"))
        labelled = json.loads((path / LABELLED_FILE).read_text(encoding="utf-8"))
        plan = RoundPlan(
            number=document["number"],
            kind=document["kind"],
            labelled=tuple(labelled["instances"]),
            labelled_share=document["labelled_share"],
            journal_head=document["journal_head"],
            settings=document["settings"],
            seed=document["seed"],
        )
        found = Round(
            path=path,
            plan=plan,
            status=document["status"],
            started_at=document["started_at"],
            finished_at=document["finished_at"],
            facts=document["facts"],
        )
        expected = document["labelled_hash"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProjectError(
            f"The round {path} is damaged ({type(error).__name__}: {error}).",
            "Restore its round.json and labelled.json from a backup, or move the folder away.",
        ) from error
    if not expected == labelled.get("hash") == plan.labelled_hash:
        raise ProjectError(
            f"{path / LABELLED_FILE} differs from the list that was locked when the round began.",
            "Restore it from a backup, or move the round's folder away.",
        )
    return found


def _lock(path: Path, plan: RoundPlan) -> None:
    """Write down which instances a round learns from."""
    locked = {"seed": plan.seed, "hash": plan.labelled_hash, "instances": list(plan.labelled)}
    write_json(path / LABELLED_FILE, locked)


def _not_finished(project: Project, begun: Round) -> ProjectError:
    return ProjectError(
        f"Round {begun.plan.number:03d} of {project.root} is not finished.",
        "Run the command that began it again; it continues where it stopped.",
    )


def _same(one: RoundPlan, other: RoundPlan) -> bool:
    """Equal as JSON, where a tuple of the settings is a list."""
    first, second = (json.dumps(_document(plan, "", "", "", {})) for plan in (one, other))
    return json.loads(first) == json.loads(second)


def _close(path: Path, status: str, facts: Mapping[str, Any]) -> Round:
    current = read_round(path)
    if current.status != TRAINING:
        raise ProjectError(
            f"Round {current.plan.number:03d} is {current.status} and can no longer change.",
            "Begin a new round with: labelkit retrain",
        )
    document = _document(current.plan, status, current.started_at, _now(), facts)
    write_json(path / ROUND_FILE, document)
    return read_round(path)


def _document(
    plan: RoundPlan, status: str, started_at: str, finished_at: str, facts: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "number": plan.number,
        "kind": plan.kind,
        "status": status,
        "started_at": started_at,
        "finished_at": finished_at,
        "labelled_count": len(plan.labelled),
        "labelled_share": plan.labelled_share,
        "labelled_hash": plan.labelled_hash,
        "journal_head": plan.journal_head,
        "seed": plan.seed,
        "settings": dict(plan.settings),
        "facts": dict(facts),
    }


def _nested(lists: Iterable[tuple[str, ...]]) -> list[str]:
    """Every id once, in the order of first appearance."""
    return list(dict.fromkeys(id_ for ids in lists for id_ in ids))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
