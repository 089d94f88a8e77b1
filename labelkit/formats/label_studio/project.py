"""What a Label Studio project of ours looks like: its title, its marker, what annotators read."""

from __future__ import annotations

from html import escape
from typing import Any
from xml.etree import ElementTree

from labelkit.domain.skeleton import Skeleton
from labelkit.formats.label_studio.config import sides
from labelkit.formats.label_studio.tasks import VISIBILITY_TASK

#: Label Studio's bounds for titles.
TITLE_CHARACTERS = 50

_MEANINGS = (
    "<ul><li><b>Visible</b> (a): you see the place itself. Nothing to choose.</li>"
    "<li><b>Occluded</b> (s): something covers it, and you know where it is.</li>"
    "<li><b>Absent</b> (d): outside of the picture, or nobody can tell. Deleting it (Backspace) "
    "says the same.</li></ul>"
)

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
    """What annotators are told, as HTML: what to do, what the answers mean, keypoints by side."""
    if kind == VISIBILITY_TASK:
        parts = [
            "Click each box and tick every keypoint of that object whose place you can tell: "
            "seen, or hidden with its place beyond doubt. Tick <i>(none of them)</i> where there "
            "is none. Every box wants an answer."
        ]
    else:
        parts = [
            "<b>Drag</b> each keypoint that is in the wrong place. Ctrl and the mouse wheel zoom.",
            "<b>Click</b> a keypoint, and say if it is not simply visible:" + _MEANINGS,
            "<b>Add</b> one that is missing: press Esc, so that nothing is selected, then its key, "
            "and Ctrl+click its place. While a keypoint is selected, a key gives <i>that one</i> "
            "another name: this mends left and right that are mixed up.",
            "<b>Add an object</b> that has no box: press Esc, the key beside <i>object</i>, and "
            "Ctrl+drag its box; then its keypoints.",
        ]
    parts.append("<b>Delete</b> a box around what is no object: click inside it, then Backspace.")
    if skeleton.pairs:
        parts.append("Left and right are the object's own, not the picture's.")
    names = [
        f"<li><b>{side}:</b> {', '.join(escape(skeleton.keypoints[k]) for k in members)}</li>"
        for side, members in sides(skeleton)
    ]
    parts.append(f"<ul>{''.join(names)}</ul>")
    # Empty lines, because Label Studio takes away the space between paragraphs, and styles.
    return "<br>".join(f"<div>{part}</div>" for part in parts)


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
                (name, value)
                for tag in ("Label", "Choice")
                for child in element.iter(tag)
                if (value := child.get("value")) is not None
            }
    return parts
