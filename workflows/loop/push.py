"""`labelkit push`: the queue and its pre-annotations to Label Studio, or to files for it."""

from __future__ import annotations

from labelkit.bridges.label_studio.api import connect
from labelkit.progress import Progress
from labelkit.project.project import Project, lock_project
from labelkit.store.label_store import LabelStore
from labelkit.workflows.sync.push_files import FilePushReport, push_files
from labelkit.workflows.sync.push_server import ServerPushReport, push_server


def push(
    project: Project,
    store: LabelStore,
    progress: Progress,
    *,
    files: bool = False,
    per_instance: bool | None = None,
    image_url: str | None = None,
    dry_run: bool = False,
) -> FilePushReport | ServerPushReport:
    """Send the next questions to Label Studio.

    The server is the one in LABEL_STUDIO_URL, with the key in LABEL_STUDIO_API_KEY.

    Args:
        project: see `open_project`.
        store: its label store.
        progress: shows bars.
        files: write import files instead, for a server that labelkit cannot reach.
        per_instance: what a task shows, see `Questions`; remembered. None for the earlier choice.
        image_url: where the server finds the images folder; kept for the next push.
        dry_run: only report what would be sent.

    Raises:
        ServiceError: if the server cannot be used.
        ProjectError: if another push or pull of the project is running.
    """
    if files:
        return push_files(project, store, per_instance=per_instance, dry_run=dry_run)
    with lock_project(project, "sync"), connect() as api:
        return push_server(
            project,
            store,
            api,
            progress,
            per_instance=per_instance,
            base=image_url,
            dry_run=dry_run,
        )
