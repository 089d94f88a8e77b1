"""Videos: their frames in order, upright, with time stamps, and single frames found exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from labelkit.errors import InputError, MissingDependencyError

#: Longer side of the small picture of a frame.
SMALL = 32

_UPRIGHT = {
    90: Pictures.Transpose.ROTATE_90,
    180: Pictures.Transpose.ROTATE_180,
    270: Pictures.Transpose.ROTATE_270,
}


@dataclass(frozen=True, slots=True, eq=False)
class SmallFrame:
    """One frame, reduced.

    Attributes:
        index: place in the video, from 0.
        pts: its time stamp, as the video stores it.
        seconds: the same, since the first frame.
        grey: (h, w) uint8, not upright, `SMALL` at its longer side.
    """

    index: int
    pts: int
    seconds: float
    grey: NDArray[np.uint8]


def frame_count(path: Path) -> int:
    """About how many frames a video has; 0 where its header does not say.

    Raises:
        InputError: if it cannot be read, or shows nothing.
        MissingDependencyError: if PyAV is not installed.
    """
    with _opened(path) as (_, stream):
        if stream.frames or not (stream.duration and stream.average_rate):
            return int(stream.frames)
        return round(stream.duration * stream.time_base * stream.average_rate)


def small_frames(path: Path) -> Iterator[SmallFrame]:
    """Every frame of a video, in the order in which it is shown.

    Raises:
        InputError: if no frame can be read; or after the last one, if the rest is broken.
        MissingDependencyError: if PyAV is not installed.
    """
    import av

    with _opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        index, first = 0, 0
        try:
            for frame in container.decode(stream):
                if frame.pts is None:
                    continue  # without a time stamp it could not be found again
                first = frame.pts if index == 0 else first
                seconds = float((frame.pts - first) * stream.time_base)
                yield SmallFrame(index, frame.pts, seconds, _small(frame))
                index += 1
        except av.FFmpegError as error:
            raise _broken(path, f"after {index} frames ({error.strerror})") from error
        if index == 0:
            raise _broken(path, "no frame can be read")


def read_frames(path: Path, wanted: Sequence[SmallFrame]) -> Iterator[Pictures.Image]:
    """Frames of a video in full, upright, in the order of their time stamps.

    A jump is checked against the small picture. Where the video's index leads elsewhere, all
    frames are read from the start.

    Args:
        path: of the video.
        wanted: from `small_frames`, in their order.

    Raises:
        InputError: if a frame is not found again.
    """
    with _opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        for small in wanted:
            container.seek(small.pts, stream=stream)
            frame = _at(container, stream, small) or _from_start(container, stream, small)
            if frame is None:
                raise _broken(path, f"frame {small.index} is not found a second time")
            picture = frame.to_image()
            turn = _UPRIGHT.get(round(frame.rotation) % 360)
            yield picture.transpose(turn) if turn is not None else picture


def _at(container: Any, stream: Any, small: SmallFrame) -> Any | None:
    """The wanted frame from here on, or None."""
    import av

    try:
        for frame in container.decode(stream):
            if frame.pts is not None and frame.pts >= small.pts:
                same = frame.pts == small.pts and np.array_equal(_small(frame), small.grey)
                return frame if same else None
    except av.FFmpegError:
        return None
    return None


def _from_start(container: Any, stream: Any, small: SmallFrame) -> Any | None:
    container.seek(stream.start_time or 0, stream=stream)
    return _at(container, stream, small)


def _small(frame: Any) -> NDArray[np.uint8]:
    """(h, w) grey levels."""
    scale = SMALL / max(frame.width, frame.height)
    size = (max(1, math.ceil(frame.width * scale)), max(1, math.ceil(frame.height * scale)))
    grey: NDArray[np.uint8] = frame.reformat(
        *size, format="gray", interpolation="AREA"
    ).to_ndarray()
    return grey


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """A video's container and its first video stream."""
    if find_spec("av") is None:
        raise MissingDependencyError(
            "PyAV, which reads videos, is not installed.",
            "Type: pip install 'labelkit-keypoints[video]'",
        )
    import av

    if not path.is_file():
        raise InputError(f"There is no video {path}.", "Give the path of a video file.")
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise _broken(path, str(error.strerror)) from error
    with container:
        if not container.streams.video:
            raise _broken(path, "it has no pictures")
        yield container, container.streams.video[0]


def _broken(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} is not a readable video ({reason}).",
        "Leave it out, or convert it: ffmpeg -i VIDEO repaired.mp4",
    )
