"""The networks of MediaPipe: their keypoints, and poses of pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import NDArray

from labelkit.bridges.environment import OwnEnvironment
from labelkit.errors import ServiceError

#: Later versions download their networks; this one has them inside. Python 3.13 has no package.
OWN = OwnEnvironment(
    title="MediaPipe",
    package="mediapipe",
    version="0.10.21",
    megabytes=900,
    python=sys.executable if sys.version_info < (3, 13) else "python3.12",
)

#: Data sets of faces have so many keypoints, often without names.
FACE_MARKS = 68

#: (F, 3) x, y and score of the keypoints of one object; x and y in pixels.
Found = NDArray[np.float64]
#: Finds an object in (H, W, 3) uint8 RGB pixels.
Find = Callable[[NDArray[np.uint8]], Found | None]


@dataclass(frozen=True, slots=True)
class Network:
    """One network.

    Attributes:
        name: after `--with`.
        objects: what it finds.
        keypoints: F names.
        margin: around an object's box, as a share of its long side.
    """

    name: str
    objects: str
    keypoints: tuple[str, ...]
    margin: float

    @contextmanager
    def running(self) -> Iterator[Find]:
        """Run it, until the block ends, in its environment, which has to be there.

        Raises:
            ServiceError: from a call, if the program ended.
        """
        program = [OWN.program("python"), Path(__file__).with_name("worker.py")]
        what = self.name.removeprefix("mediapipe-")
        with (
            TemporaryFile() as log,
            subprocess.Popen(
                [*program, what],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for labelkit
            ) as process,
        ):
            stdin, stdout = process.stdin, process.stdout
            assert stdin is not None
            assert stdout is not None

            def find(pixels: NDArray[np.uint8]) -> Found | None:
                height, width = pixels.shape[:2]
                try:
                    stdin.write(f"{height} {width}\n".encode())
                    stdin.write(np.ascontiguousarray(pixels).data)
                    stdin.flush()
                    rows = json.loads(stdout.readline())
                except (BrokenPipeError, ValueError) as error:
                    process.wait()
                    log.seek(0)
                    last = (log.read().decode(errors="replace").strip() or "no reason")[-300:]
                    raise ServiceError(
                        f"MediaPipe stopped: {last.splitlines()[-1]}",
                        f"Install it again: rm -r {OWN.folder}, and the same command once more.",
                    ) from error
                return None if rows is None else np.array(rows) * [width, height, 1]

            try:
                yield find
            finally:
                process.kill()
                with suppress(BrokenPipeError):  # of a picture that it did not take
                    stdin.close()


def network_for(keypoints: Sequence[str]) -> Network | None:
    """The network that knows what has these keypoints, as far as their names and number tell."""
    names = " ".join(keypoints).lower()

    def count(*words: str) -> int:
        return sum(word in names for word in words)

    if count("tail", "paw", "hoof", "wing", "beak", "snout", "whisker", "withers"):
        return None
    if count("shoulder", "elbow", "wrist", "hip", "knee", "ankle") >= 4:
        return NETWORKS["mediapipe-pose"]
    if count("thumb", "index", "middle", "ring", "pinky", "little") >= 4:
        return NETWORKS["mediapipe-hands"]
    named = count("eye", "nose", "mouth", "lip", "brow", "chin", "jaw", "cheek") >= 3
    return NETWORKS["mediapipe-face"] if named or len(keypoints) == FACE_MARKS else None


def find_turned(find: Find, pixels: NDArray[np.uint8]) -> Found | None:
    """The object in a picture, which is turned by quarters until one is found.

    Args:
        find: see `Network.running`.
        pixels: (H, W, 3) uint8 RGB.
    """
    for turns in range(4):
        found = find(np.rot90(pixels, turns))
        if found is not None:
            return turned_back(found, turns, pixels.shape[1], pixels.shape[0])
    return None


def turned_back(found: Found, turns: int, width: int, height: int) -> Found:
    """Keypoints of a picture that was turned, in the picture as it was.

    Args:
        found: (F, 3) in the pixels of the turned picture.
        turns: quarter turns to the left that it was turned by.
        width, height: of the picture as it was, in pixels.
    """
    x, y, score = found.T
    back = ((x, y), (width - y, x), (width - x, height - y), (y, height - x))[turns]
    return np.column_stack([*back, score])


_SIDES = ("left", "right")

#: BlazePose's, of one person.
PERSON = (
    "nose",
    *(f"{side}_eye{part}" for side in _SIDES for part in ("_inner", "", "_outer")),
    *("left_ear", "right_ear", "mouth_left", "mouth_right"),
    *(
        f"{side}_{part}"
        for part in ("shoulder", "elbow", "wrist", "pinky", "index", "thumb")
        for side in _SIDES
    ),
    *(
        f"{side}_{part}"
        for part in ("hip", "knee", "ankle", "heel", "foot_index")
        for side in _SIDES
    ),
)

#: FaceMesh's have numbers, not names.
FACE = tuple(map(str, range(468)))

HAND = (
    "wrist",
    *(f"thumb_{joint}" for joint in ("cmc", "mcp", "ip", "tip")),
    *(
        f"{finger}_{joint}"
        for finger in ("index_finger", "middle_finger", "ring_finger", "pinky")
        for joint in ("mcp", "pip", "dip", "tip")
    ),
)

NETWORKS = {
    network.name: network
    for network in (
        Network("mediapipe-pose", "people", PERSON, 0.5),
        Network("mediapipe-face", "faces", FACE, 0.25),
        Network("mediapipe-hands", "hands", HAND, 0.25),
    )
}
