"""labelkit: keypoint labels for a fraction of the clicks.

    import labelkit as lk

    project = lk.bootstrap("frames", skeleton="lsp14", boxes="whole-image")
    project.push()
    project.pull()
    project.retrain("10%")
    for prediction in project.predictions():
        ...
    project.to_dataframe()

What is slow to import is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from labelkit.errors import (
    CheckpointError,
    FormatError,
    ImageError,
    InputError,
    LabelkitError,
    MissingDependencyError,
    ProjectError,
    ServiceError,
    SkeletonError,
    StoreError,
    UsageError,
    WaitingForLabels,
)
from labelkit.progress import Console, Progress, Silent
from labelkit.report import Report

if TYPE_CHECKING:
    from labelkit.api.predictions import Prediction
    from labelkit.api.project import Project, bootstrap, open
    from labelkit.domain.instance import Box, Image, Instance
    from labelkit.domain.pose import Pose
    from labelkit.domain.skeleton import Skeleton
    from labelkit.project.response_maps import ResponseMaps
    from labelkit.workflows.loop.bootstrap import BootstrapReport
    from labelkit.workflows.loop.export import ExportReport
    from labelkit.workflows.loop.predict import FoundReport
    from labelkit.workflows.loop.predictions import PredictionsReport
    from labelkit.workflows.loop.retrain import RoundReport
    from labelkit.workflows.loop.status import StatusReport
    from labelkit.workflows.measure.evaluate import EvaluateReport
    from labelkit.workflows.measure.referee import RefereeReport
    from labelkit.workflows.measure.report import LedgerReport
    from labelkit.workflows.review_and_label.check import CheckReport
    from labelkit.workflows.review_and_label.queue import QueueReport
    from labelkit.workflows.reviewing.page import PageReport
    from labelkit.workflows.reviewing.report import ReviewReport
    from labelkit.workflows.sync.pull_report import PullReport
    from labelkit.workflows.sync.push_files import FilePushReport
    from labelkit.workflows.sync.push_server import ServerPushReport
    from labelkit.workflows.upkeep.images import ImagesReport
    from labelkit.workflows.upkeep.labels import LabelsReport
    from labelkit.workflows.upkeep.skeleton import SkeletonReport

__version__ = "0.1.0"

__all__ = [
    "BootstrapReport",
    "Box",
    "CheckReport",
    "CheckpointError",
    "Console",
    "EvaluateReport",
    "ExportReport",
    "FilePushReport",
    "FormatError",
    "FoundReport",
    "Image",
    "ImageError",
    "ImagesReport",
    "InputError",
    "Instance",
    "LabelkitError",
    "LabelsReport",
    "LedgerReport",
    "MissingDependencyError",
    "PageReport",
    "Pose",
    "Prediction",
    "PredictionsReport",
    "Progress",
    "Project",
    "ProjectError",
    "PullReport",
    "QueueReport",
    "RefereeReport",
    "Report",
    "ResponseMaps",
    "ReviewReport",
    "RoundReport",
    "ServerPushReport",
    "ServiceError",
    "Silent",
    "Skeleton",
    "SkeletonError",
    "SkeletonReport",
    "StatusReport",
    "StoreError",
    "UsageError",
    "WaitingForLabels",
    "bootstrap",
    "open",
]

#: Where the names are that are imported when they are first used.
_LAZY = {
    "Prediction": "labelkit.api.predictions",
    "Project": "labelkit.api.project",
    "bootstrap": "labelkit.api.project",
    "open": "labelkit.api.project",
    "Box": "labelkit.domain.instance",
    "Image": "labelkit.domain.instance",
    "Instance": "labelkit.domain.instance",
    "Pose": "labelkit.domain.pose",
    "Skeleton": "labelkit.domain.skeleton",
    "ResponseMaps": "labelkit.project.response_maps",
    "BootstrapReport": "labelkit.workflows.loop.bootstrap",
    "EvaluateReport": "labelkit.workflows.measure.evaluate",
    "ExportReport": "labelkit.workflows.loop.export",
    "QueueReport": "labelkit.workflows.review_and_label.queue",
    "RoundReport": "labelkit.workflows.loop.retrain",
    "PageReport": "labelkit.workflows.reviewing.page",
    "ReviewReport": "labelkit.workflows.reviewing.report",
    "StatusReport": "labelkit.workflows.loop.status",
    "SkeletonReport": "labelkit.workflows.upkeep.skeleton",
    "PullReport": "labelkit.workflows.sync.pull_report",
    "FilePushReport": "labelkit.workflows.sync.push_files",
    "ServerPushReport": "labelkit.workflows.sync.push_server",
    "ImagesReport": "labelkit.workflows.upkeep.images",
    "FoundReport": "labelkit.workflows.loop.predict",
    "PredictionsReport": "labelkit.workflows.loop.predictions",
    "RefereeReport": "labelkit.workflows.measure.referee",
    "LedgerReport": "labelkit.workflows.measure.report",
    "CheckReport": "labelkit.workflows.review_and_label.check",
    "LabelsReport": "labelkit.workflows.upkeep.labels",
}

if not TYPE_CHECKING:  # or type checkers would take any name for one of these

    def __getattr__(name: str) -> object:
        if name not in _LAZY:
            raise AttributeError(f"module 'labelkit' has no attribute {name!r}")
        return getattr(import_module(_LAZY[name]), name)

    def __dir__() -> list[str]:
        return [*__all__, "__version__"]
