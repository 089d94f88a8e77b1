"""Every error a user can meet.

    LabelkitError                exit 1: one or two lines on stderr, what is wrong and what to type
    ├── InputError               a file or value that cannot be used
    │   ├── ImageError           an image that cannot be read or registered
    │   ├── FormatError          an annotation file with wrong content
    │   ├── SkeletonError        a skeleton that contradicts itself, or does not fit
    │   └── CheckpointError      weights of another format, model or skeleton
    ├── ProjectError             no project here, or a damaged one
    ├── StoreError               the label store cannot be opened, read or written
    ├── MissingDependencyError   an optional package, download or service is not there
    ├── ServiceError             a server that is down, refuses the key, or answers nonsense
    ├── UsageError               exit 2: options that contradict each other
    └── WaitingForLabels         exit 3: not a fault; people have to label before it can continue

Anything else that escapes is a bug in labelkit and keeps its traceback.
"""

from __future__ import annotations

#: How labelkit is installed; its name on the package index, where "labelkit" is another project.
DISTRIBUTION = "labelkit-keypoints"
INSTALL = "Type: pip install"
#: What to do about a file that a newer labelkit wrote.
INSTALL_NEWER = "Update labelkit: in its source folder type: git pull && pip install ."


class LabelkitError(Exception):
    """What went wrong, with the offending value, and what to type next.

    Args:
        problem: one sentence that names the item.
        next_step: what the user can do or type; may be empty.
    """

    exit_code = 1

    def __init__(self, problem: str, next_step: str = "") -> None:
        super().__init__(f"{problem}\n{next_step}" if next_step else problem)
        self.problem = problem
        self.next_step = next_step


class InputError(LabelkitError):
    """A file or value that cannot be used."""


class ImageError(InputError):
    """An image that cannot be read or registered."""


class FormatError(InputError):
    """An annotation file with wrong content."""


class SkeletonError(InputError):
    """A skeleton that contradicts itself, or does not fit the data."""


class CheckpointError(InputError):
    """Weights of another format, model or skeleton."""


class ProjectError(LabelkitError):
    """No project where one was expected, or a damaged one."""


class StoreError(LabelkitError):
    """The label store cannot be opened, read or written."""


class MissingDependencyError(LabelkitError):
    """An optional package, a download or a service that is not there."""


class ServiceError(LabelkitError):
    """A server that is down, refuses the key, or sends an unexpected answer."""


class UsageError(LabelkitError):
    """Options that contradict each other."""

    exit_code = 2


class WaitingForLabels(LabelkitError):
    """Not a fault: people have to label before this can continue."""

    exit_code = 3
