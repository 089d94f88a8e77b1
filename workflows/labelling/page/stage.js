// The picture with everything drawn on it. Marks keep their size on the screen whatever the zoom.

import { ABSENT, OCCLUDED } from "./session.js";

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = 0.25; // around the box, as a share of its long side
const EDGE = 12; // pixels of the screen between the picture and the edge of the stage
const GRAB = 26; // pixels of the screen within which a drag takes a point
const TOGETHER = 6; // keypoints nearer than that lie on each other
const HANDLE = 14; // the same for the corners of a box
const DENSE = 30; // more keypoints than that get smaller marks
const STILL = 4; // a pointer that moves less than this clicks

export function node(name, attributes = {}, parent = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class Stage {
  zoom = 1;
  x = 0;
  y = 0;
  whole = false;
  tool = ""; // "", "box" (move and resize), "draw"
  #pointers = new Map();
  #gesture = null;

  /**
   * @param info what /api/start says
   * @param on handlers: click(xy), context(k), drag(k, xy, done), box(box, done), drawn(box), act(kind),
   *   dropped() when a drag became a pinch
   */
  constructor(info, on) {
    this.info = info;
    this.on = on;
    this.svg = document.getElementById("view");
    this.world = document.getElementById("world");
    this.marks = document.getElementById("marks");
    const left = new Set(info.pairs.map(([a]) => a)), right = new Set(info.pairs.map(([, b]) => b));
    this.shapes = info.keypoints.map((_, k) => (left.has(k) ? "circle" : right.has(k) ? "square" : "diamond"));
    this.svg.addEventListener("pointerdown", (event) => this.#down(event));
    this.svg.addEventListener("pointermove", (event) => this.#move(event));
    this.svg.addEventListener("pointermove", (event) => this.#hover(event));
    this.svg.addEventListener("pointerleave", () => this.#hover(null));
    this.svg.addEventListener("pointerup", (event) => this.#up(event));
    this.svg.addEventListener("pointercancel", (event) => this.#cancel(event));
    this.svg.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.svg.addEventListener("contextmenu", (event) => this.#context(event));
    new ResizeObserver(() => this.object && this.fit(this.whole)).observe(this.svg);
  }

  /** Show an object, zoomed to its box. */
  show(object, mode) {
    const isSame = this.object?.item === object?.item;
    this.object = object;
    this.mode = mode;
    if (isSame && object) return this.draw();
    this.tool = "";
    this.map = null;
    this.world.replaceChildren();
    this.marks.replaceChildren();
    this.svg.dataset.tool = "";
    if (!object) return;
    const { image, part } = object.item;
    const size = { x: 0, y: 0, width: image.width, height: image.height };
    node("image", { ...size, href: `/picture/${image.id}`, preserveAspectRatio: "none" }, this.world);
    if (part) {
      const [x, y, width, height] = part;
      const href = `/picture/${image.id}?part=${part.join(",")}`;
      node("image", { x, y, width, height, href, preserveAspectRatio: "none" }, this.world);
    }
    this.#build();
    this.fit(false);
  }

  #build() {
    const make = (name, of) => node(name, { class: of }, this.marks);
    this.others = this.object.item.others.map(() => make("rect", "other"));
    this.box = make("rect", "box");
    this.handles = [0, 1, 2, 3].map(() => make("rect", "handle"));
    this.draft = make("rect", "draft");
    this.links = this.info.links.map(() => [make("line", "link under"), make("line", "link")]);
    this.trails = this.info.keypoints.map(() => make("line", "trail"));
    this.layer = make("g", "dots");
    this.dots = this.info.keypoints.map((_, k) => this.#dot(k, this.layer));
    this.ghosts = this.info.keypoints.map((_, k) => this.#dot(k, this.marks));
    for (const ghost of this.ghosts) ghost.classList.add("ghost");
  }

  #dot(k, parent) {
    const size = this.info.keypoints.length > DENSE ? 4.5 : 6;
    const dot = node("g", { class: `dot ${this.shapes[k]}` }, parent);
    if (this.shapes[k] === "circle") node("circle", { r: size }, dot);
    else {
      const side = 2 * size - 1, at = -side / 2;
      const turn = this.shapes[k] === "diamond" ? { transform: "rotate(45)" } : {};
      node("rect", { x: at, y: at, width: side, height: side, rx: 1.5, ...turn }, dot);
    }
    node("circle", { r: 14, class: "ring" }, dot);
    dot.style.setProperty("--colour", this.info.colours[k]);
    node("text", { x: 18, y: 4 }, dot).textContent = this.info.keypoints[k];
    return dot;
  }

  /** Zoom to the box and its margin, as far as there is picture, or to the whole image. */
  fit(whole) {
    this.whole = whole;
    const { width, height } = this.object.item.image, [x, y, w, h] = this.object.now.box;
    const margin = whole ? width + height : MARGIN * Math.max(w, h);
    const left = Math.max(x - margin, 0), right = Math.min(x + w + margin, width);
    const top = Math.max(y - margin, 0), bottom = Math.min(y + h + margin, height);
    const across = this.svg.clientWidth, down = this.svg.clientHeight;
    const room = (length) => Math.max(length - 2 * EDGE, 1);
    this.zoom = Math.min(room(across) / (right - left), room(down) / (bottom - top));
    this.x = (across - (left + right) * this.zoom) / 2;
    this.y = (down - (top + bottom) * this.zoom) / 2;
    this.draw();
  }

  toScreen = ([x, y]) => [x * this.zoom + this.x, y * this.zoom + this.y];
  toImage = ([x, y]) => {
    const { width, height } = this.object.item.image;
    const place = [(x - this.x) / this.zoom, (y - this.y) / this.zoom];
    return [clamp(place[0], 0, width), clamp(place[1], 0, height)].map((v) => Math.round(v * 100) / 100);
  };

  #rect(element, box) {
    const [x, y] = this.toScreen(box);
    for (const [key, value] of Object.entries({ x, y, width: box[2] * this.zoom, height: box[3] * this.zoom }))
      element.setAttribute(key, value);
  }

  draw() {
    const { now, item } = this.object;
    this.world.setAttribute("transform", `translate(${this.x} ${this.y}) scale(${this.zoom})`);
    this.svg.classList.toggle("gone", now.gone);
    this.svg.dataset.tool = this.tool;
    this.svg.dataset.mode = this.mode;
    item.others.forEach((box, i) => this.#rect(this.others[i], box));
    this.#rect(this.box, now.box);
    const [x, y, w, h] = now.box;
    [[x, y], [x + w, y], [x, y + h], [x + w, y + h]].forEach((corner, i) => {
      const [left, top] = this.toScreen(corner);
      const place = { x: left - 6, y: top - 6, width: 12, height: 12 };
      for (const key in place) this.handles[i].setAttribute(key, place[key]);
    });
    const at = (k) => (now.points[k] && now.points[k][2] !== ABSENT ? this.toScreen(now.points[k]) : null);
    const line = (element, from, to) => {
      element.toggleAttribute("hidden", !from || !to);
      if (!from || !to) return;
      const ends = { x1: from[0], y1: from[1], x2: to[0], y2: to[1] };
      for (const key in ends) element.setAttribute(key, ends[key]);
    };
    this.info.links.forEach(([a, b], i) => {
      for (const element of this.links[i]) line(element, this.mode === "keypoints" && at(a), at(b));
    });
    this.dots.forEach((dot, k) => {
      const place = at(k);
      dot.toggleAttribute("hidden", !place);
      line(this.trails[k], now.followed[k] && item.points[k] && this.toScreen(item.points[k]), place);
      if (!place) return;
      dot.setAttribute("transform", `translate(${place[0]} ${place[1]})`);
      dot.classList.toggle("selected", this.mode === "keypoints" && now.selected === k);
      dot.classList.toggle("sure", this.mode === "ticks" ? now.ticks[k] === true : now.sure[k]);
      dot.classList.toggle("off", this.mode === "ticks" && now.ticks[k] !== true);
      dot.classList.toggle("occluded", now.points[k][2] === OCCLUDED);
      if (now.selected === k && dot !== this.layer.lastChild) this.layer.append(dot); // on top
    });
    this.draft.toggleAttribute("hidden", true);
    this.#hover(this.hovered);
  }

  /** A keypoint without a place hangs on the pointer: a click puts it there. */
  #hover(event) {
    this.hovered = event;
    if (!this.object || !this.ghosts) return;
    const { points, selected, gone } = this.object.now;
    const hangs = event?.pointerType === "mouse" && this.mode === "keypoints" && !this.tool && !gone && !points[selected];
    this.ghosts.forEach((ghost, k) => ghost.toggleAttribute("hidden", !hangs || k !== selected));
    if (hangs) this.ghosts[selected].setAttribute("transform", `translate(${this.#at(event)})`);
  }

  /** A map over the picture, as coloured as it is strong, or none. */
  showMap(href, { size: [width, height], to_image: m } = { size: [] }) {
    this.map?.remove();
    this.map = null;
    if (!href) return;
    this.map = node("g", { class: "map", transform: `matrix(${m[0]} ${m[3]} ${m[1]} ${m[4]} ${m[2]} ${m[5]})` }, this.world);
    const mask = node("mask", { id: "strength" }, this.map);
    node("image", { href, width, height, preserveAspectRatio: "none" }, mask);
    node("rect", { width, height, mask: "url(#strength)" }, this.map);
  }

  #at(event) {
    const frame = this.svg.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  }

  /** The keypoint nearest to a place; of two that lie together, the selected one. */
  #nearest([x, y], within) {
    let best = null, least = within;
    const { points, selected } = this.object.now;
    points.forEach((point, k) => {
      if (!point || point[2] === ABSENT) return;
      const [px, py] = this.toScreen(point), away = Math.hypot(px - x, py - y) - (k === selected ? TOGETHER : 0);
      if (away <= least) [best, least] = [k, away];
    });
    return best;
  }

  #down(event) {
    if (!this.object || (event.button !== 0 && event.button !== 1)) return;
    event.preventDefault();
    document.activeElement?.blur?.();
    this.svg.setPointerCapture(event.pointerId);
    const start = this.#at(event);
    this.#pointers.set(event.pointerId, start);
    if (this.#pointers.size === 2) {
      this.#drop();
      this.#gesture = { kind: "pinch", moved: true };
      return;
    }
    const free = event.button === 1;
    this.#gesture = { start, moved: false, ...(free ? { kind: "pan" } : this.#meaning(start)) };
  }

  /** What a drag from here would do. */
  #meaning(start) {
    const { now } = this.object;
    if (this.tool === "draw") return { kind: "draw" };
    if (this.tool === "box") {
      const [x, y, w, h] = now.box;
      const corners = [[x, y], [x + w, y], [x, y + h], [x + w, y + h]];
      const corner = corners.findIndex((it) => {
        const [px, py] = this.toScreen(it);
        return Math.hypot(px - start[0], py - start[1]) <= HANDLE;
      });
      if (corner >= 0) return { kind: "resize", fixed: corners[3 - corner], before: now.box };
      const [px, py] = this.toImage(start);
      if (px >= x && px <= x + w && py >= y && py <= y + h) return { kind: "shift", before: now.box };
      return { kind: "pan" };
    }
    const k = this.mode === "keypoints" ? this.#nearest(start, GRAB) : null;
    if (k === null) return { kind: "pan" };
    const [px, py] = this.toScreen(now.points[k]);
    return { kind: "point", k, offset: [px - start[0], py - start[1]] };
  }

  #move(event) {
    const last = this.#pointers.get(event.pointerId), gesture = this.#gesture;
    if (!last || !gesture) return;
    const here = this.#at(event);
    if (gesture.kind === "pinch") {
      const other = [...this.#pointers.entries()].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        this.x += (here[0] - last[0]) / 2;
        this.y += (here[1] - last[1]) / 2;
        const before = Math.hypot(last[0] - other[0], last[1] - other[1]);
        const now = Math.hypot(here[0] - other[0], here[1] - other[1]);
        this.#zoomBy(now / Math.max(before, 1), [(here[0] + other[0]) / 2, (here[1] + other[1]) / 2]);
      }
      this.#pointers.set(event.pointerId, here);
      return;
    }
    const away = Math.hypot(here[0] - gesture.start[0], here[1] - gesture.start[1]);
    if (!gesture.moved && away < STILL) return;
    gesture.moved = true;
    this.#pointers.set(event.pointerId, here);
    this.#drag(gesture, last, here, false);
  }

  #drag(gesture, last, here, done) {
    if (gesture.kind === "pan") {
      this.x += here[0] - last[0];
      this.y += here[1] - last[1];
      this.draw();
    } else if (gesture.kind === "point") {
      const place = this.toImage([here[0] + gesture.offset[0], here[1] + gesture.offset[1]]);
      this.on.drag(gesture.k, place, done);
    } else if (gesture.kind === "draw") {
      const box = between(this.toImage(gesture.start), this.toImage(here));
      this.#rect(this.draft, box);
      this.draft.removeAttribute("hidden");
      if (done) this.on.drawn(box);
    } else if (gesture.kind === "resize") {
      this.on.box(between(gesture.fixed, this.toImage(here)), done);
    } else if (gesture.kind === "shift") {
      const { width, height } = this.object.item.image, [x, y, w, h] = gesture.before;
      const moved = (i) => (here[i] - gesture.start[i]) / this.zoom;
      const place = [clamp(x + moved(0), 0, width - w), clamp(y + moved(1), 0, height - h)];
      this.on.box([...place, w, h], done);
    }
  }

  #up(event) {
    const gesture = this.#gesture, last = this.#pointers.get(event.pointerId);
    this.#pointers.delete(event.pointerId);
    if (!gesture || this.#pointers.size) return;
    this.#gesture = null;
    const here = this.#at(event);
    if (gesture.moved) {
      if (gesture.kind !== "pinch") this.#drag(gesture, last, here, true);
      this.on.act("drags");
      return;
    }
    this.on.act("clicks");
    if (event.button === 0 && !this.tool) this.on.click(this.toImage(here), this.#nearest(here, GRAB));
  }

  #cancel(event) {
    this.#pointers.delete(event.pointerId);
    this.#drop();
    if (!this.#pointers.size) this.#gesture = null;
  }

  /** A drag that is not finished changes nothing. */
  #drop() {
    if (["point", "resize", "shift"].includes(this.#gesture?.kind) && this.#gesture.moved) this.on.dropped();
    this.draft?.toggleAttribute("hidden", true);
  }

  #context(event) {
    event.preventDefault();
    if (!this.object) return;
    this.on.act("clicks");
    const k = this.#nearest(this.#at(event), GRAB);
    if (k !== null) this.on.context(k);
  }

  #wheel(event) {
    event.preventDefault();
    if (!this.object) return;
    const lines = event.deltaMode === 1 ? 16 : 1;
    this.#zoomBy(Math.exp((-event.deltaY * lines * (event.ctrlKey ? 4 : 1)) / 500), this.#at(event));
  }

  #zoomBy(factor, [x, y]) {
    const zoom = clamp(this.zoom * factor, 0.02, 60);
    this.x = x - ((x - this.x) * zoom) / this.zoom;
    this.y = y - ((y - this.y) * zoom) / this.zoom;
    this.zoom = zoom;
    this.draw();
  }
}

function between([ax, ay], [bx, by]) {
  return [Math.min(ax, bx), Math.min(ay, by), Math.abs(ax - bx), Math.abs(ay - by)];
}
