"""The project folder: where the images are, which skeleton, where the labels live."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from labelkit.domain.skeleton import Skeleton, skeleton_from_table
from labelkit.errors import INSTALL_NEWER, ProjectError, SkeletonError
from labelkit.files.atomic import write_text

#: The file that makes a folder a project.
PROJECT_FILE = "labelkit.toml"
#: Marks the folder of a benchmark, a project that is not for labelling.
BENCHMARK_FILE = "benchmark.json"

#: Version of `PROJECT_FILE`; a newer labelkit may raise it.
PROJECT_FORMAT = 1

_COMMENT = "# A labelkit project. Paths are relative to this file: move it with its images."

#: What a file system without locks answers.
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)

_MAKE_ONE = "Make a project with: labelkit bootstrap --images DIR"


@dataclass(frozen=True, slots=True)
class Project:
    """One labelling project.

    Attributes:
        root: its folder, absolute.
        name: shown to people; the name of the images folder unless changed.
        images_root: the images folder, absolute here and relative to `root` on disk.
        skeleton: the keypoints of every instance.
        seed: of every random choice that must be the same in all commands.
    """

    root: Path
    name: str
    images_root: Path
    skeleton: Skeleton
    seed: int

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the label store: LABELKIT_DB, or labels.db in the project."""
        if url := os.environ.get("LABELKIT_DB"):
            return url
        from sqlalchemy import URL  # quotes folder names such as "what?"; slow to import

        return URL.create("sqlite", database=str(self.root / "labels.db")).render_as_string()

    @property
    def rounds_root(self) -> Path:
        """The folder of rounds/000, rounds/001, ..."""
        return self.root / "rounds"


def create_project(root: Path, images_root: Path, skeleton: Skeleton, seed: int = 0) -> Project:
    """Make a project folder with its labelkit.toml.

    Args:
        root: the new project's folder.
        images_root: the images folder.
        skeleton: the keypoints of every instance.
        seed: see `Project`.

    Raises:
        ProjectError: if `root` is a project already, or the images folder cannot be used.
    """
    root, images_root = root.resolve(), images_root.resolve()
    if (root / PROJECT_FILE).exists():
        raise ProjectError(
            f"{root} is already a labelkit project.", f"Use it with: --project {root}"
        )
    if not images_root.is_dir():
        raise ProjectError(f"{images_root} is not a folder.", "Give the folder with the images.")
    if root == images_root:
        raise ProjectError(
            f"{root} holds the images; a project needs its own folder.",
            f"For example: --project {default_project_root(images_root)}",
        )
    try:
        f"{root}{images_root}".encode()
    except UnicodeEncodeError:
        raise ProjectError(
            f"The name of {str(images_root)!a} or {str(root)!a} is not UTF-8.",
            "Rename the folder.",
        ) from None
    project = Project(root, images_root.name or "images", images_root, skeleton, int(seed))
    write_text(root / PROJECT_FILE, _to_toml(project))
    return project


def take_back_project(project: Project) -> None:
    """Undo `create_project` and the creation of its label store, which holds no answers."""
    (project.root / PROJECT_FILE).unlink()
    for path in (*project.root.glob("labels.db*"), project.root / ".lock"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the user keeps something there
        project.root.rmdir()


def change_skeleton(project: Project, skeleton: Skeleton) -> Project:
    """Give a project another skeleton, on disk too; the caller checks that labels fit it."""
    changed = replace(project, skeleton=skeleton)
    write_text(project.root / PROJECT_FILE, _to_toml(changed))
    return changed


def open_project(root: Path) -> Project:
    """Read the project in a folder.

    Raises:
        ProjectError: if there is none, its file is damaged, or a newer labelkit made it.
    """
    given, root = root, root.resolve()
    path = root / PROJECT_FILE
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        below = [shlex.quote(str(given / folder.name)) for folder in _below(root)]
        raise ProjectError(
            f"{root} is not a labelkit project.",
            f"Did you mean --project {below[0]}?" if below else _MAKE_ONE,
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path} is not a TOML file ({error}).", "Fix it by hand.") from error
    except OSError as error:
        raise ProjectError(f"{path} cannot be read ({error.strerror}).") from error

    file_format = _value(table, "format", int, path)
    if file_format > PROJECT_FORMAT:
        raise ProjectError(
            f"{path} has format {file_format}; this labelkit reads up to {PROJECT_FORMAT}.",
            INSTALL_NEWER,
        )
    images = PurePosixPath(_value(table, "images", str, path))
    if images.is_absolute():
        raise ProjectError(
            f"{path}: images is the absolute path {images}.",
            "Write it relative to the project folder, for example: ../frames",
        )
    try:
        skeleton = skeleton_from_table(_value(table, "skeleton", dict, path), f"{path} [skeleton]")
    except SkeletonError as error:
        raise ProjectError(error.problem, error.next_step) from error
    return Project(
        root=root,
        name=_value(table, "name", str, path),
        images_root=(root / images).resolve(),
        skeleton=skeleton,
        seed=_value(table, "seed", int, path),
    )


def find_project(start: Path) -> Project:
    """The project at a folder: in `start`, above it, directly below it, or beside its images.

    Benchmarks below are ignored.

    Raises:
        ProjectError: if there is none, or several below.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / PROJECT_FILE).is_file():
            return open_project(folder)
    below = _below(start)
    if len(below) > 1:
        names = ", ".join(folder.name for folder in below)
        raise ProjectError(
            f"{start} holds {len(below)} labelkit projects: {names}.",
            f"Choose one, for example: --project {below[0].name}",
        )
    if below:
        return open_project(below[0])
    made = default_project_root(start)
    if (made / PROJECT_FILE).is_file():
        return open_project(made)
    raise ProjectError(
        f"No labelkit project in {start}, above or directly below it.",
        f"Go to its folder, or add: --project DIR\n{_MAKE_ONE}",
    )


def _below(start: Path) -> list[Path]:
    """Projects directly below a folder, without benchmarks."""
    below = sorted(path.parent for path in start.glob(f"*/{PROJECT_FILE}") if path.is_file())
    return [folder for folder in below if not (folder / BENCHMARK_FILE).exists()]


def default_project_root(images: Path) -> Path:
    """Where bootstrap makes a project: beside the images if allowed, else in the current folder."""
    images = images.resolve()
    name = f"{images.name or 'images'}-labelkit"
    beside = images.parent / name
    # A read-only folder is meant to stay as it is, also for root, who could write to it.
    writable = os.access(images.parent, os.W_OK) and images.parent.stat().st_mode & 0o222
    if beside.exists() or (images.parent != images and writable):
        return beside
    return Path.cwd() / name


def is_main_process() -> bool:
    """False in the additional processes of a training on several devices."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if name in os.environ:
            return os.environ[name] == "0"
    return True


@contextlib.contextmanager
def lock_project(project: Project, work: str = "") -> Iterator[None]:
    """Keep out other commands that change the project, until the block or the process ends.

    Forked processes do not hold the lock, so image loaders that outlive a killed command do not
    block the next one. The additional processes of a training on several devices work under the
    lock of the first. On a file system without locks no command is kept out.

    Args:
        project: to lock.
        work: only commands of the same work exclude each other: labels come in during a training.

    Raises:
        ProjectError: if another command holds the lock, or the folder is read-only.
    """
    if not is_main_process():
        yield
        return
    from filelock import FileLock, Timeout

    path = project.root / (f".lock-{work}" if work else ".lock")
    lock = FileLock(path, blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise ProjectError(
            f"Another labelkit command is at work in {project.root}.",
            "Wait until it has finished, then run this one again.",
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise ProjectError(
                f"{path} cannot be written ({error.strerror}).", "Make the project folder writable."
            ) from error
    try:
        yield
    finally:
        lock.release()


def _to_toml(project: Project) -> str:
    import tomli_w

    settings = {
        "format": PROJECT_FORMAT,
        "name": project.name,
        "images": Path(os.path.relpath(project.images_root, project.root)).as_posix(),
        "seed": project.seed,
    }
    skeleton = project.skeleton.to_toml()
    return f"{_COMMENT}\n{tomli_w.dumps(settings)}\n[skeleton]\n{skeleton}"


def _value(table: dict[str, Any], key: str, kind: type, path: Path) -> Any:
    if key not in table:
        raise ProjectError(f"{path} has no {key!r}.", "Fix it by hand.")
    if not isinstance(table[key], kind) or isinstance(table[key], bool):
        raise ProjectError(f"{path}: {key} = {table[key]!r} has the wrong type.", "Fix it by hand.")
    return table[key]
