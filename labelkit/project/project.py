"""The project folder: where the images are, which skeleton, where the labels live."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
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

#: The options of commands that decide a project, and so are remembered, with their types.
REMEMBERED: Mapping[str, type] = {
    "start": str,
    "boxes": str,
    "model": str,
    "labeled": float,
    "skip": list,
    "preset": str,
    "backbone": str,
    "epochs": int,
    "minutes": float,
    "pretrained": bool,
    "weights": str,
    "input_size": str,
    "rotation": float,
    "mirror": bool,
    "precision": str,
    "per_instance": bool,
    "follow": bool,
    "queue": str,
    "unshown": list,
}

#: The label store in the project folder.
STORE_FILE = "labels.db"

_COMMENT = "# A labelkit project. Paths are relative to this file: move it with its images."

#: What a file system without locks answers.
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)

#: Locks that this process holds.
_held: set[Path] = set()

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
        id: 16 hex digits that its label store carries too; "" in a project of an earlier version
            that has not been written to since.
        has_own_store: its label store is in its folder, whatever LABELKIT_DB says.
        options: what the user chose in commands, by the names of `REMEMBERED`.
    """

    root: Path
    name: str
    images_root: Path
    skeleton: Skeleton
    seed: int
    id: str = ""
    has_own_store: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the label store: LABELKIT_DB, or labels.db in the project."""
        if not self.has_own_store and (url := os.environ.get("LABELKIT_DB")):
            return url
        return self.own_store_url

    @property
    def own_store_url(self) -> str:
        """SQLAlchemy URL of labels.db in the project."""
        from sqlalchemy import URL  # quotes folder names such as "what?"; slow to import

        return URL.create("sqlite", database=str(self.root / STORE_FILE)).render_as_string()

    @property
    def rounds_root(self) -> Path:
        """The folder of rounds/000, rounds/001, ..."""
        return self.root / "rounds"


def create_project(
    root: Path,
    images_root: Path,
    skeleton: Skeleton,
    seed: int = 0,
    *,
    has_own_store: bool = False,
) -> Project:
    """Make a project folder with its labelkit.toml.

    Args:
        root: the new project's folder.
        images_root: the images folder.
        skeleton: the keypoints of every instance.
        seed, has_own_store: see `Project`.

    Raises:
        ProjectError: if `root` is a project already, or the images folder cannot be used.
    """
    root, images_root = root.resolve(), images_root.resolve()
    if (root / PROJECT_FILE).exists():
        raise ProjectError(
            f"{root} is already a labelkit project.", f"Use it with: --project {root}"
        )
    if not images_root.is_dir():
        raise ProjectError(
            f"{images_root} is not a folder.",
            "Give the folder with the images: labelkit bootstrap --images DIR",
        )
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
    name, id_ = images_root.name or "images", secrets.token_hex(8)
    project = Project(root, name, images_root, skeleton, int(seed), id_, has_own_store)
    write_text(root / PROJECT_FILE, _to_toml(project))
    return project


def project_with_own_store(
    root: Path, images_root: Path, skeleton: Skeleton, seed: int = 0
) -> Project:
    """Open or make a project whose label store is in its folder, whatever LABELKIT_DB says.

    Args:
        root, images_root, skeleton, seed: see `create_project`; only `root` counts if it is a
            project.
    """
    if not (root / PROJECT_FILE).is_file():
        return create_project(root, images_root, skeleton, seed, has_own_store=True)
    found = open_project(root)
    return found if found.has_own_store else change_project(found, has_own_store=True)


def take_back_project(project: Project) -> None:
    """Undo `create_project` and the creation of its label store, which holds no answers."""
    for path in (*project.root.glob(f"{STORE_FILE}*"), project.root / ".lock"):
        path.unlink(missing_ok=True)
    # Last: a project can be found again after a kill, a store without one could not be used.
    (project.root / PROJECT_FILE).unlink()
    with contextlib.suppress(OSError):  # the user keeps something there
        project.root.rmdir()


def change_skeleton(project: Project, skeleton: Skeleton) -> Project:
    """Give a project another skeleton, on disk too; the caller checks that labels fit it."""
    return change_project(project, skeleton=skeleton)


def change_project(project: Project, **changes: Any) -> Project:
    """Change attributes of a project, on disk too.

    Args:
        project: to change.
        changes: by the names of `Project`.
    """
    changed = replace(open_project(project.root), **changes)
    write_text(project.root / PROJECT_FILE, _to_toml(changed))
    return changed


def remember(project: Project, **given: Any) -> Project:
    """Keep the options that decide a project, so that they need not be given again.

    Args:
        project: that was given the options.
        given: values by the names of `REMEMBERED`; None where the user gave none. Another preset
            brings its own backbone, epochs and crops, and other weights replace those before.
    """
    project = open_project(project.root)
    options = dict(project.options)
    if given.get("preset") not in (None, options.get("preset")):
        for name in ("backbone", "epochs", "weights", "input_size"):
            options.pop(name, None)
    if any(given.get(name) is not None for name in ("backbone", "pretrained", "weights")):
        options.pop("weights", None)
    if given.get("weights") is not None:
        options.pop("pretrained", None)
    options |= {name: value for name, value in given.items() if value is not None}
    return project if options == project.options else change_project(project, options=options)


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
    options = _value(table, "options", dict, path, {})
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
        id=_value(table, "id", str, path, ""),
        has_own_store=_has_own_store(table, path),
        options={
            name: _value(options, name, kind, path)
            for name, kind in REMEMBERED.items()
            if name in options
        },
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


def is_at_work(project: Project) -> bool:
    """Whether another process holds the project's lock: it registers, trains or queues."""
    from filelock import FileLock, Timeout

    path = project.root / ".lock"
    if path in _held or not path.exists():
        return False
    lock = FileLock(path, blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:  # a file system without locks, or a read-only folder
        return False
    lock.release()
    return False


def is_main_process() -> bool:
    """False in the additional processes of a training on several devices."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if name in os.environ:
            return os.environ[name] == "0"
    return True


def is_one_of_several() -> bool:
    """Whether torchrun or Slurm started several processes."""
    return any(int(os.environ.get(name, "1")) > 1 for name in ("WORLD_SIZE", "SLURM_NTASKS"))


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
    _held.add(path)
    try:
        yield
    finally:
        _held.discard(path)
        lock.release()


def _to_toml(project: Project) -> str:
    import tomli_w

    settings = {
        "format": PROJECT_FORMAT,
        **({"id": project.id} if project.id else {}),
        "name": project.name,
        "images": Path(os.path.relpath(project.images_root, project.root)).as_posix(),
        "seed": project.seed,
        **({"store": STORE_FILE} if project.has_own_store else {}),
        **({"options": dict(project.options)} if project.options else {}),
    }
    skeleton = project.skeleton.to_toml()
    return f"{_COMMENT}\n{tomli_w.dumps(settings)}\n[skeleton]\n{skeleton}"


def _has_own_store(table: dict[str, Any], path: Path) -> bool:
    store = _value(table, "store", str, path, "")
    if store not in ("", STORE_FILE):
        raise ProjectError(
            f"{path}: store = {store!r} is not {STORE_FILE!r}, the store in the project folder.",
            "Name any other store in LABELKIT_DB, and delete this line.",
        )
    return bool(store)


def _value(table: dict[str, Any], key: str, kind: type, path: Path, default: Any = None) -> Any:
    """A value of a table; without a default it must be there."""
    if key not in table and default is not None:
        return default
    if key not in table:
        raise ProjectError(f"{path} has no {key!r}.", "Fix it by hand.")
    value = table[key]
    if kind is float and type(value) is int:
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ProjectError(f"{path}: {key} = {value!r} has the wrong type.", "Fix it by hand.")
    return value
