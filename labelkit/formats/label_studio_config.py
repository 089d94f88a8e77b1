"""The two labelling screens: tick what can be seen, and correct keypoints."""

from __future__ import annotations

from xml.etree import ElementTree

from labelkit.colours import keypoint_colours
from labelkit.errors import FormatError
from labelkit.skeleton import Skeleton

#: Names of the controls, as results refer to them in `from_name` and `to_name`.
IMAGE, KEYPOINTS, BOX, VISIBILITY, PRESENCE = "image", "keypoints", "box", "visibility", "presence"

#: The one label of boxes.
OBJECT = "object"

#: Choices for one keypoint; without any of them it is visible.
VISIBLE_CHOICE, OCCLUDED_CHOICE, ABSENT_CHOICE = "Visible", "Occluded", "Absent"

#: Ticked where an object was looked at and shows no keypoint; a box without ticks has no answer.
NOTHING_CHOICE = "(none of them)"

# Left out: keys of Label Studio's own tools and commands (b e h k o r u v), and ours below.
HOTKEYS = "1234567890qwtyipfgjlzxcm"
BOX_HOTKEY, NOTHING_HOTKEY = "n", "n"
VISIBILITY_HOTKEYS = {VISIBLE_CHOICE: "a", OCCLUDED_CHOICE: "s", ABSENT_CHOICE: "d"}

#: A hue that no keypoint has.
BOX_COLOUR = "#d633ff"

#: One row a keypoint, low enough for 14 of them and the choices to fit on a small screen.
STYLE = (
    ".lsf-choice, .lsf-choice__item, .lsf-choice__checkbox {line-height: 26px; min-height: 0} "
    ".lsf-labels {flex-direction: column; align-items: flex-start; margin: 6px 0} "
    ".lsf-labels .lsf-label {margin: 0 0 1px} "
    ".labelkit-panel h4 {margin: 4px 0 !important; font-size: 15px; line-height: 20px}"
)

#: How to add is said because a plain click inside a box selects the box.
CORRECTING = "Drag what is wrong. Missing? Choose its name, Ctrl+click its place."

#: Room for the toolbar. Label Studio fits the image before it adds that, and would hide 21
#: pixels of the screen at each side of the image, with the keypoints in them.
IMAGE_WIDTH = "calc(100% - 50px)"


def visibility_config(skeleton: Skeleton) -> str:
    """The screen on which annotators tick, for each box, the keypoints they can see.

    Every box must be answered before the task can be submitted; an object that shows nothing
    has a choice of its own.

    Raises:
        FormatError: if Label Studio cannot show one of the names.
    """
    root, panel = _screen(skeleton)
    _element(panel, "Header", value="Click a box: which keypoints can you see?", size="5")
    choices = _element(
        panel,
        "Choices",
        name=PRESENCE,
        toName=IMAGE,
        choice="multiple",
        perRegion="true",
        whenTagName=BOX,
        required="true",
        requiredMessage="Answer for every box: tick what can be seen, or (none of them).",
        layout="vertical",
    )
    for keypoint, hotkey in zip(skeleton.keypoints, _hotkeys(len(skeleton)), strict=True):
        _element(choices, "Choice", value=keypoint, **hotkey)
    _element(choices, "Choice", value=NOTHING_CHOICE, hotkey=NOTHING_HOTKEY)
    _box_labels(panel, hotkey="")
    return _text(root)


def correction_config(skeleton: Skeleton) -> str:
    """The screen on which annotators move keypoints and say which ones are occluded or absent.

    Raises:
        FormatError: if Label Studio cannot show one of the names.
    """
    root, panel = _screen(skeleton)
    _element(panel, "Header", value=CORRECTING, size="5")
    labels = _element(
        panel, "KeyPointLabels", name=KEYPOINTS, toName=IMAGE, strokeWidth="3", opacity="0.9"
    )
    colours = keypoint_colours(skeleton)
    for index, hotkey in enumerate(_hotkeys(len(skeleton))):
        name = skeleton.keypoints[index]
        _element(labels, "Label", value=name, background=colours[index], **hotkey)
    _box_labels(panel, hotkey=BOX_HOTKEY)
    selected = _element(panel, "View", visibleWhen="region-selected", whenTagName=KEYPOINTS)
    _element(selected, "Header", value="This keypoint is", size="5")
    choices = _element(
        selected,
        "Choices",
        name=VISIBILITY,
        toName=IMAGE,
        choice="single",
        perRegion="true",
        whenTagName=KEYPOINTS,
        layout="vertical",
    )
    for choice, key in VISIBILITY_HOTKEYS.items():
        _element(choices, "Choice", value=choice, hotkey=key)
    return _text(root)


def _screen(skeleton: Skeleton) -> tuple[ElementTree.Element, ElementTree.Element]:
    """The root, and the panel beside the image; below a tall image it would be off the screen."""
    for name in skeleton.keypoints:
        control = [c for c in name if not (c.isprintable() or c in "\t\n")]
        if name.startswith("$") or control or name == NOTHING_CHOICE:
            raise FormatError(
                f"Label Studio cannot show a keypoint named {name!r}.",
                "Rename it: no $ at the start, no control characters, not (none of them).",
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
    style = "flex:0 0 15em;margin-left:1em;max-height:85vh;overflow-y:auto"
    return root, _element(root, "View", className="labelkit-panel", style=style)


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
    key = {"hotkey": hotkey} if hotkey else {}
    _element(labels, "Label", value=OBJECT, background=BOX_COLOUR, **key)


def _hotkeys(count: int) -> list[dict[str, str]]:
    return [{"hotkey": HOTKEYS[i]} if i < len(HOTKEYS) else {} for i in range(count)]


def _element(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, attributes)


def _text(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"
