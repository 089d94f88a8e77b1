"""SLEAP projects (.slp), read and written by sleap-io."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from labelkit.domain.annotation import Annotation, image_path_from
from labelkit.domain.instance import Instance
from labelkit.domain.pose import ABSENT, OCCLUDED, VISIBLE, Pose, human_pose
from labelkit.domain.skeleton import Skeleton
from labelkit.domain.text import counted, named
from labelkit.errors import FormatError, MissingDependencyError
from labelkit.formats.coco_categories import skeleton_from_category

#: All of the provenance of a file that was exported; SLEAP adds to it when it saves.
HEADING = '{"written_by":"labelkit export"}'

#: Pixels by which SLEAP's coordinates may be below 0: it counts from the middle of a pixel.
_HALF_PX = 0.5


class SleapLabels(NamedTuple):
    """What people labelled in a SLEAP project.

    Attributes:
        skeleton: of its instances, with the left/right pairs of its symmetries.
        annotations: one for each user instance, without a box. A point that is not visible is
            occluded where a person placed it. SLEAP puts the others anywhere: they are absent.
        image_paths: images with user instances, and those marked as without any. A frame of a
            video is called as `labelkit frames` does, without its seconds: v/v-f000012.
        notes: what was left out or read differently, a sentence each.
    """

    skeleton: Skeleton
    annotations: list[Annotation]
    image_paths: tuple[str, ...]
    notes: tuple[str, ...]


def read_sleap(path: Path) -> SleapLabels:
    """Read the user instances of a SLEAP project of images or videos.

    Args:
        path: of the file; its images and videos need not be there.

    Raises:
        FormatError: if it is damaged, has no user instances, or several skeletons.
        SkeletonError: if its nodes make no skeleton.
        MissingDependencyError: if sleap-io is not installed.
    """
    labels = _load(path)
    frames = [frame for frame in labels.labeled_frames if frame.user_instances]
    if not frames:
        predicted = sum(len(frame.predicted_instances) for frame in labels.labeled_frames)
        raise FormatError(
            f"{path} has no instances that a person labelled, and "
            f"{counted(predicted, 'predicted one')}.",
            "Give the project in which they are corrected.",
        )
    skeleton, notes = _skeleton([item for frame in frames for item in frame.user_instances], path)
    annotations, unplaced = [], 0
    for frame in frames:
        image = _image_of(frame, path)
        who = Counter(_name(item.track) for item in frame.user_instances)
        for number, item in enumerate(frame.user_instances):
            pose = _pose(item, skeleton)
            unplaced += int(np.isfinite(item.points["xy"]).all(axis=1).sum() - pose.present.sum())
            individual = _name(item.track)
            individual = individual if who[individual] == 1 else ""
            reference = f"{image}#{individual or number}"
            category = _name(item.category)
            annotations.append(
                Annotation(image, reference, None, None, pose, False, category, individual)
            )
    if unplaced:
        notes.append(
            f"{counted(unplaced, 'point')} of {path.name} neither visible nor placed by a person: "
            "taken as absent."
        )
    empty = [frame for frame in labels.labeled_frames if frame.is_negative]
    paths = [item.image_path for item in annotations] + [_image_of(it, path) for it in empty]
    return SleapLabels(skeleton, annotations, tuple(dict.fromkeys(paths)), tuple(notes))


def labelled_frames(path: Path) -> dict[str, set[int]]:
    """Numbers of the frames that a SLEAP project labels, by the file name of their video.

    Raises:
        FormatError: if it is damaged.
        MissingDependencyError: if sleap-io is not installed.
    """
    numbers: dict[str, set[int]] = defaultdict(set)
    for frame in _load(path).labeled_frames:
        if frame.user_instances and isinstance(name := _source(frame).filename, str):
            numbers[PurePosixPath(image_path_from(name)).name].add(int(frame.frame_idx))
    return dict(numbers)


def write_sleap(
    items: Sequence[tuple[Instance, Pose]],
    skeleton: Skeleton,
    images_root: Path,
    predicted: Collection[str],
    path: Path,
) -> None:
    """Write a SLEAP project on the images as they lie; images of a folder and size are a video.

    Absent and unknown keypoints have no place; occluded ones are points that a person placed and
    that are not visible.

    Args:
        items: instances with their poses, in image pixels.
        skeleton: of all poses.
        images_root: the folder that image paths start from.
        predicted: ids of the instances that a network posed; they become predicted instances.
        path: of the new file, ending in .slp.

    Raises:
        MissingDependencyError: if sleap-io is not installed.
    """
    sio = _sleap_io()
    names = skeleton.keypoints
    nodes = sio.Skeleton(
        list(names),
        edges=[(names[a], names[b]) for a, b in skeleton.links],
        symmetries=[(names[a], names[b]) for a, b in skeleton.pairs],
        name=skeleton.name,
    )
    groups: dict[tuple[str, int, int], dict[str, list[Any]]] = defaultdict(dict)
    tracks: dict[str, Any] = {}
    for instance, pose in items:
        image = instance.image
        folder = str(PurePosixPath(image.path).parent)
        place = groups[folder, image.width, image.height].setdefault(image.path, [])
        if instance.individual and instance.individual not in tracks:
            tracks[instance.individual] = sio.Track(instance.individual)
        xy = np.where(pose.present[:, None], pose.xy, np.nan)
        whose = {
            "skeleton": nodes,
            "track": tracks.get(instance.individual),
            "category": instance.category or None,
        }
        if instance.id in predicted:
            score = float(pose.score[pose.present].mean()) if pose.present.any() else 0.0
            found = sio.PredictedInstance.from_numpy(
                xy, point_scores=pose.score, score=score, **whose
            )
        else:
            found = sio.Instance.from_numpy(xy, **whose)
            found.points["complete"] = pose.present
        found.points["visible"] = pose.visibility == VISIBLE
        place.append(found)
    frames = []
    for (_, width, height), found_in in groups.items():
        video = _video(sio, [(images_root / name).as_posix() for name in found_in], width, height)
        frames += [
            sio.LabeledFrame(video=video, frame_idx=number, instances=objects)
            for number, objects in enumerate(found_in.values())
        ]
    labels = sio.Labels(frames, skeletons=[nodes], provenance=json.loads(HEADING))
    sio.save_slp(labels, str(path), embed=False, verbose=False)


def _video(sio: Any, files: Sequence[str], width: int, height: int) -> Any:
    """Images as SLEAP takes them for a video, which sleap-io need not open."""
    about = {
        "type": "ImageVideo",
        "filename": files[0],
        "filenames": list(files),
        "shape": [len(files), height, width, 3],
        "height_": height,
        "width_": width,
        "channels_": 3,
        "grayscale": False,
    }
    return sio.Video(filename=list(files), backend_metadata=about, open_backend=False)


def _sleap_io() -> Any:
    try:
        import sleap_io
    except ImportError as error:
        raise MissingDependencyError(
            "SLEAP's files are read and written by sleap-io, which is not installed.",
            "Type: pip install 'labelkit-keypoints[sleap]'",
        ) from error
    return sleap_io


def _load(path: Path) -> Any:
    sio = _sleap_io()
    try:
        return sio.load_slp(str(path), open_videos=False)
    except (OSError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise FormatError(
            f"{path} cannot be read by sleap-io ({error}).", "Save it in SLEAP again."
        ) from error


def _source(frame: Any) -> Any:
    """Where the frame of a package (.pkg.slp), which holds pictures, was taken from."""
    video = frame.video
    while video.source_video is not None:
        video = video.source_video
    return video


def _image_of(frame: Any, path: Path) -> str:
    files = _source(frame).filename
    if isinstance(files, str):
        video = PurePosixPath(image_path_from(files)).stem
        return f"{video}/{video}-f{frame.frame_idx:06d}"
    if frame.frame_idx >= len(files):
        raise FormatError(
            f"{path} labels image number {frame.frame_idx} of {len(files)}.",
            "Save it in SLEAP again.",
        )
    return image_path_from(str(files[frame.frame_idx]))


def _skeleton(instances: Sequence[Any], path: Path) -> tuple[Skeleton, list[str]]:
    """The skeleton of all instances, and notes on it."""
    kinds = {tuple(item.skeleton.node_names): item.skeleton for item in instances}
    if len(kinds) > 1:
        names = " and ".join(f"{kind.name!r} ({named(nodes)})" for nodes, kind in kinds.items())
        raise FormatError(
            f"{path} has instances of different skeletons: {names}.",
            "Keep one skeleton in each file.",
        )
    ((nodes, kind),) = kinds.items()
    category = {
        "name": kind.name or "animal",
        "keypoints": list(nodes),
        "skeleton": [[edge.source.name, edge.destination.name] for edge in kind.edges],
    }
    found, notes = skeleton_from_category(category, str(path))
    pairs = sorted(
        tuple(sorted(nodes.index(node.name) for node in pair.nodes)) for pair in kind.symmetries
    )
    if pairs and set(pairs) != {tuple(sorted(pair)) for pair in found.pairs}:
        found = replace(found, pairs=tuple((a, b) for a, b in pairs))
    return found, notes


def _pose(item: Any, skeleton: Skeleton) -> Pose:
    order = {name: at for at, name in enumerate(item.skeleton.node_names)}
    points = item.points[[order[name] for name in skeleton.keypoints]]
    xy = points["xy"].astype(np.float64)
    there = np.isfinite(xy).all(axis=1) & (points["visible"] | points["complete"])
    visibility = np.where(there, np.where(points["visible"], VISIBLE, OCCLUDED), ABSENT)
    xy = np.where((xy < 0) & (xy >= -_HALF_PX), 0.0, xy)
    return human_pose(np.where(there[:, None], xy, 0.0), visibility)


def _name(owner: Any) -> str:
    """Of a track or category; "" without one."""
    return str(owner.name) if owner is not None and owner.name else ""
