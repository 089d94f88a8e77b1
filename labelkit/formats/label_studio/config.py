"""The two labelling screens: tick the visible keypoints, and correct keypoints."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from labelkit.domain.colours import keypoint_colours
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import FormatError

#: Names of the controls, as results refer to them in `from_name` and `to_name`.
IMAGE, KEYPOINTS, BOX, VISIBILITY, PRESENCE = "image", "keypoints", "box", "visibility", "presence"

#: The only label of boxes.
OBJECT = "object"

#: Choices for one keypoint; without a choice it is visible.
VISIBLE_CHOICE, OCCLUDED_CHOICE, ABSENT_CHOICE = "Visible", "Occluded", "Absent"

#: The answer for an object that shows no keypoint; a box without ticks has no answer.
NOTHING_CHOICE = "(none of them)"

# Left out: the keys of Label Studio's own tools and commands (h k r u v), and ours below. The
# single keys come first, then those with Shift, without digits, which Label Studio uses.
_KEYS = "1234567890qwtyipfgjlzxcmeob"
HOTKEYS = (*_KEYS, *(f"⇧+{key}" for key in _KEYS if key.isalpha()))
BOX_HOTKEY, NEW_BOX_HOTKEY, NOTHING_HOTKEY = "n", "a", "n"
VISIBILITY_HOTKEYS = {VISIBLE_CHOICE: "a", OCCLUDED_CHOICE: "s", ABSENT_CHOICE: "d"}

#: A hue that no keypoint uses.
BOX_COLOUR = "#d633ff"

#: With more keypoints than this, the sides are next to each other in smaller type.
ONE_COLUMN = 17

#: Low rows, so that the panel fits on a small screen without scrolling; each side has a stripe in
#: the colour of its keypoints.
STYLE = (
    ".labelkit-panel .lsf-choices, .labelkit-panel .lsf-labels {display: block; margin: 0 0 4px} "
    ".labelkit-panel .lsf-choices_hidden {display: none !important} "
    ".labelkit-panel .lsf-choice, .labelkit-panel .lsf-choice__item, "
    ".labelkit-panel .lsf-choice__checkbox {line-height: 22px; min-height: 0; margin: 0} "
    ".labelkit-panel .lsf-label {display: flex; width: fit-content; margin: 0 0 1px; "
    "line-height: 20px} "
    ".labelkit-panel h4 {margin: 0 0 4px !important; font-size: 15px; line-height: 20px} "
    ".labelkit-side h4 {margin: 2px 0 !important; font-size: 13px; line-height: 16px} "
    ".labelkit-selected {min-height: 72px} "
    ".lsf-choices .labelkit-side {border-left: 4px solid #2f6fe4; padding-left: 6px; "
    "margin-bottom: 3px} "
    ".lsf-choices .labelkit-right {border-color: #e4572f} "
    ".lsf-choices .labelkit-middle, .lsf-choices .labelkit-keypoints {border-color: #3a9a3a} "
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

#: Instructions above the names.
TICKING = "Click a box, then tick what you could point at."

#: Ctrl+click, because a plain click inside a box selects the box; Esc, because choosing a name
#: renames the selected keypoint.
CORRECTING = "Drag what is wrong. To add a keypoint: Esc, its key, then Ctrl+click its place."

#: Leaves room for the toolbar. Label Studio fits the image before it adds the toolbar, and would
#: hide 21 screen pixels at each side of the image, with the keypoints in them.
IMAGE_WIDTH = "calc(100% - 50px)"


def visibility_config(skeleton: Skeleton) -> str:
    """The screen on which annotators tick, for each box, the keypoints they can see.

    Every box must be answered before the task can be submitted; an object that shows no keypoint
    has its own choice.

    Returns:
        Label Studio's labelling interface as XML.

    Raises:
        FormatError: if Label Studio cannot show one of the names.
    """
    root, panel = _screen(skeleton)
    _element(panel, "Header", value=TICKING, size="5")
    choices = _element(
        panel,
        "Choices",
        name=PRESENCE,
        toName=IMAGE,
        choice="multiple",
        perRegion="true",
        whenTagName=BOX,
        required="true",
        requiredMessage="Answer for every box: tick what you could point at, or (none of them).",
        layout="vertical",
    )
    for group, keypoints in _groups(choices, skeleton):
        for index, hotkey in keypoints:
            _element(group, "Choice", value=skeleton.keypoints[index], **hotkey)
    _element(choices, "Choice", value=NOTHING_CHOICE, hotkey=NOTHING_HOTKEY)
    _box_labels(panel, hotkey=NEW_BOX_HOTKEY)
    return _text(root)


def correction_config(skeleton: Skeleton) -> str:
    """The screen on which annotators move keypoints and mark them as occluded or absent.

    Returns:
        Label Studio's labelling interface as XML.

    Raises:
        FormatError: if Label Studio cannot show one of the names.
    """
    root, panel = _screen(skeleton)
    _element(panel, "Header", value=CORRECTING, size="5")
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
        for index, hotkey in keypoints:
            name = skeleton.keypoints[index]
            _element(group, "Label", value=name, background=colours[index], **hotkey)
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
    """A part of a control for each side, and the (index, hotkey) of each keypoint in it."""
    keys = iter(HOTKEYS)
    for side, members in sides(skeleton):
        group = _element(control, "View", className=f"labelkit-side labelkit-{side.lower()}")
        _element(group, "Header", value=side, size="5")
        yield (
            group,
            [(index, {"hotkey": key} if (key := next(keys, "")) else {}) for index in members],
        )


def _screen(skeleton: Skeleton) -> tuple[ElementTree.Element, ElementTree.Element]:
    """The root, and the panel next to the image; below a tall image it would be off the screen."""
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
