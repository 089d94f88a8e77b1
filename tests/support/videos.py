"""Small videos, made in a test: a bright square that moves over a dark ground."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

#: Time stamps are in milliseconds.
TIME_BASE = Fraction(1, 1000)


def moving_square(index: int) -> np.ndarray:
    """(48, 64, 3) a square of 8 pixels that moves 2 pixels a frame."""
    picture = np.full((48, 64, 3), 40, np.uint8)
    left = 2 * index % 56
    picture[20:28, left : left + 8] = 220
    return picture


def make_video(
    path: Path,
    milliseconds: Sequence[int],
    picture: Callable[[int], np.ndarray] = moving_square,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a video with a frame at each time.

    Args:
        path: its suffix decides the container.
        milliseconds: time stamp of each frame, rising.
        picture: of each frame by its number, (H, W, 3).
        options: of the encoder.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1000, options=options or {"g": "8"})
        stream.height, stream.width = picture(0).shape[:2]
        stream.pix_fmt, stream.time_base = "yuv420p", TIME_BASE
        stream.codec_context.time_base = TIME_BASE
        for number, time in enumerate(milliseconds):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = time, TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def turn_by_90_degrees(path: Path) -> None:
    """Write into an MP4's header that it is shown turned clockwise, as telephones do."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    data[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
