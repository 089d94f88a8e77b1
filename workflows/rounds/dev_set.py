"""The dev set: drawn by video, chosen once, and enlarged without objects that were trained on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from labelkit.domain.instance import image_of
from labelkit.domain.selection import (
    DevDraw,
    format_percent,
    grow_dev_set,
    labelled_count,
)
from labelkit.domain.text import counted
from labelkit.errors import UsageError
from labelkit.project.project import Project
from labelkit.project.rounds import rounds
from labelkit.project.video_frames import frames_of_videos
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.label_snapshot import DEV_SHARE

#: A project of so many instances has at least so many in its dev set: with fewer, chance moves a
#: score more than a round does.
LARGE, ENOUGH = 200, 20

#: A video with more of a project's objects, as a share, is cut: as a whole it would leave too few
#: to train on. So many seconds then stay together.
LONG_SHARE, PIECE_SECONDS = 0.25, 10.0


def begin_dev_set(store: LabelStore) -> None:
    """Note that a new project's dev set may be settled; that of an earlier version stays as it is.

    Args:
        store: of the project, before its first images are registered.
    """
    if store.dev_draw() is None and not store.images():
        store.keep_dev_draw(DevDraw(DEV_SHARE))


def settle_dev_set(project: Project, store: LabelStore, percent: float | None) -> str:
    """Enlarge the dev set to what was asked for, or to the least that a project of its size needs.

    What gave locations to a round never enters. Until the first answer it may also become smaller.

    Args:
        project: see `open_project`.
        store: its label store.
        percent: 0 ... 100, of the instances; None if the user gave none.

    Returns:
        what to know about it, or "".

    Raises:
        UsageError: if the dev set would become smaller.
    """
    draw, instances = store.dev_draw(), store.instances()
    if not instances or (draw is None and percent is None):
        return ""
    before = draw or DevDraw(DEV_SHARE)
    objects = Counter(map(image_of, instances.ids))  # in each image
    has = _size(objects, project.seed, before)
    history = rounds(project)
    if percent is None:
        share, size = before.share, ENOUGH if len(instances) >= LARGE else 0
    else:
        share, size = percent / 100, labelled_count(len(instances), percent)
        if not history and store.head() == 0:
            before = DevDraw(0.0)
        elif size < has and share < before.share:
            raise UsageError(
                f"The dev set holds {has} of {len(instances)} instances; {format_percent(percent)} "
                f"would be {size}.",
                "It compares rounds, so it can only grow: give a larger --dev, or leave it out.",
            )
    labelled = {id_ for item in history for id_ in item.plan.labelled}
    videos = {} if draw is None else _videos(project, store, objects, before)
    grown = grow_dev_set(
        objects,
        project.seed,
        before,
        max(share, before.share),
        size,
        set(map(image_of, labelled)),
        exactly=percent is not None,
        videos=videos,
    )
    now = has
    if grown != draw:
        store.keep_dev_draw(grown)
        now = _size(objects, project.seed, grown)
    if now < size:
        return (
            f"The dev set has {counted(now, 'instance')} instead of {size}: all others gave "
            "locations to a round, and would be scored on what was learned from them."
        )
    if percent is not None and now != has:
        return f"The dev set has {counted(now, 'instance')} of {len(instances)} now."
    return ""


def _size(objects: Mapping[str, int], seed: int, draw: DevDraw) -> int:
    return sum(count for image, count in objects.items() if draw.holds(image, seed))


def _videos(
    project: Project, store: LabelStore, objects: Counter[str], draw: DevDraw
) -> dict[str, str]:
    """What each frame of a video is drawn with, by its image's id: the video, or a piece of it.

    What was drawn as a whole, or in pieces, stays so.
    """
    ids = {image.path: image.id for image in store.images() if image.id in objects}
    frames = frames_of_videos(project.images_root, ids)
    by_video = defaultdict(set)
    for path, (video, _) in frames.items():
        by_video[video].add(ids[path])
    pieces = set()
    for video, images in by_video.items():
        long = sum(objects[image] for image in images) > LONG_SHARE * objects.total()
        inside, outside = images & draw.added, images & draw.left_out
        if (inside and outside) or (long and not inside):
            pieces.add(video)
    return {
        ids[path]: f"{video}@{seconds // PIECE_SECONDS:.0f}" if video in pieces else video
        for path, (video, seconds) in frames.items()
    }
