/**
 * A client for the wire contract `omega.v2`: connects, subscribes, resumes where it was cut, backs off.
 *
 * One file, no dependency; browsers, and Node 20 or newer (its own `WebSocket` where it has one, else one that
 * is passed in). Types are in `omega-client.d.ts`.
 *
 *     const feed = new OmegaClient("ws://localhost:8765", { channels: ["btc_price"] });
 *     feed.on("btc_price", (price) => console.log(price.price, price.state));
 *     feed.connect();
 */

export const SUBPROTOCOL = "omega.v2";

const SEQUENCED = new Set(["btc_price", "trades", "quotes", "candles", "status", "broadcast"]);

// Wrapped, because a browser refuses its own functions when they are called as another object's methods.
const SYSTEM_TIMERS = {
  setTimeout: (action, ms) => setTimeout(action, ms),
  clearTimeout: (timer) => clearTimeout(timer),
  now: () => performance.now(),
};

// What the client itself calls a cut, for connections that the server did not end.
const CUT_SILENT = 4000;
/** The `id` of our own subscriptions: what refuses one is told from what refuses a request of the user. */
const SUBSCRIBE_ID = "subscribe";

/** Whether a client that was closed with `code` should come back. The ranges are part of the contract. */
export function mayReconnect(code) {
  // 1002, 1003, 1007, 1008, 1009 blame this client's own bytes: it would send the same again.
  return [1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014].includes(code) || (code >= 3000 && code < 4500);
}

/** Full jitter: anything between 0 and a bound that doubles with each failure in a row. */
export function backoff(failures, { initialMs = 500, maxMs = 30_000, random = Math.random } = {}) {
  return random() * Math.min(maxMs, initialMs * 2 ** Math.min(failures, 30));
}

/** An `error` message of the server as an exception. */
export class OmegaError extends Error {
  constructor(message) {
    super(message.message);
    this.name = "OmegaError";
    this.code = message.code;
    this.field = message.field ?? null;
    this.temporary = message.temporary;
    this.retryAfterMs = message.retry_after_ms ?? null;
  }
}

export class OmegaClient {
  #url;
  #options;
  #timers;
  #socket = null;
  #state = "idle";
  #failures = 0;
  #wanted = new Map(); // channel -> { mode, interval_ms }
  #positions = new Map(); // channel -> { epoch, seq, unseen }: `unseen` when told, not received
  #behind = new Map(); // channel -> the top that an earlier heartbeat told, and that was not reached by then
  #listeners = new Map();
  #requests = new Map(); // id -> { resolve, reject, timer, sentAt }
  #nextId = 1;
  #timer = null; // to connect, to retry, or to notice silence: one at a time
  #heardAt = 0;

  constructor(url, options = {}) {
    this.#url = url;
    this.#options = {
      channels: ["btc_price"],
      mode: "all",
      intervalMs: 0,
      connectTimeoutMs: 10_000,
      silenceMs: 4_000,
      requestTimeoutMs: 10_000,
      backoff: {},
      token: null,
      ...options,
    };
    this.#timers = { ...SYSTEM_TIMERS, ...options.timers };
    for (const channel of this.#options.channels) {
      this.#wanted.set(channel, { mode: this.#options.mode, interval_ms: this.#options.intervalMs });
    }
    for (const [channel, position] of Object.entries(this.#options.since ?? {})) {
      this.#positions.set(channel, position);
    }
  }

  /** `idle`, `connecting`, `open`, `waiting` (to try again) or `closed` (will not try again). */
  get state() {
    return this.#state;
  }

  /** The last position seen of each channel: pass it as `since` to go on from there. */
  get positions() {
    const pairs = [...this.#positions].map(([channel, { epoch, seq }]) => [channel, { epoch, seq }]);
    return Object.fromEntries(pairs);
  }

  /** Calls `listener` for each event of `name`; returns what ends that. */
  on(name, listener) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name).add(listener);
    return () => this.#listeners.get(name)?.delete(listener);
  }

  /** Connects, and keeps connecting until `close`. Does nothing if it is at it already. */
  connect() {
    if (this.#state === "idle" || this.#state === "closed") {
      this.#failures = 0;
      this.#open();
    }
  }

  /** Tries again at once instead of waiting: for when the network is known to be back. */
  retryNow() {
    if (this.#state === "waiting") this.#open();
  }

  /** Ends the connection for good. */
  close(code = 1000, reason = "") {
    const socket = this.#socket;
    this.#drop();
    socket?.close(code, reason);
    if (this.#state !== "closed") this.#become("closed", { code, reason, willRetry: false });
  }

  /** Adds channels, or changes how they are sent. */
  subscribe(channels, { mode = this.#options.mode, intervalMs = this.#options.intervalMs } = {}) {
    for (const channel of channels) this.#wanted.set(channel, { mode, interval_ms: intervalMs });
    if (this.#state === "open") this.#subscribe(channels);
  }

  /** Gives channels up and forgets where they were. */
  unsubscribe(channels) {
    for (const channel of channels) {
      this.#wanted.delete(channel);
      this.#positions.delete(channel);
      this.#behind.delete(channel);
    }
    if (this.#state === "open") this.send({ type: "unsubscribe", channels });
  }

  /** Past messages: the newest `limit`, or all after `since`. */
  history(channel, { limit, since } = {}) {
    return this.request({ type: "history", channel, limit, since });
  }

  /** Round trip in ms, and how far this clock is ahead of the server's (in ms, exact to half the round trip). */
  async ping() {
    const start = this.#timers.now();
    const startWall = Date.now();
    const pong = await this.request({ type: "ping" });
    const rttMs = this.#timers.now() - start;
    return { rttMs, offsetMs: startWall + rttMs / 2 - Date.parse(pong.timestamp) };
  }

  /** Sends `message` with an id; resolves with its answer, rejects with `OmegaError` or when cut. */
  request(message) {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      const timer = this.#timers.setTimeout(() => {
        this.#requests.delete(id);
        reject(new Error(`no answer to ${message.type} within ${this.#options.requestTimeoutMs} ms`));
      }, this.#options.requestTimeoutMs);
      this.#requests.set(id, { resolve, reject, timer });
      if (!this.send({ ...message, id })) this.#settle(id)?.reject(new Error("not connected"));
    });
  }

  /** Sends `message` if connected; says whether it was. */
  send(message) {
    if (this.#state !== "open") return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  // ------------------------------------------------------------------ one connection's life

  #open() {
    const Socket = this.#options.WebSocket ?? globalThis.WebSocket;
    if (!Socket) throw new Error("no WebSocket here: pass a constructor as options.WebSocket");
    this.#drop();
    const address = new URL(this.#url);
    address.searchParams.set("channels", ""); // none by default: all are subscribed to with a position
    const socket = new Socket(address.href, SUBPROTOCOL);
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = (event) => this.#received(event.data);
    socket.onclose = (event) => this.#lost(event.code, event.reason);
    socket.onerror = () => {}; // a close event follows, and says more
    this.#become("connecting", { attempt: this.#failures + 1 });
    this.#after(this.#options.connectTimeoutMs, () => {
      socket.close();
      this.#lost(CUT_SILENT, `no connection within ${this.#options.connectTimeoutMs} ms`);
    });
  }

  #opened() {
    this.#become("open", {});
    this.#heardAt = this.#timers.now();
    this.#watch();
    if (this.#options.token) this.send({ type: "auth", token: this.#options.token });
    this.#subscribe([...this.#wanted.keys()]);
    if (this.#options.silenceMs && !this.#wanted.has("heartbeat")) {
      this.send({ type: "subscribe", channels: ["heartbeat"] });
    }
  }

  #subscribe(channels) {
    const groups = new Map(); // channels that are sent the same way go in one message
    for (const channel of channels) {
      const way = this.#wanted.get(channel);
      const key = JSON.stringify(way);
      if (!groups.has(key)) groups.set(key, { way, channels: [], since: {} });
      const group = groups.get(key);
      group.channels.push(channel);
      const last = this.#positions.get(channel);
      if (last) group.since[channel] = { epoch: last.epoch, seq: last.seq };
    }
    for (const { way, channels: names, since } of groups.values()) {
      this.send({ type: "subscribe", id: SUBSCRIBE_ID, channels: names, ...way, since });
    }
  }

  #lost(code, reason) {
    if (this.#socket === null) return;
    this.#drop();
    const willRetry = mayReconnect(code);
    if (!willRetry) {
      this.#become("closed", { code, reason, willRetry });
      return;
    }
    const retryInMs = backoff(this.#failures, this.#options.backoff);
    this.#failures += 1;
    this.#after(retryInMs, () => this.#open());
    this.#become("waiting", { code, reason, willRetry, retryInMs, attempt: this.#failures });
  }

  /** Lets go of the socket: whatever it still says is nobody's business. */
  #drop() {
    this.#timers.clearTimeout(this.#timer);
    if (this.#socket) {
      const socket = this.#socket;
      socket.onopen = socket.onmessage = socket.onclose = null;
      this.#socket = null;
    }
    this.#behind.clear();
    for (const id of [...this.#requests.keys()]) this.#settle(id).reject(new Error("the connection was cut"));
  }

  #cut(reason) {
    const socket = this.#socket;
    this.#lost(CUT_SILENT, reason);
    socket?.close(CUT_SILENT, reason);
  }

  // ------------------------------------------------------------------ what arrives

  #received(text) {
    this.#heardAt = this.#timers.now();
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return; // not of this contract
    }
    if (message === null || typeof message !== "object") return;
    // First: a published message may carry an `id` of its publisher's, which answers nothing of ours.
    if (SEQUENCED.has(message.type) && typeof message.seq === "number") this.#published(message);
    else if (this.#requests.has(message.id)) this.#answered(message);
    else if (message.type === "subscribed") this.#subscribed(message);
    else if (message.type === "heartbeat") this.#heartbeat(message);
    else if (message.type === "error") {
      this.#emit("error", new OmegaError(message));
      // What was missed cannot be read at this moment: nothing is lost, if it is asked for again.
      if (message.id === SUBSCRIBE_ID && message.temporary) this.#cut(`not subscribed: ${message.message}`);
    } else this.#emit(message.type, message);
  }

  #answered(message) {
    const { resolve, reject } = this.#settle(message.id);
    if (message.type === "error") reject(new OmegaError(message));
    else resolve(message);
  }

  #published(message) {
    const channel = message.type;
    const way = this.#wanted.get(channel);
    if (!way) return; // was given up; this one was on its way
    const { epoch, seq } = message;
    const last = this.#positions.get(channel);
    if (last && last.epoch === epoch) {
      if (seq < last.seq || (seq === last.seq && !last.unseen)) return; // seen already
      if (way.mode === "all" && seq > last.seq + 1) {
        this.#emit("gap", { channel, epoch, from: last.seq, to: seq });
        this.#cut(`gap in ${channel}: ${last.seq} to ${seq}`); // and resume from the last one seen
        return;
      }
    } else if (last) {
      this.#emit("reset", { channel, epoch, previous: { epoch: last.epoch, seq: last.seq } });
    }
    this.#positions.set(channel, { epoch, seq });
    this.#failures = 0; // data flows: only now is the connection worth its name
    this.#emit(channel, message);
    this.#emit("message", message);
  }

  #subscribed(message) {
    const { channel, epoch, seq, recovered } = message;
    const last = this.#positions.get(channel);
    if (seq !== undefined && !recovered && this.#wanted.has(channel)) {
      // A new start. The latest message may follow, with this very position, or the next one after it.
      if (last) this.#emit("reset", { channel, epoch, previous: { epoch: last.epoch, seq: last.seq } });
      this.#positions.set(channel, { epoch, seq, unseen: true });
    }
    this.#emit("subscribed", message);
  }

  #heartbeat(message) {
    for (const [channel, top] of Object.entries(message.channels ?? {})) {
      const last = this.#positions.get(channel);
      if (!last || this.#wanted.get(channel)?.mode !== "all" || last.epoch !== top.epoch) continue;
      const earlier = this.#behind.get(channel);
      if (earlier !== undefined && last.seq < earlier) {
        // Behind a whole heartbeat ago, and still: the tail is lost, not late.
        this.#emit("gap", { channel, epoch: top.epoch, from: last.seq, to: earlier });
        this.#cut(`lost the tail of ${channel}: ${last.seq} of ${earlier}`);
        return;
      }
      if (last.seq < top.seq) this.#behind.set(channel, top.seq);
      else this.#behind.delete(channel);
    }
    this.#emit("heartbeat", message);
  }

  #watch() {
    const { silenceMs } = this.#options;
    if (!silenceMs) return;
    const left = silenceMs - (this.#timers.now() - this.#heardAt);
    if (left <= 0) this.#cut(`nothing heard for ${silenceMs} ms`);
    else this.#after(left, () => this.#watch());
  }

  // ------------------------------------------------------------------ small parts

  #after(ms, action) {
    this.#timers.clearTimeout(this.#timer);
    this.#timer = this.#timers.setTimeout(action, ms);
  }

  #settle(id) {
    const request = this.#requests.get(id);
    if (request) this.#timers.clearTimeout(request.timer);
    this.#requests.delete(id);
    return request;
  }

  #become(state, detail) {
    this.#state = state;
    this.#emit("state", { state, ...detail });
  }

  #emit(name, value) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(value);
      } catch (error) {
        // One listener's fault is not the feed's; report it as any uncaught error.
        this.#timers.setTimeout(() => {
          throw error;
        }, 0);
      }
    }
  }
}
