"""MediaPipe's environment for tests: its interpreter, with networks that find the white pixel."""

from __future__ import annotations

import sys
from pathlib import Path

from label_studio import script
from PIL import Image as Picture

from labelkit.bridges.mediapipe.networks import OWN

#: A keypoint is found at the middle of the first white pixel, if that is in the upper half. The
#: further to the left it is, the more visible.
_NETWORK = """
from types import SimpleNamespace as Some
import numpy as np

class {name}:
    def __init__(self, **options):
        print("a line that is no answer")
    def process(self, pixels):
        if pixels[0, 0, 2] == 77:
            raise RuntimeError("no such luck")
        rows, columns = np.nonzero((pixels == 255).all(axis=2))
        height, width = pixels.shape[:2]
        found = len(rows) and rows[0] < height / 2
        x, y = ((columns[0] + 0.5) / width, (rows[0] + 0.5) / height) if found else (0, 0)
        marks = Some(landmark=[Some(x=x, y=y, visibility=1 - x)] * {count}) if found else None
        side = Some(classification=[Some(score=0.75)])
        return Some(
            pose_landmarks=marks,
            multi_face_landmarks=[marks] if marks else None,
            multi_hand_landmarks=[marks] if marks else None,
            multi_handedness=[side],
        )
"""


def make_stub() -> None:
    """Make the environment in the user's cache, which the test has to have moved."""
    solutions = OWN.folder / "stub" / "mediapipe" / "python" / "solutions"
    solutions.mkdir(parents=True)
    for module, name, count in (("pose", "Pose", 33), ("face_mesh", "FaceMesh", 468)):
        (solutions / f"{module}.py").write_text(_NETWORK.format(name=name, count=count))
    (solutions / "hands.py").write_text(_NETWORK.format(name="Hands", count=21))
    script(OWN.program("python"), f'PYTHONPATH={OWN.folder / "stub"} exec {sys.executable} "$@"')
    (OWN.folder / "labelkit-complete").write_text(OWN.version)


def white_pixel(size_wh: tuple[int, int], at: tuple[int, int], path: Path) -> Path:
    """A black picture with one white pixel."""
    picture = Picture.new("RGB", size_wh)
    picture.putpixel(at, (255, 255, 255))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path
