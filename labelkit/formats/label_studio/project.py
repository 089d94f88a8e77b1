"""labelkit's projects in Label Studio: their title, their marker, the annotators' instructions."""

from __future__ import annotations

from html import escape
from typing import Any
from xml.etree import ElementTree

from labelkit.domain.skeleton import Skeleton
from labelkit.formats.label_studio.config import sides
from labelkit.formats.label_studio.tasks import VISIBILITY_TASK

#: Label Studio's limit for titles.
TITLE_CHARACTERS = 50

_MEANINGS = (
    "<ul><li><b>Visible</b> (a): you see the place itself. Nothing to choose.</li>"
    "<li><b>Occluded</b> (s): something covers it, but you know where it is.</li>"
    "<li><b>Absent</b> (d): outside the image, or impossible to locate. Deleting it (Backspace) "
    "means the same.</li></ul>"
)

_WHAT = {True: "visible keypoints", False: "keypoints"}


def marker(uid: str, kind: str) -> str:
    """The mark in a project's description by which a push finds it; projects keep it for life."""
    return f"[labelkit {uid} {kind}]"


def project_fields(name: str, uid: str, kind: str, skeleton: Skeleton) -> dict[str, Any]:
    """Fields of a new Label Studio project, without its labelling interface.

    Args:
        name: of the labelkit project.
        uid: of the labelkit project, from the label store.
        kind: "visibility" or "correction".
        skeleton: its keypoints are listed in the instructions.
    """
    what = _WHAT[kind == VISIBILITY_TASK]
    return {
        "title": f"{name[: TITLE_CHARACTERS - len(what) - 2]}: {what}",
        "description": f"Made by labelkit. Keep this mark: {marker(uid, kind)}",
        "expert_instruction": instructions(skeleton, kind),
        "show_instruction": True,
        # A task opens with its pre-annotation, which can be edited.
        "show_collab_predictions": True,
    }


def instructions(skeleton: Skeleton, kind: str) -> str:
    """The annotators' instructions as HTML: the steps, the answers, the keypoints by side."""
    if kind == VISIBILITY_TASK:
        parts = [
            "Click each box and tick every keypoint of that object that you can locate: visible, "
            "or hidden but certain. If there is none, tick <i>(none of them)</i>. Every box needs "
            "an answer."
        ]
    else:
        parts = [
            "<b>Drag</b> each keypoint that is in the wrong place. Ctrl and the mouse wheel zoom.",
            "<b>Click</b> a keypoint to mark it if it is not simply visible:" + _MEANINGS,
            "<b>Add</b> a missing keypoint: press Esc, so that nothing is selected, then its key, "
            "and Ctrl+click its place. While a keypoint is selected, a key renames <i>that "
            "one</i>: use this where left and right are swapped.",
            "<b>Add an object</b> that has no box: press Esc, then the key next to <i>object</i>, "
            "and Ctrl+drag its box. Then add its keypoints.",
        ]
    parts.append("<b>Delete</b> a box that shows no object: click inside it, then Backspace.")
    if skeleton.pairs:
        parts.append("Left and right are the object's own, not the image's.")
    names = [
        f"<li><b>{side}:</b> {', '.join(escape(skeleton.keypoints[k]) for k in members)}</li>"
        for side, members in sides(skeleton)
    ]
    parts.append(f"<ul>{''.join(names)}</ul>")
    # Empty lines, because Label Studio removes styles and the space between paragraphs.
    return "<br>".join(f"<div>{part}</div>" for part in parts)


def lacks(interface: str, ours: str) -> list[str]:
    """The controls and labels that our tasks need and a labelling interface does not have.

    People may change colours, hotkeys and texts, and add whatever they like.

    Args:
        interface: XML on the server.
        ours: XML as we would write it.

    Returns:
        names of controls and labels; all of ours if `interface` is not XML.
    """
    needed = _parts(ours)
    try:
        found = _parts(interface)
    except ElementTree.ParseError:
        found = set()
    return sorted(" ".join(part) for part in needed - found)


def _parts(interface: str) -> set[tuple[str, ...]]:
    """(tag, name) of each control, and (control's name, value) of each of its labels."""
    parts: set[tuple[str, ...]] = set()
    for element in ElementTree.fromstring(interface).iter():
        name = element.get("name")
        if name is not None:
            parts.add((element.tag, name))
            parts |= {
                (name, value)
                for tag in ("Label", "Choice")
                for child in element.iter(tag)
                if (value := child.get("value")) is not None
            }
    return parts
