"""What a Label Studio project of ours looks like: its title, its marker, what annotators read."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any
from xml.etree import ElementTree

from labelkit.formats.label_studio_tasks import VISIBILITY_TASK
from labelkit.skeleton import Skeleton

#: Label Studio's bounds for titles.
TITLE_CHARACTERS = 50

_WHAT = {True: "what can be seen", False: "keypoints"}


def marker(uid: str, kind: str) -> str:
    """What stands in the description of a project, by which it is found again."""
    return f"[labelkit {uid} {kind}]"


def project_fields(name: str, uid: str, kind: str, skeleton: Skeleton) -> dict[str, Any]:
    """Fields of a new Label Studio project, but for its labelling interface.

    Args:
        name: of the labelkit project.
        uid: its own name, from the label store.
        kind: "visibility" or "correction".
        skeleton: that annotators are told about.
    """
    what = _WHAT[kind == VISIBILITY_TASK]
    return {
        "title": f"{name[: TITLE_CHARACTERS - len(what) - 2]}: {what}",
        "description": f"Made by labelkit, which finds it by this mark: {marker(uid, kind)}",
        "expert_instruction": instructions(skeleton, kind),
        "show_instruction": True,
        # The pre-annotation is there when a task is opened, and can be edited.
        "show_collab_predictions": True,
    }


def instructions(skeleton: Skeleton, kind: str) -> str:
    """What annotators are told, as HTML: the keypoints by side, and what the answers mean."""
    sides = [
        (title, ", ".join(escape(skeleton.keypoints[k]) for k in members))
        for title, members in _by_side(skeleton)
    ]
    names = "".join(f"<li><b>{title}:</b> {text}</li>" for title, text in sides if text)
    left_right = (
        "<p>Left and right are the object's own, not the picture's.</p>" if skeleton.pairs else ""
    )
    if kind == VISIBILITY_TASK:
        work = (
            "<p>Click each box and tick every keypoint of that object whose place you can tell: "
            "seen, or hidden with its place beyond doubt. Tick <i>(none of them)</i> where there "
            "is none.</p>"
        )
    else:
        work = (
            "<p>Drag each keypoint that is in the wrong place. Delete it where it is outside of "
            "the picture or cannot be told. Missing? Choose its name and Ctrl+click its place.</p>"
            "<ul><li><b>Visible:</b> you see the place itself (nothing to choose).</li>"
            "<li><b>Occluded:</b> something covers it, and you know where it is.</li>"
            "<li><b>Absent:</b> outside of the picture, or nobody can tell.</li></ul>"
        )
    return f"{work}{left_right}<ul>{names}</ul>"


def lacks(interface: str, ours: str) -> list[str]:
    """What a labelling interface would need to have for our tasks, and has not.

    People may change colours, hotkeys, texts and add what they like.

    Args:
        interface: XML as the server has it.
        ours: XML as we would write it.

    Returns:
        names of controls and labels; everything if it is no XML.
    """
    wanted = _parts(ours)
    try:
        found = _parts(interface)
    except ElementTree.ParseError:
        found = set()
    return sorted(" ".join(part) for part in wanted - found)


def _parts(interface: str) -> set[tuple[str, ...]]:
    """(tag, name) of each control, and (control's name, value) of each of its labels."""
    parts: set[tuple[str, ...]] = set()
    for element in ElementTree.fromstring(interface).iter():
        name = element.get("name")
        if name is not None:
            parts.add((element.tag, name))
            parts |= {
                (name, value) for child in element if (value := child.get("value")) is not None
            }
    return parts


def _by_side(skeleton: Skeleton) -> list[tuple[str, Sequence[int]]]:
    left = [pair[0] for pair in skeleton.pairs]
    right = [pair[1] for pair in skeleton.pairs]
    both = {*left, *right}
    middle = [k for k in range(len(skeleton)) if k not in both]
    if not both:
        return [("Keypoints", middle)]
    return [("Left", sorted(left)), ("Right", sorted(right)), ("Middle", middle)]
