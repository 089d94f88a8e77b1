// The page: one desk, which ties the session, the stage, the panel and the server together.

import { CHIP_KEYS, GESTURES, commands, placeAt, select, toggle } from "./commands.js";
import { Outbox, Refused, leave, post } from "./outbox.js";
import { ABSENT, OCCLUDED, Session, answerOf, begin, change, follow, lookOrder, newId, setPoint, unplaced } from "./session.js";
import { Stage } from "./stage.js";

const AHEAD = 2; // objects that are fetched before they are needed
const LEAST = 4; // pixels of the sides of a box
const RENEW_S = 60; // of the lease; the server ends it
const MAPS = { response: "Response map", heatmap: "Heatmap: what the prediction was read from" };
const TAB = "labelkit-tab";
const byId = (id) => document.getElementById(id);
const PLAIN_KEYS = new Set(["Shift", "Control", "Alt", "Meta", "CapsLock"]);

class Desk {
  session = new Session();
  map = null; // the kind of map that is shown over the picture
  maps = new WeakMap(); // where those of each object lie
  warned = null; // the state about which the annotator was asked
  fetching = false;
  nextStep = "";
  last = Date.now();

  constructor(info) {
    this.info = info;
    this.mode = info.mode;
    this.tab = sessionStorage.getItem(TAB) ?? newId();
    sessionStorage.setItem(TAB, this.tab);
    const owner = `${info.id}/${encodeURIComponent(info.annotator)}`;
    this.kept = `labelkit-desk/${owner}`;
    this.outbox = new Outbox(owner, (state, detail) => this.#reported(state, detail));
    this.stage = new Stage(info, {
      click: (xy, k) => this.#clicked(xy, k),
      context: (k) => this.#do(() => select(this.object, k)),
      drag: (k, xy, done) => this.#dragged(k, xy, done),
      box: (box, done) => this.#boxed(box, done),
      drawn: (box) => this.#drawn(box),
      act: (kind) => this.#count(kind),
      dropped: () => this.#dropped(),
    });
    this.commands = commands(this.mode, info, this);
    this.keys = {};
    for (const [name, { keys }] of Object.entries(this.commands)) for (const key of keys) this.keys[key] = name;
    this.#build();
    this.#listen();
    this.#restore();
    this.outbox.flush();
    this.#fill();
    setInterval(() => this.#renew(), RENEW_S * 1000);
  }

  get object() {
    return this.session.current;
  }

  // Commands

  goOn() {
    const object = this.object, { now } = object;
    const asks = this.mode === "ticks"
      ? !now.gone && now.ticks.every((tick) => tick === null) && "Nothing is ticked. Enter again: none can be seen."
      : !now.gone && unplaced(object) > 0 && `${unplaced(object)} without a place. Enter again: they are absent.`;
    if (asks && this.warned !== now) {
      this.warned = now;
      return asks;
    }
    if (this.session.goOn()) {
      const answer = answerOf(object, this.mode, this.info.keypoints);
      this.session.answered(object, answer.id);
      this.outbox.add(answer, this.tab);
    }
    this.#begun();
    this.#fill();
  }

  undo() {
    if (this.object) this.object.effort.undos += 1;
    return this.session.undo() || "There is nothing to undo.";
  }

  redo() {
    return this.session.redo() || "There is nothing to redo.";
  }

  sameAsLast(object) {
    const before = this.session.visited.at(-1);
    if (!before) return "There is no object before.";
    change(object, { ticks: before.now.ticks.slice(), gone: before.now.gone });
  }

  /** None, the response map, the heatmap where there is one, none. */
  async nextMap() {
    const kinds = (await this.#mapOf(this.object))?.kinds ?? [];
    if (!this.map && !kinds.length) return this.say(this.object?.item.arm === "prediction"
      ? "There is no map of this object." : "No prediction is shown for this object, and so no map.");
    this.map = kinds[kinds.indexOf(this.map) + 1] ?? null;
    this.#changed();
    this.say(this.map ? MAPS[this.map] : "");
  }

  toggleFollow() {
    this.info.follow = !this.info.follow;
    post("/api/settings", { follow: this.info.follow }).catch((error) => this.#connected(false, error));
    return this.info.follow ? "Keypoints follow those that you place." : "Keypoints stay where they are.";
  }

  /** After a person placed something, the others are read again. */
  async #follow() {
    const { object } = this, { points, sure, gone } = object?.now ?? {};
    const placed = JSON.stringify(points?.map((point, k) => (sure[k] && point ? point : null)));
    if (!this.info.follow || this.mode !== "keypoints" || object?.item.arm !== "prediction" || gone || this.dragging) return;
    if (placed === object.followedFrom || !sure.includes(true) || sure.every(Boolean)) return;
    object.followedFrom = placed;
    const body = { instance: object.item.instance, placed: JSON.parse(placed) };
    const answer = await post("/api/follow", body).catch(() => ({ points: null }));
    if (!answer.points || this.object !== object || object.now.points !== points) return;
    if (follow(object, answer.points)) this.#changed();
  }

  useTool(tool) {
    this.stage.tool = this.stage.tool === tool ? "" : tool;
    if (this.stage.tool === "draw") return "Drag a box around the object.";
  }

  help() {
    byId("help").showModal();
  }

  // What the mouse did

  #clicked(xy, nearest) {
    this.#do(() => {
      if (this.mode === "ticks") return nearest !== null && toggle(this.object, nearest);
      placeAt(this.object, xy);
    });
  }

  #dragged(k, xy, done) {
    const { points } = this.object.now;
    this.#live(done, () => setPoint(this.object, k, [...xy, points[k][2]], { selected: k }), () => {
      this.object.now.points[k] = [...xy, points[k][2]];
    });
  }

  #boxed(given, done) {
    const box = given[2] < LEAST || given[3] < LEAST ? this.object.now.box : given;
    this.#live(done, () => change(this.object, { box }), () => (this.object.now.box = box));
  }

  /** A drag is one step: it begins one, and changes it until it is done. */
  #live(done, first, further) {
    if (this.dragging) further();
    else first();
    this.dragging = !done;
    if (done) {
      this.#changed();
      this.#follow();
    } else this.stage.draw();
  }

  #dropped() {
    if (!this.dragging) return;
    this.dragging = false;
    this.object.now = this.object.past.pop();
    this.#changed();
  }

  #drawn(box) {
    this.stage.tool = "";
    if (box[2] < LEAST || box[3] < LEAST) return this.#do(() => "This box is too small.");
    this.#do(() => this.session.draw(box, this.info.keypoints.length));
    this.#begun();
  }

  // Doing, counting, remembering

  #do(run, always = false) {
    if (!this.object && !always) return;
    const before = this.object?.now, object = this.object;
    const said = run(this.object);
    this.say(typeof said === "string" ? said : "");
    this.#changed();
    const isEdit = object && object === this.object && object.past.at(-1) === before;
    if (isEdit && before.sure !== object.now.sure) this.#follow();
  }

  #count(kind) {
    this.#attend();
    if (this.object) this.object.effort[kind] += 1;
  }

  /** Attention: the time since the last sign of life, pauses cut short. */
  #attend() {
    const now = Date.now(), pause_s = Math.max(now - this.last, 0) / 1000, { effort } = this.object ?? {};
    if (effort) effort.attention_s += Math.min(pause_s, this.info.idle_s);
    this.last = now;
    if (pause_s > RENEW_S) this.#renew();
  }

  #begun() {
    const { object } = this;
    this.last = Date.now();
    if (object && this.mode === "keypoints" && !object.past.length && !object.sent) select(object, lookOrder(object)[0]);
    this.#changed();
  }

  #changed() {
    this.stage.show(this.object, this.mode);
    this.#render();
    this.#showMap();
    const { visited, current } = this.session;
    const kept = [...visited.slice(-8), current].filter(Boolean).map((object) => ({ ...object, past: [], future: [] }));
    try {
      sessionStorage.setItem(this.kept, JSON.stringify({ mode: this.mode, skeleton: this.info.skeleton, kept, hasCurrent: Boolean(current) }));
    } catch { /* full: only the way back after a reload is shorter */ }
  }

  #restore() {
    const { mode, skeleton, kept, hasCurrent } = JSON.parse(sessionStorage.getItem(this.kept) ?? "{}");
    if (mode === this.mode && skeleton === this.info.skeleton) {
      this.session.current = hasCurrent ? kept.pop() : null;
      this.session.visited = kept;
    }
    this.#changed();
  }

  /** Where the maps of an object lie, and which there are; none where no prediction is shown. */
  #mapOf(object) {
    if (object?.item.arm !== "prediction") return null;
    const load = () => fetch(`/map/${encodeURIComponent(object.item.instance)}`)
      .then((answer) => (answer.ok ? answer.json() : null)).catch(() => null);
    if (!this.maps.has(object)) this.maps.set(object, load());
    return this.maps.get(object);
  }

  async #showMap() {
    const { object, map } = this, k = object?.now.selected;
    const place = map && object && (await this.#mapOf(object));
    if (this.object !== object || this.map !== map || object?.now.selected !== k) return;
    const href = place?.kinds.includes(map) ? `/map/${encodeURIComponent(object.item.instance)}/${map}/${k}` : "";
    if (href === this.mapShown && (this.stage.map || !href)) return;
    this.mapShown = href;
    this.stage.showMap(href, place ?? undefined);
  }

  // The server

  async #fill() {
    if (this.fetching) return;
    this.fetching = true;
    try {
      while (this.session.upcoming.length < AHEAD || !this.object) {
        const held = [...this.session.held(), ...this.outbox.instances()];
        const { object, left, next_step, skeleton, mode } = await post("/api/next", { tab: this.tab, held });
        if (skeleton !== this.info.skeleton || mode !== this.mode) return location.reload(); // another page
        this.leftThere = left;
        this.nextStep = next_step ?? "";
        if (!object) break;
        this.session.upcoming.push(begin(object));
        new Image().src = `/picture/${object.image.id}` + (object.part ? `?part=${object.part.join(",")}` : "");
        if (!this.object) {
          this.session.current = this.session.upcoming.shift();
          this.#begun();
        }
      }
      this.#connected(true);
      this.#render();
    } catch (error) {
      this.#connected(false, error);
      setTimeout(() => this.#fill(), 2000);
    } finally {
      this.fetching = false;
    }
    if (!this.object) setTimeout(() => this.#fill(), 5000);
  }

  async #renew() {
    const id = this.object?.item.instance;
    if (!id || Date.now() - this.last > RENEW_S * 1000) return;
    const { mine } = await post("/api/lease", { tab: this.tab, instance: id }).catch(() => ({ mine: true }));
    if (!mine && this.object?.item.instance === id)
      this.say("Another annotator, or another tab, has this object now. If both answer, it becomes a conflict.", true);
  }

  #reported(state, detail) {
    if (state === "sent") {
      const { conflict, beside } = detail.receipt;
      if (conflict) this.say(`${beside || "Another source"} labelled this object too, differently. Both labels are kept; labelkit status lists the conflict.`, true);
      else if (beside) this.say(`${beside} answered this object too. The newer answer counts.`, true);
      if (!this.object) this.#fill();
    } else if (state === "refused") {
      this.say(`The server refused an answer: ${detail.problem}`, true);
    } else this.#connected(state === "idle", state === "locked" ? new Refused(403) : null, detail?.waiting);
    this.#render();
  }

  #connected(is, error = null, waiting = this.outbox.keys().length) {
    const line = byId("connection");
    line.hidden = is;
    line.textContent = error?.status === 403
      ? "The key is not valid any more. Open the address that labelkit label printed; your answers are kept here."
      : `The server does not answer. ${waiting ? `${waiting} ${waiting === 1 ? "answer is" : "answers are"} kept here and sent` : "Answers are kept here and sent"} once it is back.`;
  }

  // What is on the page

  say(text, stays = false) {
    const line = byId("message");
    if (this.saidUntil > performance.now() && !stays && !text) return;
    line.textContent = text;
    this.saidUntil = stays ? performance.now() + 8000 : 0;
  }

  #build() {
    const { info, mode } = this;
    document.body.dataset.mode = mode;
    document.title = `${info.project} - labelkit`;
    byId("project").textContent = info.project;
    byId("annotator").textContent = info.annotator;
    const list = byId("keypoints");
    list.classList.toggle("many", info.keypoints.length > 22);
    this.rows = info.keypoints.map((name, k) => {
      const row = document.createElement("li"), button = document.createElement("button");
      const mark = document.createElement("i"), text = document.createElement("span"), key = document.createElement("kbd");
      mark.className = this.stage.shapes[k];
      button.style.setProperty("--colour", info.colours[k]);
      text.textContent = button.title = name;
      key.textContent = mode === "ticks" ? (CHIP_KEYS[k] ?? "") : "";
      button.dataset.k = k;
      button.append(mark, text, key);
      row.append(button);
      list.append(row);
      if (mode === "ticks" && CHIP_KEYS[k]) this.keys[CHIP_KEYS[k]] ??= `chip ${k}`;
      return button;
    });
    const tools = byId("tools");
    this.buttons = {};
    for (const [name, { button, keys, help }] of Object.entries(this.commands)) {
      if (!button) continue;
      const made = document.createElement("button"), key = document.createElement("kbd");
      key.textContent = shownKey(keys[0]).replace("Shift+", "⇧");
      made.dataset.do = name;
      made.title = help;
      made.append(button, key);
      this.buttons[name] = made;
      tools.append(made);
    }
    const rows = [...GESTURES[mode], ...GESTURES.both];
    for (const { keys, help } of Object.values(this.commands)) if (help) rows.push([keys.map(shownKey).join(" or "), help]);
    for (const [what, meaning] of rows) {
      const term = document.createElement("dt"), text = document.createElement("dd");
      term.textContent = what;
      text.textContent = meaning;
      byId("help-list").append(term, text);
    }
  }

  #render() {
    const { object, mode } = this;
    const waiting = this.outbox.keys().length;
    byId("left").textContent = `${this.leftThere ?? "…"} left${waiting ? `, ${waiting} to send` : ""}`;
    document.body.classList.toggle("empty", !object);
    if (!object) {
      const others = this.leftThere > 0 && !waiting;
      byId("where").textContent = this.leftThere === undefined ? "" : others
        ? "All that is left is with other annotators, or in another tab of yours. Each comes back when its tab is closed, or ten minutes after the last action there." : `Nothing is left to label. ${this.nextStep}`;
      for (const row of this.rows) row.className = "";
      return;
    }
    const { item, now } = object;
    const arm = { control: "no prediction is shown, on purpose", second: "labelled by another person; that label is hidden on purpose", nothing: "no prediction", prediction: item.round, label: "labelled before" }[item.arm];
    byId("where").textContent = [item.image.path, item.individual || item.category, item.drawn ? "new object" : "", arm, item.note].filter(Boolean).join(" · ");
    this.rows.forEach((row, k) => {
      const point = now.points[k], is = { selected: mode === "keypoints" && now.selected === k };
      if (mode === "ticks") Object.assign(is, { ticked: now.ticks[k] === true });
      else Object.assign(is, {
        open: !point, absent: point?.[2] === ABSENT, occluded: point?.[2] === OCCLUDED,
        sure: now.sure[k], followed: now.followed[k],
      });
      row.className = Object.keys(is).filter((name) => is[name]).join(" ");
      row.setAttribute("aria-pressed", mode === "ticks" ? now.ticks[k] === true : is.selected);
      if (mode === "keypoints")
        row.lastChild.textContent = !point ? "place" : is.absent ? "absent" : is.occluded ? "occluded" : now.sure[k] ? "✓" : item.points[k] ? Math.round(100 * item.points[k][3]) + " %" : "";
      if (is.selected) row.scrollIntoView({ block: "nearest" });
    });
    this.buttons.gone.classList.toggle("on", now.gone);
    for (const tool of ["box", "draw"]) this.buttons[tool]?.classList.toggle("on", this.stage.tool === tool);
    this.buttons.follow?.classList.toggle("on", this.info.follow);
    this.buttons.map?.classList.toggle("on", this.map !== null);
  }

  // Keys and buttons

  #listen() {
    addEventListener("keydown", (event) => this.#key(event));
    addEventListener("click", (event) => this.#button(event));
    for (const name of ["pointermove", "wheel"]) addEventListener(name, () => this.#attend(), { passive: true });
    addEventListener("online", () => this.outbox.flush());
    addEventListener("pagehide", () => leave(this.tab));
    document.addEventListener("visibilitychange", () => {
      this.#attend();
      if (!document.hidden) this.outbox.flush();
    });
    byId("help-close").addEventListener("click", () => byId("help").close());
  }

  #key(event) {
    if (byId("help").open || PLAIN_KEYS.has(event.key)) return;
    if (this.dragging) return event.preventDefault();
    const control = event.ctrlKey || event.metaKey;
    const name = this.keys[(control ? "Ctrl+" : "") + typed(event)];
    if (event.key === "Escape") {
      this.stage.tool = "";
      if (this.object) this.#changed();
      return;
    }
    if (this.mode === "ticks" && event.key.startsWith("Arrow")) return this.#walk(event);
    if (!name) return;
    if (event.key === " " && document.activeElement?.tagName === "BUTTON" && this.mode === "ticks") return;
    event.preventDefault();
    if (!event.repeat) this.#count("keys");
    if (event.repeat && name === "next") return;
    this.#run(name);
  }

  /** Arrow keys move between chips; Space ticks the one that has the focus. */
  #walk(event) {
    const at = this.rows.indexOf(document.activeElement);
    const by = event.key === "ArrowLeft" || event.key === "ArrowUp" ? -1 : 1;
    this.rows.at((at < 0 ? 0 : at + by) % this.rows.length).focus();
    event.preventDefault();
    this.#count("keys");
  }

  #button(event) {
    const button = event.target.closest("button");
    if (!button || button.closest("dialog")) return;
    if (event.detail > 0) {
      this.#count("clicks");
      button.blur();
    }
    if (button.dataset.k !== undefined) {
      const k = Number(button.dataset.k);
      if (this.mode === "ticks" && event.detail === 0) this.#count("keys");
      this.#do(() => (this.mode === "ticks" ? toggle(this.object, k) : select(this.object, k)));
    } else if (button.dataset.do) this.#run(button.dataset.do);
  }

  #run(name) {
    if (name.startsWith("chip ")) return this.#do(() => toggle(this.object, Number(name.slice(5))));
    const { run, always } = this.commands[name];
    this.#do(run, always);
  }
}

/** A key with Shift, as the commands name it; letters whatever CapsLock and the alphabet. */
function typed({ key, code, shiftKey }) {
  const isLetter = key.length === 1 && key.toLowerCase() !== key.toUpperCase();
  if (!isLetter) return (shiftKey && key.length > 1 ? "Shift+" : "") + key;
  const latin = /[a-z]/i.test(key) || !code.startsWith("Key") ? key : code.slice(3);
  return shiftKey ? `Shift+${latin.toUpperCase()}` : latin.toLowerCase();
}

const NAMES = { " ": "Space", Delete: "Del", "Ctrl+z": "Ctrl+Z", "Ctrl+y": "Ctrl+Y" };
const shownKey = (key) => NAMES[key] ?? key;

async function open() {
  const answer = await fetch("/api/start");
  if (!answer.ok) throw new Error(await answer.text());
  window.desk = new Desk(await answer.json());
}

open().catch((error) => {
  byId("connection").hidden = false;
  byId("connection").textContent = `The page cannot start: ${error.message}`;
  setTimeout(() => location.reload(), 3000);
});
