// What keys, buttons and clicks do, for each of the two questions. A command returns false if it has
// nothing to do, and a text if there is something to say.

import { ABSENT, OCCLUDED, VISIBLE, change, nextOpen, put, setPoint, swap, unfollow } from "./session.js";

/** Keys of the chips, in their order; further chips are clicked, or reached with the arrow keys. */
export const CHIP_KEYS = "1234567890qwertyuiopdghjklcvbm";

const selected = (object) => object.now.selected;

export function select(object, k) {
  object.now = { ...object.now, selected: k };
}

/** On to the next keypoint that needs a look. */
function advance(object, from) {
  const next = nextOpen(object, from);
  if (next !== null) select(object, next);
}

/** A click: the selected keypoint goes there. */
export function placeAt(object, xy) {
  const k = selected(object), before = object.now.points[k];
  const wasThere = Boolean(before) && before[2] !== ABSENT;
  setPoint(object, k, [...xy, wasThere ? before[2] : VISIBLE]);
  if (!wasThere) advance(object, k);
}

function step(object, by) {
  const count = object.now.points.length;
  select(object, (selected(object) + by + count) % count);
}

function nudge(object, dx, dy) {
  const k = selected(object), { width, height } = object.item.image, [left, top, w, h] = object.now.box;
  const point = object.now.points[k] ?? [left + w / 2, top + h / 2, VISIBLE]; // a first key puts it there
  if (point[2] === ABSENT) return false;
  const x = Math.min(Math.max(point[0] + dx, 0), width), y = Math.min(Math.max(point[1] + dy, 0), height);
  setPoint(object, k, [x, y, point[2]]);
}

function accept(object) {
  const k = selected(object);
  if (object.now.points[k]) change(object, { sure: put(object.now.sure, k, true) });
  advance(object, k);
}

function occluded(object) {
  const k = selected(object), point = object.now.points[k];
  if (!point || point[2] === ABSENT) return "Place it first: an occluded keypoint has a location.";
  setPoint(object, k, [point[0], point[1], point[2] === OCCLUDED ? VISIBLE : OCCLUDED]);
}

function absent(object) {
  const k = selected(object), point = object.now.points[k], shown = object.item.points[k];
  if (point && point[2] === ABSENT) {
    const back = shown && shown[2] !== ABSENT ? shown.slice(0, 3) : null;
    setPoint(object, k, back, { sure: put(object.now.sure, k, Boolean(back)) });
    return;
  }
  setPoint(object, k, [0, 0, ABSENT]);
  advance(object, k);
}

function clear(object) {
  const { points } = object.now, none = points.map(() => false);
  if (!points.some(Boolean)) return false;
  change(object, { points: points.map(() => null), sure: none, followed: none, gone: false });
  select(object, 0);
}

function swapOne(object, pairs) {
  const pair = pairs.find((it) => it.includes(selected(object)));
  if (!pair) return "This keypoint has no partner on the other side.";
  swap(object, [pair]);
}

function tickAll(object, value) {
  change(object, { ticks: object.now.ticks.map(() => value), gone: false });
}

export function toggle(object, k) {
  change(object, { ticks: put(object.now.ticks, k, object.now.ticks[k] !== true), gone: false });
}

/**
 * Commands by name: what they do to an object, and how they are called.
 * keys: as in KeyboardEvent.key, with "Shift+" and "Ctrl+" in front; button: the text of its button;
 * always: also while there is no object.
 */
export function commands(mode, info, desk) {
  const both = {
    next: { keys: ["Enter"], button: mode === "ticks" ? "Continue" : "Accept all", help: "Accept, and show the next object", run: () => desk.goOn() },
    undo: { keys: mode === "ticks" ? ["Backspace", "Ctrl+z"] : ["Ctrl+z"], always: true, button: "Undo", help: "Undo; also on the object before", run: () => desk.undo() },
    redo: { keys: ["Ctrl+y", "Ctrl+Shift+Z"], button: "Redo", help: "Redo", run: () => desk.redo() },
    whole: { keys: ["f"], button: "Whole", help: "Whole image, and back to the object", run: () => desk.stage.fit(!desk.stage.whole) },
    gone: { keys: mode === "ticks" ? ["Delete"] : ["Delete", "Backspace"], button: "No object", help: "Delete the box: there is no object, or it cannot be labelled", run: (object) => change(object, { gone: !object.now.gone }) },
    help: { keys: ["?"], always: true, help: "This list", run: () => desk.help() },
  };
  if (mode === "ticks") {
    return {
      ...both,
      all: { keys: ["a"], button: "All", help: "Tick all", run: (object) => tickAll(object, true) },
      none: { keys: ["n"], button: "None", help: "Tick none", run: (object) => tickAll(object, false) },
      same: { keys: ["s"], button: "Same", help: "Tick the same as for the object before", run: (object) => desk.sameAsLast(object) },
    };
  }
  const sides = {
    swap: { keys: ["s"], button: "Swap", help: "Swap it with its left or right partner", run: (object) => swapOne(object, info.pairs) },
    swapAll: { keys: ["Shift+S"], button: "Swap all", help: "Swap left and right of the whole pose", run: (object) => swap(object, info.pairs) },
  };
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const nudges = Object.fromEntries(Object.entries(moves).flatMap(([key, [dx, dy]]) => [
    [key, { keys: [key], run: (object) => nudge(object, dx, dy) }],
    [`far${key}`, { keys: [`Shift+${key}`], run: (object) => nudge(object, 10 * dx, 10 * dy) }],
  ]));
  return {
    ...both,
    accept: { keys: [" "], button: "Accept", help: "Accept the keypoint, or skip one without a place; on to the next unsure one", run: accept },
    occluded: { keys: ["o"], button: "Occluded", help: "Occluded: it has a place, but cannot be seen", run: occluded },
    absent: { keys: ["x"], button: "Absent", help: "Absent: it has no place in this image", run: absent },
    clear: { keys: ["c"], button: "Start over", help: "Take the pose away, and place all keypoints: one click each", run: clear },
    ...(info.pairs.length ? sides : {}),
    back: { keys: ["r"], button: "Put back", help: "Put back the keypoints that followed", run: unfollow },
    follow: { keys: ["g"], button: "Follow", help: "Others follow the keypoints that you place, or stay", run: () => desk.toggleFollow() },
    map: { keys: ["h"], button: "Map", help: "Response map of the keypoint; again for its heatmap", run: () => desk.nextMap() },
    box: { keys: ["b"], button: "Edit box", help: "Move the box, or resize it at a corner", run: () => desk.useTool("box") },
    draw: { keys: ["d"], button: "New object", help: "Draw the box of an object that has none", run: () => desk.useTool("draw") },
    later: { keys: ["Tab"], help: "Select the next keypoint", run: (object) => step(object, 1) },
    earlier: { keys: ["Shift+Tab"], help: "Select the one before", run: (object) => step(object, -1) },
    ...nudges,
  };
}

/** Rows of the help that are not about one key. */
export const GESTURES = {
  ticks: [["Click a chip or a mark", "Tick it, or take the tick away"], ["Its key", "The same"]],
  keypoints: [
    ["Click", "The selected keypoint goes there"],
    ["Drag a keypoint", "Move it, selected or not"],
    ["Right-click", "Select the nearest keypoint"],
    ["Arrows", "Nudge by a pixel; with Shift by ten"],
  ],
  both: [["Wheel, pinch", "Zoom"], ["Drag elsewhere", "Move the picture"]],
};
