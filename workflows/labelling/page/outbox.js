// Answers on their way to the server: kept in the browser until it has them, sent in order, once.

const RETRY_MS = [500, 1000, 2000, 4000];

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** Post JSON; a network failure or a busy server is an ordinary error, anything else is Refused. */
export async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  if (answer.ok) return answer.json();
  const text = await answer.text();
  let problem = text;
  try { problem = JSON.parse(text).error ?? text; } catch { /* plain text */ }
  if (answer.status >= 500) throw new Error(problem);
  throw new Refused(answer.status, problem);
}

/** Give the objects of a tab back while it closes; nothing waits for the answer. */
export function leave(tab) {
  fetch("/api/leave", {
    method: "POST", keepalive: true, headers: { "Content-Type": "application/json" }, body: JSON.stringify({ tab }),
  }).catch(() => {});
}

export class Outbox {
  #sending = false;
  #failures = 0;

  /**
   * @param owner project and annotator: a browser may hold answers of several
   * @param {(state: string, detail?: object) => void} report "sent", "offline", "refused", "locked"
   */
  constructor(owner, report) {
    this.prefix = `labelkit-answer/${owner}/`;
    this.refused = `labelkit-refused/${owner}/`;
    this.report = report;
  }

  add(answer, tab) {
    const made = Date.now();
    const order = String(made).padStart(15, "0") + String(this.#next()).padStart(9, "0");
    localStorage.setItem(this.prefix + order, JSON.stringify({ ...answer, tab, made }));
    return this.flush();
  }

  #next() {
    const number = Number(localStorage.getItem("labelkit-count") ?? 0) + 1;
    localStorage.setItem("labelkit-count", number);
    return number;
  }

  keys() {
    return Object.keys(localStorage).filter((key) => key.startsWith(this.prefix)).sort();
  }

  /** Ids of the objects whose answers the server does not have yet. */
  instances() {
    return this.keys().map((key) => JSON.parse(localStorage.getItem(key)).instance).filter(Boolean);
  }

  async flush() {
    if (this.#sending) return;
    this.#sending = true;
    try {
      for (let keys = this.keys(); keys.length; keys = this.keys()) {
        const text = localStorage.getItem(keys[0]);
        if (text === null) continue; // another tab has sent it
        const { made, ...answer } = JSON.parse(text);
        const age_s = Math.max(0, (Date.now() - made) / 1000);
        try {
          const receipt = await post("/api/answer", { ...answer, age_s });
          this.report("sent", { answer, receipt });
        } catch (error) {
          if (!(error instanceof Refused) || error.status === 403) throw error;
          localStorage.setItem(this.refused + answer.id, text);
          this.report("refused", { answer, problem: error.message });
        }
        localStorage.removeItem(keys[0]);
        this.#failures = 0;
      }
      this.report("idle");
    } catch (error) {
      const wait = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)];
      setTimeout(() => this.flush(), wait);
      this.report(error instanceof Refused ? "locked" : "offline", { waiting: this.keys().length });
    } finally {
      this.#sending = false;
    }
  }
}
