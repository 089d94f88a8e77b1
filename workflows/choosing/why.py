"""Why an object is drawn early or late, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from labelkit.workflows.choosing.signals import DOUBTS, Signals


def reasons(
    signals: Signals, place: int, labelled: Sequence[int], keypoints: Sequence[str]
) -> tuple[str, ...]:
    """What strategies know of an object, a sentence each.

    Args:
        signals: of the newest round.
        place: of the object in them.
        labelled: places of the objects that have keypoints.
        keypoints: K names.
    """
    objects = signals.objects
    if not signals.doubts:
        return ("No round has predicted it: the draw is random.",)
    lines = [f"Uncertainty {objects.uncertainty[place]:.2f} (0 certain to 1)."]
    for name, rank in sorted(signals.doubts.items(), key=lambda item: -item[1][place]):
        if rank[place] > 0.5:
            lines.append(f"More than for {rank[place]:.0%} of the objects, {DOUBTS[name]}.")
    if (least := signals.least[place]) >= 0:
        lines.append(f"Its least certain keypoint is {keypoints[least]}.")
    if objects.rarity[place] > 0.5:
        lines.append("It shows a keypoint that few labels have.")
    others = np.array([item for item in labelled if item != place], dtype=np.int64)
    if len(others) and signals.compared:
        features = objects.feature.astype(np.float32)
        near = np.linalg.norm(features[others] - features[place], axis=1)
        than = np.linalg.norm(features - features[place], axis=1)
        share = float((than > near.min()).mean())
        lines.append(
            f"By {signals.compared}, a labelled object looks more like it than {share:.0%} of all "
            "objects do."
        )
        if same := int((objects.image[others] == objects.image[place]).sum()):
            lines.append(f"Labelled objects in its image: {same}.")
    return tuple(lines)
