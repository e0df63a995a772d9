/** What the page knows, and what may be said of it. Pure: times come in as arguments, in ms. */

import { Series } from "./series.js";

/** A live feed publishes at least once a second; a price older than this is not the price. */
export const STALE_AFTER_MS = 5_000;

const WINDOW_MS = 60_000;

/** The word a source gives for being left out -> words for people. */
const REASONS = {
  stale: "no fresh data",
  crossed: "bid above ask",
  wide_spread: "spread too wide",
  disconnected: "disconnected",
  no_data: "no data yet",
  no_usdt_rate: "no USDT rate to convert with",
};

export const reasonText = (reason) => REASONS[reason] ?? String(reason ?? "not used").replaceAll("_", " ");

/** What was measured every two seconds over the last minutes, for a small line. */
export class Trail {
  values = [];

  add(value) {
    this.values.push(value);
    if (this.values.length > 90) this.values.shift();
  }
}

/** Samples of the last minute. */
class Recent {
  #samples = []; // [time, value]

  add(now, value) {
    this.#samples.push([now, value]);
    if (this.#samples.length > 20_000) this.#samples.splice(0, 10_000);
  }

  values(now) {
    let drop = 0;
    while (drop < this.#samples.length && this.#samples[drop][0] < now - WINDOW_MS) drop += 1;
    if (drop) this.#samples.splice(0, drop);
    return this.#samples.map(([, value]) => value);
  }
}

export class Model {
  series = new Series();
  price = null; // the newest btc_price message
  priceAt = null; // when it was published, by this machine's clock
  simulated = false;
  direction = 0;
  link = { state: "idle" };
  everOpen = false;
  resumes = 0;
  gaps = 0;
  resets = 0;
  status = null; // the answer of /api/status
  statusAt = null;
  serverRate = null; // messages a second, to all clients
  report = undefined; // the answer of /api/report; undefined before the first
  latencyTrail = new Trail();
  rateTrail = new Trail();
  venues = new Map(); // venue -> the newest status of it
  #offsets = []; // { rttMs, offsetMs }
  #latency = new Recent();
  #received = new Recent();

  /** How far this machine's clock is ahead of the server's: from the quickest of the last pings. */
  get offsetMs() {
    if (!this.#offsets.length) return null;
    return this.#offsets.reduce((best, sample) => (sample.rttMs < best.rttMs ? sample : best)).offsetMs;
  }

  addPing(sample) {
    this.#offsets.push(sample);
    if (this.#offsets.length > 8) this.#offsets.shift();
  }

  /**
   * A `btc_price` message received at `now`; `replayed` when it was missed before, so not in real time. True if
   * made-up prices have begun or ended with it: then the chart begins anew.
   */
  addPrice(message, now, replayed = false) {
    const published = Date.parse(message.timestamp) + (this.offsetMs ?? 0);
    if (this.price) this.direction = Math.sign(message.price - this.price.price) || this.direction;
    const madeUp = message.state === "simulated";
    const otherKind = madeUp !== this.simulated;
    if (otherKind) this.series.clear();
    this.price = message;
    // Never later than now: with a wrong clock a price must not seem to come from the future, and stay young.
    this.priceAt = Math.min(published || now, now);
    this.simulated = madeUp;
    this.#received.add(now, 1);
    // A price that the feed repeats because it has no newer one is not a price of that moment.
    if (message.state !== "stale") this.series.addPrice(this.priceAt, message.price);
    if (!replayed && this.offsetMs !== null) this.#latency.add(now, Math.max(0, now - published));
    return otherKind;
  }

  /** The answer of `/api/price`, for the time until the first message. */
  addFirstPrice(message, now) {
    if (this.price) return;
    this.price = message;
    this.priceAt = message.age_ms === null ? Date.parse(message.timestamp) : now - message.age_ms;
    this.simulated = message.state === "simulated";
  }

  /** Past messages of the server's history; not counted as received. */
  addHistory(messages) {
    for (const message of messages) {
      if (message.type === "candles") this.addCandle(message);
      else if (message.type === "btc_price" && message.state !== "stale" && this.#isOfThisPrice(message)) {
        this.series.addPrice(Date.parse(message.timestamp) + (this.offsetMs ?? 0), message.price);
      }
    }
  }

  addCandle(message) {
    if (this.#isOfThisPrice(message)) this.series.addCandle(message);
  }

  /** Made-up prices and those of a market, dollars and tethers, must not stand in one chart. */
  #isOfThisPrice({ symbol, state, simulated }) {
    const madeUp = simulated === true || state === "simulated";
    return madeUp === this.simulated && symbol === (this.price?.symbol ?? "BTC-USD");
  }

  addVenue(status, now) {
    this.venues.set(status.venue, { ...status, heardAt: now });
  }

  addStatus(status, now) {
    if (this.status && this.statusAt !== null && now > this.statusAt) {
      const sent = status.messages_sent - this.status.messages_sent;
      this.serverRate = sent >= 0 ? (sent * 1000) / (now - this.statusAt) : null; // less: it was restarted
    }
    this.status = status;
    this.statusAt = now;
    if (this.serverRate !== null) this.rateTrail.add(this.serverRate);
    const here = this.latency(now);
    if (here) this.latencyTrail.add(here.p50);
    this.venues.clear(); // one that the server no longer knows is gone
    for (const source of status.sources) this.addVenue(source, now);
  }

  /** The server's figures cannot be had: say nothing rather than something old. */
  loseStatus() {
    this.status = null;
    this.serverRate = null;
  }

  age(now) {
    return this.priceAt === null ? null : Math.max(0, now - this.priceAt);
  }

  /** Messages a second over the last minute (or since the first). */
  rate(now, since) {
    const seconds = Math.min(WINDOW_MS, Math.max(1000, now - since)) / 1000;
    return this.#received.values(now).length / seconds;
  }

  /** Median and 99th percentile of publication to here, in ms; null when the clocks were not compared. */
  latency(now) {
    const values = this.#latency.values(now).sort((a, b) => a - b);
    if (!values.length) return null;
    const at = (q) => values[Math.min(values.length - 1, Math.ceil(q * values.length) - 1)];
    return { p50: at(0.5), p99: at(0.99) };
  }

  /**
   * What kind of price is shown: `kind` is `connecting`, `live`, `degraded`, `stale`, `simulated`,
   * `disconnected` or `refused`; `word` for the pill, `text` for the banner (null: none needed).
   */
  verdict(now) {
    const { link } = this;
    const last = this.price ? "The price shown is the last one known." : "No price is known.";
    if (link.state === "closed") {
      const why = link.reason || `code ${link.code}`;
      return { kind: "refused", word: "Refused", text: `No connection to the feed, for good: ${why}. ${last}` };
    }
    if (link.state !== "open") {
      const old = this.price && this.age(now) > STALE_AFTER_MS;
      if (!this.everOpen && link.state !== "waiting" && !old) {
        return { kind: "connecting", word: "Connecting", text: null };
      }
      const why = link.reason ? ` (${link.reason})` : "";
      return { kind: "disconnected", word: "Disconnected", text: `Not connected to the feed${why}; trying again. ${last}` };
    }
    if (!this.price) {
      const failing = (this.status?.checks ?? []).filter((check) => !check.ok).map((check) => check.detail);
      return { kind: "stale", word: "No price", text: `Connected, but there is no price yet. ${failing.join(" ")}`.trim() };
    }
    const age = this.age(now);
    if (age > STALE_AFTER_MS) {
      return { kind: "stale", word: "Stale", text: `No price for ${durationText(age)}. ${last}` };
    }
    if (this.price.state === "stale") {
      return { kind: "stale", word: "Stale", text: `No venue gives a usable price now. ${last}` };
    }
    if (this.price.state === "degraded") {
      const used = Object.entries(this.price.sources).filter(([, source]) => source.used);
      const names = used.map(([name]) => name).join(" and ") || "no venue";
      return { kind: "degraded", word: "Degraded", text: `This price rests on ${names} alone: check before you act on it.` };
    }
    if (this.simulated) return { kind: "simulated", word: "Simulated", text: null };
    return { kind: "live", word: "Live", text: null };
  }

  /**
   * What somebody should look at: what keeps the server from being ready, then its alerts. `name` is null for
   * the former. Null when the server's figures cannot be had.
   */
  attention() {
    if (!this.status) return null;
    const checks = this.status.checks
      .filter((check) => !check.ok)
      .map((check) => ({ name: null, severity: "critical", text: `${check.name}: ${check.detail}`, since: null }));
    const alerts = this.status.alerts.map((alert) => ({
      name: alert.name,
      severity: alert.severity,
      text: alert.summary,
      since: alert.since_ns / 1e6 + (this.offsetMs ?? 0),
    }));
    return [...checks, ...alerts];
  }

  /** One row a venue, by name: what the price says of it, and what its connection says. */
  venueRows(now) {
    const names = new Set([...Object.keys(this.price?.sources ?? {}), ...this.venues.keys()]);
    // `kraken:USDT-USD` is no price of a bitcoin, but what turns those in tethers into dollars.
    const isRate = (name) => name.includes(":");
    const order = (one, two) => isRate(one) - isRate(two) || (one < two ? -1 : 1);
    return [...names].sort(order).map((name) => {
      const part = this.price?.sources?.[name];
      const status = this.venues.get(name);
      const seen = part?.age_ms ?? null;
      const ageMs =
        seen !== null ? seen + this.age(now)
        : status?.age_ms != null ? status.age_ms + (now - status.heardAt)
        : null;
      const use = part?.used ? "in" : ["connecting", "reconnecting"].includes(status?.state) ? "wait" : "out";
      const word = part?.used ? "In use" : status && status.state !== "live" ? capital(status.state) : "Left out";
      const why = part?.used ? null : [part?.reason && reasonText(part.reason), status?.detail].filter(Boolean).join(": ");
      const price = part?.price ?? null;
      const rate = isRate(name);
      const off = price !== null && this.price && !rate ? (price / this.price.price - 1) * 10_000 : null;
      return { name, rate, use, word, why: why || null, price, off, ageMs };
    });
  }
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. */
export function durationText(ms) {
  const seconds = ms / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
