"""`labelkit pull`: answers and corrections from Label Studio into the journal."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

from labelkit.bridges.label_studio.api import connect
from labelkit.errors import LabelkitError, ProjectError, UsageError
from labelkit.progress import Progress
from labelkit.project.project import Project, lock_project
from labelkit.store.conflicts import OURS, THEIRS, settle
from labelkit.store.label_store import LabelStore
from labelkit.workflows.loop.predictions import learn_adapter_again
from labelkit.workflows.reviewing.suspects import find_new_suspects
from labelkit.workflows.rounds.image_files import ImageFiles
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.next_step import next_step
from labelkit.workflows.sync.pull_file import pull_file
from labelkit.workflows.sync.pull_report import PullReport
from labelkit.workflows.sync.pull_server import pull_server


def pull(
    project: Project,
    store: LabelStore,
    progress: Progress,
    *,
    file: Path | None = None,
    take: str | None = None,
) -> PullReport:
    """Record what people did since the last pull. Each answer is recorded once, none replaced.

    Where another model's predictions are corrected, their adapter is learned again from it. Says
    how many of the labels that came in are probably wrong, see `find_new_suspects`.

    Args:
        project: see `open_project`.
        store: its label store.
        progress: shows bars.
        file: a JSON export; None reads from the server in LABEL_STUDIO_URL.
        take: "theirs" or "ours" also settles every conflict. Without a file and LABEL_STUDIO_URL
            it only does that.

    Raises:
        ServiceError: if the server cannot be used.
        ProjectError: if another push or pull of the project is running.
        UsageError: if `take` is neither of the two.
    """
    if take not in (None, THEIRS, OURS):
        raise UsageError(
            f"--take {take}: expected theirs or ours.",
            "--take theirs: the label that came in. --take ours: the label that counts now. "
            "See both: labelkit status",
        )
    with lock_project(project, "sync"):
        before = store.head()
        if file is not None:
            report = pull_file(project, store, file)
        elif take is None or os.environ.get("LABEL_STUDIO_URL"):
            with connect() as api:
                report = pull_server(project, store, api, progress)
        else:
            report = PullReport()
        if take is not None:
            report.settled += settle(store, take)
        if report.poses:
            with suppress(ProjectError), lock_project(project):  # a training may be at work
                if learned := learn_adapter_again(project, store):
                    report.notes.append(learned)
        if report.added:
            with suppress(LabelkitError):  # the labels are recorded, whatever else is wrong
                suspects = find_new_suspects(project, store, before).suspects
                report.suspicions = Counter(item.kind for item in suspects)
        files = ImageFiles(project, store)
        report.next_step = next_step(project, store, read_snapshot(project, store), files)
    return report
