"""`labelkit doctor`: what is installed, what is missing, and whether the project is sound."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from labelkit.bridges.fiftyone.mongod import prepare_database
from labelkit.bridges.label_studio.api import connect
from labelkit.bridges.mediapipe.networks import NETWORKS, OWN
from labelkit.errors import DISTRIBUTION, INSTALL, LabelkitError
from labelkit.project.images import image_file
from labelkit.project.project import Project, find_project, open_project
from labelkit.project.rounds import rounds
from labelkit.report import Report
from labelkit.store.ownership import open_store

NEEDED = (
    *("torch", "torchvision", "timm", "lightning"),
    *("pycocotools", "scipy", "sqlalchemy", "pyarrow"),
)

#: Less free space, in bytes, is a failure: a round of 10,000 instances needs about as much.
LITTLE_SPACE = 2 * 10**9


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: of the checked part.
        ok: True, False if something will fail, None if an optional part is missing.
        detail: what was found, and what to do.
    """

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class DoctorReport(Report):
    """All checks."""

    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """1 if something will fail."""
        return int(any(check.ok is False for check in self.checks))

    def text(self) -> str:
        """For people."""
        marks = {True: "ok", False: "FAIL", None: "-"}
        return "\n".join(f"{marks[c.ok]:>4}  {c.name:<18} {c.detail}" for c in self.checks)


def doctor(root: Path | None) -> DoctorReport:
    """Check the installation, and the project if there is one.

    Args:
        root: project folder; None finds it from the current folder.
    """
    checks = [*_installation()]
    try:
        project = open_project(root) if root else find_project(Path.cwd())
    except LabelkitError as error:
        checks.append(Check("project", False if root else None, error.problem))
        return DoctorReport(tuple(checks))
    checks += _project(project)
    return DoctorReport(tuple(checks))


def _installation() -> Iterator[Check]:
    python = sys.version.split()[0]
    yield Check("python", sys.version_info >= (3, 11), python)
    yield from (_package(name, False, f"{INSTALL} {DISTRIBUTION}") for name in NEEDED)
    if find_spec("torch"):
        import torch

        device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
        yield Check("gpu", True if device else None, device or "none: --preset tiny is for CPUs")
    if find_spec("timm"):
        yield _weights()
    yield _package(
        "label-studio-sdk", None, f"Label Studio by server needs it. {INSTALL} {DISTRIBUTION}"
    )
    yield _package(
        "fiftyone", None, f"labelkit review needs it. {INSTALL} '{DISTRIBUTION}[review]'"
    )
    if find_spec("fiftyone"):
        try:
            yield Check("fiftyone database", True, prepare_database())
        except LabelkitError as error:
            yield Check("fiftyone database", None, str(error).replace("\n", " "))
    yield _label_studio()
    yield Check(
        "mediapipe",
        True if OWN.is_complete else None,
        f"{OWN.version} in {OWN.folder}"
        if OWN.is_complete
        else f"not installed. labelkit predict --with {next(iter(NETWORKS))} does that",
    )
    known = "LABELKIT_DB" in os.environ
    yield Check("LABELKIT_DB", None, "set" if known else "not set: SQLite in the project")


def _package(name: str, missing: bool | None, advice: str) -> Check:
    """Whether a package is installed; `missing` is the verdict if it is not."""
    try:
        return Check(name, True, version(name))
    except PackageNotFoundError:
        return Check(name, missing, f"not installed. {advice}")


def _weights() -> Check:
    """Whether any training can start from pretrained weights without internet."""
    from labelkit.models.parts.pretrained import RECOMMENDED, cache_folder, on_this_machine

    found = on_this_machine()
    if not found:
        return Check(
            "weights",
            None,
            f"none in {cache_folder()}. Type: labelkit weights fetch {RECOMMENDED[0]}",
        )
    return Check("weights", True, f"{', '.join(found)} in {cache_folder()}")


def _label_studio() -> Check:
    if not os.environ.get("LABEL_STUDIO_URL"):
        return Check(
            "label studio", None, "LABEL_STUDIO_URL is not set; labelkit studio prints its value"
        )
    try:
        with connect() as api:
            api.check()
    except LabelkitError as error:
        return Check("label studio", False, str(error).replace("\n", " "))
    return Check("label studio", True, f"answers at {api.url} and accepts the key")


def _project(project: Project) -> Iterator[Check]:
    yield Check("project", True, str(project.root))
    free = shutil.disk_usage(project.root).free
    yield Check("disk", free > LITTLE_SPACE, f"{free / 1e9:.0f} GB free")
    yield Check("skeleton", True, f"{project.skeleton.name}, {len(project.skeleton)} keypoints")
    try:
        with open_store(project) as store:
            counts = store.counts()
            store.poses(project.skeleton)
            missing = []
            for image in store.images():
                try:
                    if not image_file(project.images_root, image.path).is_file():
                        missing.append(image.path)
                except LabelkitError:
                    missing.append(image.path)
        yield Check("label store", True, f"{counts.entries} entries, {counts.instances} instances")
        yield Check(
            "images",
            not missing,
            f"{counts.images} registered"
            + (
                f", {len(missing)} not found (labelkit images list), the first is {missing[0]}"
                if missing
                else ""
            ),
        )
    except LabelkitError as error:
        yield Check("label store", False, str(error).replace("\n", " "))
    try:
        found = rounds(project)
        states = ", ".join(f"{item.plan.number:03d} {item.status}" for item in found)
        yield Check("rounds", True, states or "none yet")
    except LabelkitError as error:
        yield Check("rounds", False, str(error).replace("\n", " "))
