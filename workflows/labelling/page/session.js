// What one annotator does: objects, the state of each, undo and redo also across objects. No DOM.

export const ABSENT = 0, OCCLUDED = 1, VISIBLE = 2;

const LONGEST_PAST = 500, MOST_VISITED = 20;

/** A random UUID; crypto.randomUUID is missing on pages that came over plain HTTP. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** An object as it comes from the server, or as it was drawn here, ready to be worked on. */
export function begin(item) {
  return {
    item,
    now: {
      points: item.points.map((point) => point && point.slice(0, 3)), // [x, y, v] or null
      sure: item.points.map(() => false),
      followed: item.points.map(() => false),
      ticks: item.ticks.slice(), // true, false, or null: not answered
      box: item.box.slice(),
      gone: false, // there is no such object
      selected: 0,
    },
    past: [],
    future: [],
    effort: { clicks: 0, drags: 0, keys: 0, undos: 0, attention_s: 0 },
    seen: item.seen,
    sent: null, // what was last answered, as JSON
  };
}

/** One undoable step. */
export function change(object, patch) {
  object.past.push(object.now);
  if (object.past.length > LONGEST_PAST) object.past.shift();
  object.future = [];
  object.now = { ...object.now, ...patch };
}

export const put = (list, k, value) => list.map((old, i) => (i === k ? value : old));

export function setPoint(object, k, point, more = {}) {
  const { points, sure, followed } = object.now;
  change(object, {
    points: put(points, k, point),
    sure: put(sure, k, true),
    followed: put(followed, k, false),
    gone: false,
    ...more,
  });
}

/** The others follow what a person placed; returns whether any of them moved. */
export function follow(object, xy) {
  const { points, sure, followed } = object.now;
  const moves = points.map((point, k) =>
    Boolean(point) && point[2] !== ABSENT && !sure[k] && Boolean(xy[k]) && Math.hypot(point[0] - xy[k][0], point[1] - xy[k][1]) > 0.5);
  if (!moves.includes(true)) return false;
  change(object, {
    points: points.map((point, k) => (moves[k] ? [...xy[k], point[2]] : point)),
    followed: followed.map((was, k) => was || moves[k]),
  });
  return true;
}

/** What followed goes back to where it was shown. */
export function unfollow(object) {
  const { points, followed } = object.now, shown = object.item.points;
  change(object, {
    points: points.map((point, k) => (followed[k] && shown[k] ? shown[k].slice(0, 3) : point)),
    followed: followed.map(() => false),
  });
}

/** Left and right exchanged, for some pairs of keypoints. */
export function swap(object, pairs) {
  const next = {};
  for (const key of ["points", "sure", "followed"]) {
    next[key] = object.now[key].slice();
    for (const [a, b] of pairs) {
      [next[key][a], next[key][b]] = [next[key][b], next[key][a]];
    }
  }
  change(object, next);
}

/** Keypoints in the order in which they deserve a look: not placed, then least sure. */
export function lookOrder(object) {
  const { points } = object.item;
  const unplaced = points.every((point) => !point);
  const rank = (k) => (unplaced || !points[k] || !object.now.points[k] ? -1 : points[k][2] === ABSENT ? 2 : points[k][3]);
  return points.map((_, k) => k).sort((a, b) => rank(a) - rank(b) || a - b);
}

/** The next keypoint after k that is neither accepted nor absent; null if there is none. */
export function nextOpen(object, k) {
  const order = lookOrder(object), at = order.indexOf(k);
  const later = [...order.slice(at + 1), ...order.slice(0, at)];
  const open = (i) => !object.now.sure[i] && object.now.points[i]?.[2] !== ABSENT;
  const found = later.find((i) => open(i) && !object.now.points[i]) ?? later.find(open);
  return found ?? null;
}

export const unplaced = (object) => object.now.points.filter((point) => !point).length;

/** What became of a keypoint; see ORIGINS in recording.py. */
export function origin(object, k) {
  const shown = object.item.points[k], now = object.now.points[k];
  const was = Boolean(shown) && shown[2] !== ABSENT, is = Boolean(now) && now[2] !== ABSENT;
  if (!was) return is ? "new" : "";
  if (!is) return "removed";
  if (object.now.followed[k]) return "followed";
  return shown[0] === now[0] && shown[1] === now[1] ? "untouched" : "changed";
}

/** The answer as the server wants it. */
export function answerOf(object, mode, keypoints) {
  const { item, now } = object, content = {}, origins = {};
  const isSecond = item.reason === "second";
  const kind = isSecond ? "second" : now.gone ? "skip" : mode === "ticks" ? "visibility" : "keypoints";
  keypoints.forEach((name, k) => {
    if (kind === "visibility") {
      content[name] = now.ticks[k] === true;
      origins[name] = item.ticks[k] === null ? "new"
        : item.ticks[k] === content[name] ? "untouched" : "changed";
    } else if (kind === "keypoints" || (isSecond && !now.gone)) {
      const point = now.points[k];
      content[name] = point && point[2] !== ABSENT ? point : [0, 0, ABSENT];
      origins[name] = origin(object, k);
    }
  });
  return {
    id: newId(), kind, content, box: now.box, seen: object.seen,
    ...(item.drawn ? { drawn: item.drawn, image: item.image.id } : { instance: item.instance }),
    shown: { round: item.round, arm: item.arm, origins, effort: { ...object.effort } },
  };
}

const essence = (object) => {
  const { points, ticks, box, gone } = object.now;
  return JSON.stringify([points, ticks, box, gone]);
};

/** All objects of one tab. */
export class Session {
  visited = [];
  current = null;
  upcoming = [];

  /** Go on to the next object; returns whether there is a new answer. */
  goOn() {
    const done = this.current, { item, now, sent } = done;
    const isNew = sent !== essence(done) && !(item.drawn && now.gone && !sent);
    this.visited.push(done);
    if (this.visited.length > MOST_VISITED) this.visited.shift();
    this.current = this.upcoming.shift() ?? null;
    return isNew;
  }

  /** Remember that an object was answered. */
  answered(object, id) {
    object.sent = essence(object);
    object.seen = id;
  }

  /** Back to the object before; false if there is none. */
  goBack() {
    if (!this.visited.length) return false;
    if (this.current) this.upcoming.unshift(this.current);
    this.current = this.visited.pop();
    return true;
  }

  /** Undo one step, on the object before if there is none on this one. */
  undo() {
    const object = this.current;
    if (object?.item.drawn && !object.past.length && !object.sent) return this.undraw();
    if (!object?.past.length) return this.goBack();
    object.future.push(object.now);
    object.now = object.past.pop();
    return true;
  }

  /** Redo one step; where nothing is left to redo, forward to the object that was left by undo. */
  redo() {
    const object = this.current;
    if (!object) return false;
    if (object.future.length) {
      object.past.push(object.now);
      object.now = object.future.pop();
      return true;
    }
    if (object.sent !== essence(object)) return false;
    this.goOn();
    return true;
  }

  /** A new object drawn beside the current one, which comes back after it. */
  draw(box, count) {
    const { image, part, others, category } = this.current.item;
    const item = {
      drawn: newId(), image, part, box, category, others: [...others, this.current.now.box],
      individual: "", reason: "drawn", arm: "nothing", round: "", seen: 0,
      points: Array(count).fill(null), ticks: Array(count).fill(null),
    };
    this.upcoming.unshift(this.current);
    this.current = begin(item);
  }

  /** Take back the drawing of the current object. */
  undraw() {
    this.current = this.upcoming.shift() ?? null;
    return true;
  }

  held() {
    return [...this.visited, this.current, ...this.upcoming]
      .map((object) => object?.item.instance).filter(Boolean);
  }
}
