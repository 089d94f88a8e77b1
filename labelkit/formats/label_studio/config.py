"""The labelling screens: tick the visible keypoints, and correct keypoints.

Each is for tasks that show every object of an image with its box, or for tasks about one object,
which need no box.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from labelkit.domain.colours import LEFT, MIDDLE, RIGHT, keypoint_colours
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import FormatError

#: Names of the controls, as results refer to them in `from_name` and `to_name`.
IMAGE, KEYPOINTS, BOX, VISIBILITY, PRESENCE = "image", "keypoints", "box", "visibility", "presence"

#: The only label of boxes.
OBJECT = "object"

#: Choices for one keypoint; without a choice it is visible.
VISIBLE_CHOICE, OCCLUDED_CHOICE, ABSENT_CHOICE = "Visible", "Occluded", "Absent"

#: The answers for an object that shows every keypoint, and none; without ticks there is no answer.
ALL_CHOICE, NOTHING_CHOICE = "(all of them)", "(none of them)"

# Left out: the keys of Label Studio's own tools and commands (h k r u v), and ours below. The
# single keys come first, then those with Shift, without digits, which Label Studio uses.
_KEYS = "1234567890qwtyipfgjlzxcmeob"
HOTKEYS = (*_KEYS, *(f"⇧+{key}" for key in _KEYS if key.isalpha()))
BOX_HOTKEY, NEW_BOX_HOTKEY, ALL_HOTKEY, NOTHING_HOTKEY = "n", "d", "a", "n"
VISIBILITY_HOTKEYS = {VISIBLE_CHOICE: "a", OCCLUDED_CHOICE: "s", ABSENT_CHOICE: "d"}

#: No keypoint has it.
BOX_COLOUR = "#d633ff"

#: With more keypoints than this, the sides are next to each other in smaller type.
ONE_COLUMN = 17

#: Low rows, so that the panel fits on a small screen without scrolling; each side has a stripe in
#: the colour of its keypoints. Dots have a light and a dark rim, to be seen on any image.
STYLE = (
    ".konvajs-content canvas {filter: drop-shadow(0 0 1px #fff) drop-shadow(0 0 1px #000)} "
    ".labelkit-panel .lsf-choices, .labelkit-panel .lsf-labels {display: block; margin: 0 0 4px} "
    ".labelkit-panel .lsf-choices_hidden {display: none !important} "
    ".labelkit-panel .lsf-choice, .labelkit-panel .lsf-choice__item, "
    ".labelkit-panel .lsf-choice__checkbox {line-height: 22px; min-height: 0; margin: 0} "
    ".labelkit-panel .lsf-label {display: flex; width: fit-content; margin: 0 0 1px; "
    "line-height: 20px} "
    ".labelkit-panel .lsf-label_selected span {text-shadow: 0 0 2px #000, 0 0 2px #000} "
    ".labelkit-panel h4 {margin: 0 0 4px !important; font-size: 15px; line-height: 20px} "
    ".labelkit-side h4 {margin: 2px 0 !important; font-size: 13px; line-height: 16px} "
    ".labelkit-selected {min-height: 72px} "
    f".lsf-choices .labelkit-side {{border-left: 4px solid {LEFT[0]}; padding-left: 6px; "
    "margin-bottom: 3px} "
    f".lsf-choices .labelkit-right {{border-color: {RIGHT[0]}}} "
    ".lsf-choices .labelkit-middle, .lsf-choices .labelkit-keypoints "
    f"{{border-color: {MIDDLE[0]}}} "
    ".labelkit-wide .lsf-choices, .labelkit-wide .lsf-labels, "
    ".labelkit-wide .labelkit-middle, .labelkit-wide .labelkit-keypoints "
    "{display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); column-gap: 6px; "
    "align-content: start; width: 100%} "
    ".labelkit-wide .labelkit-middle, .labelkit-wide .labelkit-keypoints, .labelkit-side h4 "
    "{grid-column: 1 / -1} "
    ".labelkit-wide .lsf-label, .labelkit-wide .lsf-choice__checkbox "
    "{font-size: 12px} "
    ".labelkit-wide .labelkit-selected {min-height: 26px} "
    ".labelkit-wide .labelkit-selected .lsf-choices {display: flex; column-gap: 8px}"
)

#: Instructions above the names, of tasks with boxes and of those about one object.
TICKING = "Click a box, then tick what you could point at."
TICKING_ONE = "Tick what you could point at. No object? Skip."

#: Ctrl+click, because a plain click inside a box selects the box; Esc, because choosing a name
#: renames the selected keypoint.
CORRECTING = "Drag what is wrong. To add a keypoint: Esc, its key, then Ctrl+click its place."
CORRECTING_ONE = (
    "Drag what is wrong. To add a keypoint: Esc, its key, then click its place. No object? Skip."
)

#: Leaves room for the toolbar. Label Studio fits the image before it adds the toolbar, and would
#: hide 21 screen pixels at each side of the image, with the keypoints in them.
IMAGE_WIDTH = "calc(100% - 50px)"


def visibility_config(skeleton: Skeleton, *, one_object: bool = False) -> str:
    """The screen on which annotators tick the keypoints they can see.

    Every object must be answered before the task can be submitted; all and none of the keypoints
    have their own choices.

    Args:
        skeleton: of the project.
        one_object: for tasks about one object, instead of tasks with boxes.

    Returns:
        Label Studio's labelling interface as XML.

    Raises:
        FormatError: if Label Studio cannot show one of the names.
    """
    root, panel = _screen(skeleton)
    _element(panel, "Header", value=TICKING_ONE if one_object else TICKING, size="5")
    of_box = {} if one_object else {"perRegion": "true", "whenTagName": BOX}
    every = "" if one_object else " for every box"
    choices = _element(
        panel,
        "Choices",
        name=PRESENCE,
        toName=IMAGE,
        choice="multiple",
        **of_box,
        required="true",
        requiredMessage=f"Answer{every}: tick what you could point at, or {NOTHING_CHOICE}.",
        layout="vertical",
    )
    for choice, key in ((ALL_CHOICE, ALL_HOTKEY), (NOTHING_CHOICE, NOTHING_HOTKEY)):
        _element(choices, "Choice", value=choice, hotkey=key)
    for group, keypoints in _groups(choices, skeleton):
        for index, attributes in keypoints:
            _element(group, "Choice", value=skeleton.keypoints[index], **attributes)
    if not one_object:
        _box_labels(panel, hotkey=NEW_BOX_HOTKEY)
    return _text(root)


def correction_config(skeleton: Skeleton, *, one_object: bool = False) -> str:
    """The screen on which annotators move keypoints and mark them as occluded or absent.

    Args:
        skeleton, one_object: as in `visibility_config`.

    Returns:
        Label Studio's labelling interface as XML.

    Raises:
        FormatError: if Label Studio cannot show one of the names.
    """
    root, panel = _screen(skeleton)
    _element(panel, "Header", value=CORRECTING_ONE if one_object else CORRECTING, size="5")
    _element(panel, "Header", value="The selected keypoint is", size="5")
    # Above the names and of fixed height, so that nothing moves when a keypoint is selected.
    selected = _element(panel, "View", className="labelkit-selected")
    choices = _element(
        selected,
        "Choices",
        name=VISIBILITY,
        toName=IMAGE,
        choice="single",
        perRegion="true",
        visibleWhen="region-selected",
        whenTagName=KEYPOINTS,
        layout="vertical",
    )
    for choice, key in VISIBILITY_HOTKEYS.items():
        _element(choices, "Choice", value=choice, hotkey=key)
    labels = _element(
        panel, "KeyPointLabels", name=KEYPOINTS, toName=IMAGE, strokeWidth="3", opacity="0.9"
    )
    colours = keypoint_colours(skeleton)
    for group, keypoints in _groups(labels, skeleton):
        for index, attributes in keypoints:
            name = skeleton.keypoints[index]
            _element(group, "Label", value=name, background=colours[index], **attributes)
    if not one_object:
        _box_labels(panel, hotkey=BOX_HOTKEY)
    return _text(root)


def sides(skeleton: Skeleton) -> list[tuple[str, list[int]]]:
    """Keypoint indices as the screens list them: ("Left", [...]), ("Right", ...), ("Middle", ...).

    Partners have the same place in their lists. Without pairs there is one list, "Keypoints".
    """
    pairs = sorted(skeleton.pairs, key=min)
    left, right = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    middle = sorted(set(range(len(skeleton))).difference(left, right))
    if not pairs:
        return [("Keypoints", middle)]
    listed = [("Left", left), ("Right", right), ("Middle", middle)]
    return [(side, members) for side, members in listed if members]


def _groups(
    control: ElementTree.Element, skeleton: Skeleton
) -> Iterator[tuple[ElementTree.Element, list[tuple[int, dict[str, str]]]]]:
    """A part of a control for each side, and in it the index of each keypoint with attributes.

    These are its hotkey, and its description, which appears under the mouse.
    """
    keys, hints = iter(HOTKEYS), dict(skeleton.descriptions)
    for side, members in sides(skeleton):
        group = _element(control, "View", className=f"labelkit-side labelkit-{side.lower()}")
        _element(group, "Header", value=side, size="5")
        keypoints = []
        for index in members:
            named = {"hotkey": next(keys, ""), "hint": hints.get(skeleton.keypoints[index], "")}
            keypoints.append((index, {key: value for key, value in named.items() if value}))
        yield group, keypoints


def _screen(skeleton: Skeleton) -> tuple[ElementTree.Element, ElementTree.Element]:
    """The root, and the panel next to the image; below a tall image it would be off the screen."""
    for name in skeleton.keypoints:
        control = [c for c in name if not (c.isprintable() or c in "\t\n")]
        if name.startswith("$") or control or name in (ALL_CHOICE, NOTHING_CHOICE):
            raise FormatError(
                f"Label Studio cannot show a keypoint named {name!r}.",
                "Rename it: no $ at the start, no control characters, not "
                f"{ALL_CHOICE} or {NOTHING_CHOICE}.",
            )
    root = ElementTree.Element("View", style="display:flex;align-items:flex-start")
    _element(root, "Style").text = STYLE
    picture = _element(root, "View", style="flex:1 1 auto;min-width:0")
    _element(
        picture,
        "Image",
        name=IMAGE,
        value="$image",
        maxWidth=IMAGE_WIDTH,
        zoom="true",
        zoomControl="true",
        rotateControl="false",
    )
    wide = len(skeleton) > ONE_COLUMN
    width = "21em" if wide else "15em"
    name = "labelkit-panel labelkit-wide" if wide else "labelkit-panel"
    style = f"flex:0 0 {width};margin-left:1em;max-height:85vh;overflow-y:auto"
    return root, _element(root, "View", className=name, style=style)


def _box_labels(panel: ElementTree.Element, hotkey: str) -> None:
    labels = _element(
        panel,
        "RectangleLabels",
        name=BOX,
        toName=IMAGE,
        canRotate="false",
        opacity="0.03",
        strokeWidth="2",
    )
    _element(labels, "Label", value=OBJECT, background=BOX_COLOUR, hotkey=hotkey)


def _element(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, attributes)


def _text(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"
