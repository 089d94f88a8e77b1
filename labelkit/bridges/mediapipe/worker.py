"""Answer where MediaPipe sees a person, a face or a hand; runs in MediaPipe's own environment.

    python worker.py pose|face|hands

On stdin, a picture is a line "HEIGHT WIDTH" and HEIGHT * WIDTH * 3 bytes of RGB. The answer on
stdout is a line of JSON: null, or a list of [x, y, score], x and y as shares of width and height.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

#: [x, y, score] of every keypoint.
Rows = list[list[float]]


def main(what: str) -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what MediaPipe prints is no answer
    import numpy as np

    find = FINDERS[what]()
    for line in iter(sys.stdin.buffer.readline, b""):
        height, width = map(int, line.split())
        pixels = np.frombuffer(sys.stdin.buffer.read(height * width * 3), dtype=np.uint8)
        print(json.dumps(find(pixels.reshape(height, width, 3))), file=answers, flush=True)


def pose() -> Callable[[Any], Rows | None]:
    """BlazePose: the most prominent person; the score is the visibility of a keypoint."""
    from mediapipe.python.solutions.pose import Pose

    network = Pose(static_image_mode=True, model_complexity=1, min_detection_confidence=0.1)

    def find(pixels: Any) -> Rows | None:
        marks = network.process(pixels).pose_landmarks
        return marks and [[p.x, p.y, p.visibility] for p in marks.landmark]

    return find


def face() -> Callable[[Any], Rows | None]:
    """FaceMesh: the most prominent face; it has no scores."""
    from mediapipe.python.solutions.face_mesh import FaceMesh

    network = FaceMesh(static_image_mode=True, max_num_faces=1, min_detection_confidence=0.3)

    def find(pixels: Any) -> Rows | None:
        faces = network.process(pixels).multi_face_landmarks
        return [[p.x, p.y, 1.0] for p in faces[0].landmark] if faces else None

    return find


def hands() -> Callable[[Any], Rows | None]:
    """MediaPipe Hands: the most prominent hand; the score is how certain its side is."""
    from mediapipe.python.solutions.hands import Hands

    network = Hands(static_image_mode=True, max_num_hands=1, min_detection_confidence=0.3)

    def find(pixels: Any) -> Rows | None:
        found = network.process(pixels)
        if not found.multi_hand_landmarks:
            return None
        score = found.multi_handedness[0].classification[0].score
        return [[p.x, p.y, score] for p in found.multi_hand_landmarks[0].landmark]

    return find


FINDERS = {"pose": pose, "face": face, "hands": hands}

if __name__ == "__main__":
    main(sys.argv[1])
