"""labelkit's operators in the FiftyOne App; FiftyOne imports this file as a plugin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from labelkit.bridges.fiftyone.dataset import INFO, instances_of
from labelkit.errors import LabelkitError, UsageError


def _project_root(context: Any) -> Path:
    root = context.dataset.info.get(INFO, {}).get("project")
    if not root:
        raise UsageError(
            f"The dataset {context.dataset.name!r} does not belong to a labelkit project.",
            "Make one with: labelkit review",
        )
    return Path(root)


def _chosen(context: Any) -> list[str]:
    """The selected instances; never all of a view, which the App may have left with the click."""
    labels = [row["label_id"] for row in context.selected_labels or ()]
    return instances_of(context.dataset, list(context.selected or ()), labels)


def _selection_form(context: Any, label: str, what: str) -> Any:
    inputs = types.Object()
    if count := len(_chosen(context)):
        inputs.view("what", types.Notice(label=f"{count} instances {what}"))
    else:
        warning = types.Warning(
            label="Select samples or boxes first. To choose a whole view, tag it."
        )
        inputs.view("what", warning, invalid=True)
    return types.Property(inputs, view=types.View(label=label))


def _counts(keys: dict[str, str]) -> Any:
    outputs = types.Object()
    for key, label in keys.items():
        outputs.int(key, label=label)
    return types.Property(outputs, view=types.View(label="Done"))


def _labelkit(context: Any, *arguments: str) -> dict[str, Any]:
    """Run a labelkit command on the dataset's project, and return its report.

    It runs in its own process: it may load PyTorch, and its end does not affect the App.
    """
    code = "from labelkit.cli.app import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    command += ["--project", str(_project_root(context)), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):  # 3: people have to label first; not a failure
        raise LabelkitError((done.stderr or done.stdout).strip()[-2000:])
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _decide(context: Any, *, exclude: bool) -> dict[str, int]:
    from labelkit.project.project import lock_project, open_project
    from labelkit.store.ownership import open_store
    from labelkit.workflows.review_and_label.queue import decide

    project = open_project(_project_root(context))
    with lock_project(project), open_store(project) as store:
        report = decide(project, store, _chosen(context), exclude=exclude)
    context.ops.reload_dataset()
    return {
        "first": report.chosen,
        "labelled": report.labelled,
        "excluded": report.excluded,
        "queued": report.queued,
    }


class QueueForLabelling(foo.Operator):
    """Put the selected instances first in the queue."""

    @property
    def config(self) -> Any:
        """The entry in the App's list of operators."""
        return foo.OperatorConfig(
            name="queue_for_labelling",
            label="labelkit: Queue for labelling",
            description="Send the selected instances to the annotators next",
            icon="playlist_add",
            dynamic=True,
        )

    def resolve_input(self, ctx: Any) -> Any:
        """What will happen."""
        return _selection_form(ctx, "Queue for labelling", "go to the front of the queue.")

    def execute(self, ctx: Any) -> dict[str, int]:
        """Tag them, and put them first in the project's queue; returns counts."""
        return _decide(ctx, exclude=False)

    def resolve_output(self, ctx: Any) -> Any:
        """Counts."""
        labelled = "Of these, already labelled and not sent again"
        return _counts(
            {"first": "Chosen to come first", "labelled": labelled, "queued": "In the queue"}
        )


class Exclude(foo.Operator):
    """Keep the selected instances out of the queue."""

    @property
    def config(self) -> Any:
        """The entry in the App's list of operators."""
        return foo.OperatorConfig(
            name="exclude",
            label="labelkit: Exclude",
            description="Never send the selected instances to the annotators",
            icon="block",
            dynamic=True,
        )

    def resolve_input(self, ctx: Any) -> Any:
        """What will happen."""
        return _selection_form(ctx, "Exclude", "leave the queue permanently.")

    def execute(self, ctx: Any) -> dict[str, int]:
        """Tag them, and remove them from the project's queue; returns counts."""
        return _decide(ctx, exclude=True)

    def resolve_output(self, ctx: Any) -> Any:
        """Counts."""
        return _counts({"excluded": "Excluded", "queued": "In the queue"})


class Retrain(foo.Operator):
    """Train the next round, in FiftyOne's background service or at once."""

    @property
    def config(self) -> Any:
        """The entry in the App's list of operators."""
        return foo.OperatorConfig(
            name="retrain",
            label="labelkit: Retrain",
            description="Train the next round and pre-annotate again",
            icon="model_training",
            allow_delegated_execution=True,
            allow_immediate_execution=True,
            default_choice_to_delegated=True,
        )

    def resolve_input(self, ctx: Any) -> Any:
        """The labelled percentage, and whether to wait for it."""
        inputs = types.Object()
        inputs.str("labeled", label="Labelled percentage", default="10%", required=True)
        inputs.bool("now", label="Train now, even if fewer are labelled", default=False)
        return types.Property(inputs, view=types.View(label="Retrain"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Run `labelkit retrain`; returns its report."""
        arguments = ["--labeled", str(ctx.params["labeled"])]
        if ctx.params.get("now"):
            arguments.append("--now")
        return _labelkit(ctx, "retrain", *arguments)

    def resolve_output(self, ctx: Any) -> Any:
        """Counts."""
        keys = {"round": "Round", "labelled": "Labelled", "missing": "Missing", "queued": "Queued"}
        return _counts(keys)


class Push(foo.Operator):
    """Send the queue to the annotators."""

    @property
    def config(self) -> Any:
        """The entry in the App's list of operators."""
        return foo.OperatorConfig(
            name="push",
            label="labelkit: Push to Label Studio",
            description="Send the queue to Label Studio (as files if no server is set)",
            icon="upload",
        )

    def resolve_input(self, ctx: Any) -> Any:
        """What will happen."""
        inputs = types.Object()
        server = os.environ.get("LABEL_STUDIO_URL")
        where = server or "import files (LABEL_STUDIO_URL is not set)"
        inputs.view("what", types.Notice(label=f"The queue goes to {where}"))
        return types.Property(inputs, view=types.View(label="Push to Label Studio"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Run `labelkit push`; returns its report."""
        to_server = bool(os.environ.get("LABEL_STUDIO_URL"))
        return _labelkit(ctx, "push", *(() if to_server else ("--files",)))

    def resolve_output(self, ctx: Any) -> Any:
        """Counts."""
        return _counts({"tasks": "Tasks", "instances": "Instances", "control": "Control arm"})


def register(plugin: Any) -> None:
    """Register the operators; FiftyOne calls this."""
    for operator in (QueueForLabelling, Exclude, Retrain, Push):
        plugin.register(operator)
