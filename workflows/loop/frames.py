"""`labelkit frames`: pictures to label, taken from videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from labelkit.domain.text import counted, named
from labelkit.errors import InputError, UsageError
from labelkit.files.atomic import atomic_path
from labelkit.files.video import SmallFrame, frame_count, read_frames, small_frames
from labelkit.formats.sleap import labelled_frames
from labelkit.progress import Progress
from labelkit.project.project import Project
from labelkit.project.video_frames import Row, frames_of_videos, read_table, write_table
from labelkit.report import Report
from labelkit.store.ownership import open_store
from labelkit.workflows.intake.frame_choice import choose, even_groups, kmeans_groups, near
from labelkit.workflows.rounds.run_round import latest_predictions

#: Of longer videos, this many frames spread over time are compared.
COMPARED = 4_000


@dataclass(frozen=True, slots=True)
class VideoFrames:
    """What was taken from one video.

    Attributes:
        video: the file.
        folder: of its frames.
        read: how many frames it has.
        before: frames that the folder had already.
        new: files that were written, or would be.
        alike: near-duplicates that were left out.
        broken: what is wrong with the rest of the video, or "".
    """

    video: Path
    folder: Path
    read: int
    before: int
    new: tuple[str, ...]
    alike: int
    broken: str


@dataclass(frozen=True, slots=True)
class FramesReport(Report):
    """What `labelkit frames` did.

    Attributes:
        output: holds a folder for each video.
        videos: one for each.
        dry_run: whether nothing was written.
    """

    output: Path
    videos: tuple[VideoFrames, ...]
    dry_run: bool
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        lines = []
        for item in self.videos:
            what = f"{item.folder}: {counted(len(item.new), 'new frame')} of {item.read:,}"
            what += f", {item.before} before" if item.before else ""
            what += f"; {counted(item.alike, 'near-duplicate')} left out" if item.alike else ""
            lines.append(f"{what}.")
            if item.broken:
                lines.append(f"note: {item.broken}")
        if self.dry_run:
            return "\n".join([*lines, "Nothing was written."])
        return "\n".join([*lines, f"Next: labelkit bootstrap --images {self.output}"])

    def data(self) -> dict[str, Any]:
        """For machines."""
        return {
            "dry_run": self.dry_run,
            "videos": [
                {
                    "video": str(item.video),
                    "folder": str(item.folder),
                    "frames": item.read,
                    "before": item.before,
                    "new": list(item.new),
                    "near_duplicates": item.alike,
                    "broken": item.broken,
                }
                for item in self.videos
            ],
        }


def frames(
    videos: Sequence[Path],
    output: Path,
    progress: Progress,
    *,
    count: int,
    how: Literal["kmeans", "even"],
    seed: int,
    dry_run: bool,
    around: Project | None = None,
    labelled: Path | None = None,
) -> FramesReport:
    """Take frames from videos, as many from each; those that the folders have already count.

    Each video gets a folder of its own below `output`, with frames.csv: a project's dev set is
    drawn by such folders, since neighbouring frames are nearly the same picture.

    Args:
        videos: files.
        output: folder for the folders of the videos.
        progress: shows bars.
        count: frames in total; with `around`, new ones.
        how: "kmeans" takes one of each cluster of small pictures, "even" one of each stretch of
            time.
        seed: of k-means.
        dry_run: choose, and write nothing.
        around: a project of such frames: one frame is taken near each of those that hold what its
            newest round is least sure of, and `how` does not count.
        labelled: a SLEAP project: the frames that it labels are taken, and neither `count` nor
            `how` counts.

    Raises:
        UsageError: if there are fewer frames to take than videos, or a video comes twice; or if
            the project has no predicted frame of the videos, or the SLEAP project no labelled one.
        ProjectError: if no round of the project is complete.
        InputError: if a video cannot be read; then nothing was written.
        FormatError: if a folder holds frames of another video.
    """
    if around is None and labelled is None and count < len(videos):
        raise UsageError(
            f"--count {count} is less than one frame from each of {counted(len(videos), 'video')}.",
            f"Give --count {len(videos)} or more.",
        )
    folders = [output / name for name in _names(videos)]
    lengths = [frame_count(video) for video in videos]
    taken = [read_table(*pair) for pair in zip(folders, videos, strict=True)]
    shares = even_groups(count, len(videos))
    unsure = None if around is None else _least_sure(around, folders, count)
    asked = None if labelled is None else _asked(labelled, videos)
    done = []
    for number, (video, folder, length, rows) in enumerate(
        zip(videos, folders, lengths, taken, strict=True)
    ):
        groups, before = int((shares == number).sum()), {row[1] for row in rows}
        wanted = set() if asked is None else asked[number] - before
        if (unsure is not None and not unsure[number]) or (asked is not None and not wanted):
            done.append(VideoFrames(video, folder, length, len(rows), (), 0, ""))
            continue
        with progress.bar(f"Reading {video.name}") as step:
            found, read, broken = _candidates(video, length, before | wanted, step)
        if unsure is not None:
            groups = len(rows) + len(unsure[number])
            found, labels = near(found, unsure[number], before)
        elif how == "kmeans":
            labels = kmeans_groups(found, groups, seed)
        else:
            labels = even_groups(len(found), groups)
        if asked is None:
            new, alike = choose(found, labels, before)
            new = new[: max(0, groups - len(rows))]
        else:
            new, alike = [item for item in found if item.index in wanted], 0
            if lost := len(wanted) - len(new):
                broken = broken or f"{counted(lost, 'labelled frame')} beyond the end of {video}."
        files = tuple(f"{folder.name}-f{item.index:06d}-{item.seconds:.3f}s.png" for item in new)
        if not dry_run:
            _write(video, folder, rows, new, files, progress)
        done.append(VideoFrames(video, folder, read, len(rows), files, alike, broken))
    return FramesReport(output, tuple(done), dry_run)


def _asked(labelled: Path, videos: Sequence[Path]) -> list[set[int]]:
    """Numbers of the frames of each video that a SLEAP project labels."""
    found = labelled_frames(labelled)
    asked = [found.get(video.name, set()) for video in videos]
    if not any(asked):
        raise UsageError(
            f"{labelled} labels no frame of these videos.",
            f"It labels frames of: {named(sorted(found)) or 'none, but images'}.",
        )
    return asked


def _least_sure(project: Project, folders: Sequence[Path], count: int) -> list[list[float]]:
    """Seconds of the frames in each folder that hold what the newest round is least sure of."""
    _, predictions = latest_predictions(project)
    with open_store(project) as store:
        instances = dict(store.instances())
    times = frames_of_videos(project.images_root, {i.image.path for i in instances.values()})
    places = {folder.resolve(): number for number, folder in enumerate(folders)}
    scores: dict[tuple[int, float], float] = {}
    for id_ in predictions.keys() & instances.keys():
        folder, seconds = times.get(instances[id_].image.path, ("", 0.0))
        number = places.get((project.images_root / folder).resolve())
        if number is not None:
            key = (number, seconds)
            scores[key] = min(predictions[id_].score, scores.get(key, 1.0))
    if not scores:
        raise UsageError(
            f"The newest round of {project.root} predicts no frame of these videos.",
            "Name the videos that labelkit frames took its images from, and the same --folder.",
        )
    chosen = sorted(scores, key=lambda key: (scores[key], key))[:count]
    return [[s for at, s in chosen if at == number] for number in range(len(folders))]


def _names(videos: Sequence[Path]) -> list[str]:
    """A folder name for each video: its own, after its folder's where two are called alike."""
    stems = Counter(video.stem for video in videos)
    names = [
        video.stem if stems[video.stem] == 1 else f"{video.resolve().parent.name}_{video.stem}"
        for video in videos
    ]
    for name, times in Counter(names).items():
        if times > 1:
            raise UsageError(
                f"{times} of the videos would have the folder {name}.",
                "Give each video once, or take their frames with different --folder DIR.",
            )
    return names


def _candidates(
    video: Path, length: int, taken: set[int], step: Any
) -> tuple[list[SmallFrame], int, str]:
    """Frames to choose from, how many were read, and what is wrong with the rest of the video."""
    every = max(1, length // COMPARED)
    found: list[SmallFrame] = []
    read = 0
    try:
        for small in small_frames(video):
            if small.index % every == 0 or small.index in taken:
                found.append(small)
            read += 1
            step(read, max(length, read))
    except InputError as error:
        if not found:
            raise
        return found, read, error.problem
    return found, read, ""


def _write(
    video: Path,
    folder: Path,
    rows: Sequence[Row],
    new: Sequence[SmallFrame],
    files: Sequence[str],
    progress: Progress,
) -> None:
    """Write the new frames, then the table with all."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = progress.track(read_frames(video, new), f"Writing {folder}", len(new))
    for file, picture in zip(files, pictures, strict=True):
        with atomic_path(folder / file) as beside:
            picture.save(beside, format="PNG", compress_level=4)
    if new or not rows:
        more = [(file, item.index, item.seconds) for file, item in zip(files, new, strict=True)]
        write_table(folder, video, [*rows, *more])
