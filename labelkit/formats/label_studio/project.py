"""labelkit's projects in Label Studio: their title, their marker, the annotators' instructions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any
from xml.etree import ElementTree

from numpy.typing import ArrayLike

from labelkit.domain.skeleton import Skeleton
from labelkit.formats.label_studio.config import (
    ALL_CHOICE,
    ALL_HOTKEY,
    NOTHING_CHOICE,
    NOTHING_HOTKEY,
    PRESENCE,
    sides,
)
from labelkit.formats.label_studio.picture import data_url, skeleton_picture
from labelkit.formats.label_studio.tasks import ONE_OBJECT, VISIBILITY_TASK

#: Label Studio's limit for titles.
TITLE_CHARACTERS = 50

_MEANINGS = (
    "<ul><li><b>Visible</b> (a): you see the place itself. Nothing to choose.</li>"
    "<li><b>Occluded</b> (s): something covers it, but you know where it is.</li>"
    "<li><b>Absent</b> (d): outside the image, or impossible to locate. Deleting it (Backspace) "
    "means the same.</li></ul>"
)

_TICK_BOXES = "Click each box, which needs an answer, and tick every keypoint of that object that"

_ADD_OBJECT = (
    "<b>Add an object</b> that has no box: press Esc, then the key next to <i>object</i>, and "
    "Ctrl+drag its box. Then add its keypoints."
)

_NO_OBJECT_IN_BOX = "<b>Delete</b> a box that shows no object: click inside it, then Backspace."
_NO_OBJECT = (
    "White corners show which object is meant, if there are others. If there is no object, press "
    "<b>Skip</b>."
)

#: Style of the part of an interface that holds former labels.
_HIDDEN = "display:none"

_WHAT = {True: "visible keypoints", False: "keypoints"}


def marker(uid: str, kind: str) -> str:
    """The mark in a project's description by which a push finds it; projects keep it for life."""
    return f"[labelkit {uid} {kind}]"


def marks_another(facts: Mapping[str, Any], uid: str) -> bool:
    """Whether a Label Studio project belongs to another labelkit project.

    Args:
        facts: as the server gives them.
        uid: of the labelkit project.
    """
    description = str(facts.get("description") or "")
    return "[labelkit " in description and f"[labelkit {uid} " not in description


def project_fields(
    name: str, uid: str, kind: str, skeleton: Skeleton, figure: ArrayLike | None = None
) -> dict[str, Any]:
    """Fields of a new Label Studio project, without its labelling interface.

    Args:
        name: of the labelkit project.
        uid: of the labelkit project, from the label store.
        kind: "visibility" or "correction", with `ONE_OBJECT` behind it where its tasks are about
            one object each.
        skeleton: its keypoints are listed in the instructions.
        figure: (K, 2) a pose to draw there; None draws nothing.
    """
    what = _WHAT[kind.startswith(VISIBILITY_TASK)]
    return {
        "title": f"{name[: TITLE_CHARACTERS - len(what) - 2]}: {what}",
        "description": f"Made by labelkit. Keep this mark: {marker(uid, kind)}",
        "expert_instruction": instructions(skeleton, kind, figure),
        "show_instruction": True,
        # A task opens with its pre-annotation, which can be edited.
        "show_collab_predictions": True,
    }


def instructions(skeleton: Skeleton, kind: str, figure: ArrayLike | None = None) -> str:
    """The annotators' instructions as HTML: the steps, the answers, the keypoints by side.

    Args:
        skeleton, kind, figure: as in `project_fields`.
    """
    one_object = kind.endswith(ONE_OBJECT)
    if kind.startswith(VISIBILITY_TASK):
        how = "Tick every keypoint that" if one_object else _TICK_BOXES
        parts = [
            f"{how} you can locate: visible, or hidden but certain. <i>{ALL_CHOICE}</i> has the "
            f"key {ALL_HOTKEY}, <i>{NOTHING_CHOICE}</i> the key {NOTHING_HOTKEY}."
        ]
    else:
        parts = [
            "<b>Drag</b> each keypoint that is in the wrong place. Ctrl and the mouse wheel zoom.",
            "<b>Click</b> a keypoint to mark it if it is not simply visible:" + _MEANINGS,
            "<b>Add</b> a missing keypoint: press Esc, so that nothing is selected, then its key, "
            f"and {'click' if one_object else 'Ctrl+click'} its place. While a keypoint is "
            "selected, a key renames <i>that one</i>: use this where left and right are swapped.",
            "<b>See the names</b> of the keypoints beside them: open the settings (the sliders "
            "below the image) and switch on <i>Show region labels</i>. Your browser remembers it.",
            "<b>No keypoints?</b> Place all of them. After the first training, too, a few tasks "
            "come without: they show what pre-annotation saves.",
        ]
        if not one_object:
            parts.append(_ADD_OBJECT)
    parts.append(_NO_OBJECT if one_object else _NO_OBJECT_IN_BOX)
    parts.append("<b>Ctrl+Enter</b> submits, and shows the next task.")
    if skeleton.pairs:
        parts.append("Left and right are the object's own, not the image's.")
    if figure is not None:
        parts.append(_picture(skeleton, figure))
    parts.append("<ul>" + "".join(_listed(skeleton)) + "</ul>")
    # Empty lines, because Label Studio removes styles and the space between paragraphs.
    text = "<br>".join(f"<div>{part}</div>" for part in parts)
    return f'{text}<div class="labelkit-{_digest(text)}"></div>'


def may_replace(text: str) -> bool:
    """Whether instructions are labelkit's own, which no one has changed since."""
    text, mark, rest = text.rpartition('<div class="labelkit-')
    return bool(mark) and rest == f'{_digest(text)}"></div>'


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _listed(skeleton: Skeleton) -> Iterator[str]:
    """The keypoints of each side; those with a description get a line of their own."""
    texts = dict(skeleton.descriptions)
    for side, members in sides(skeleton):
        names = [skeleton.keypoints[k] for k in members]
        plain = ", ".join(escape(name) for name in names if name not in texts)
        described = "".join(
            f"<li><b>{escape(name)}</b>: {escape(texts[name])}</li>"
            for name in names
            if name in texts
        )
        yield f"<li><b>{side}:</b> {plain}{f'<ul>{described}</ul>' if described else ''}</li>"


def _picture(skeleton: Skeleton, figure: ArrayLike) -> str:
    """The skeleton as a background: of images Label Studio keeps no address that holds them."""
    svg, (width, height) = skeleton_picture(skeleton, figure)
    place = f'width:{width}px;height:{height}px;background:url("{data_url(svg)}")'
    return f'<style>.labelkit-skeleton{{{place}}}</style><div class="labelkit-skeleton"></div>'


def lacks(interface: str, ours: str) -> list[str]:
    """The controls and labels that our tasks need and a labelling interface does not have.

    People may change colours, hotkeys and texts, and add whatever they like.

    Args:
        interface: XML on the server.
        ours: XML as we would write it.

    Returns:
        names of controls and labels; all of ours if `interface` is not XML.
    """
    needed = _parts(ours) - {(PRESENCE, ALL_CHOICE)}  # a short cut, which earlier versions lacked
    try:
        found = _parts(interface)
    except ElementTree.ParseError:
        found = set()
    return sorted(" ".join(part) for part in needed - found)


def surplus(interface: str, ours: str) -> list[str]:
    """The labels that an interface shows in our controls and that our tasks do not use.

    Args:
        interface: XML on the server.
        ours: XML as we would write it.

    Returns:
        names; none if `interface` is not XML.
    """
    controls = {element.get("name") for element in ElementTree.fromstring(ours).iter()} - {None}
    try:
        root = ElementTree.fromstring(interface)
    except ElementTree.ParseError:
        return []
    for parent in list(root.iter()):
        for child in [child for child in parent if child.get("style") == _HIDDEN]:
            parent.remove(child)
    shown = _parts(ElementTree.tostring(root, encoding="unicode")) - _parts(ours)
    return sorted(value for control, value in shown if control in controls)


def with_former(ours: str, interface: str) -> str:
    """Our interface, and hidden in it the labels that another version of it has besides.

    Annotations keep the labels that they were made with, and Label Studio shows only those that
    the interface has.

    Args:
        ours: XML as we would write it.
        interface: XML on the server.
    """
    root = ElementTree.fromstring(ours)
    try:
        former = _parts(interface) - _parts(ours)
    except ElementTree.ParseError:
        return ours
    for control in list(root.iter()):
        values = sorted(value for name, value in former if name == control.get("name"))
        if values:
            hidden = ElementTree.SubElement(control, "View", style=_HIDDEN)
            tag = "Choice" if control.tag == "Choices" else "Label"
            for value in values:  # without a hotkey Label Studio would choose one
                ElementTree.SubElement(hidden, tag, value=value, hotkey="")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


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
