/** The model on the screen: writes only what changed, and tells a screen reader what matters, not every tick. */

import { durationText } from "./model.js";

const VERDICTS = { pass: "Passed", fail: "Failed", unknown: "Open" };

const SAY_PRICE_EVERY_MS = 30_000;

/** Verdicts under which the price shown is not the price of now. */
const OLD = ["stale", "disconnected", "refused"];

const money = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const fine = new Intl.NumberFormat("en-US", { minimumFractionDigits: 4, maximumFractionDigits: 4 });
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const amount = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });

const $ = (id) => document.getElementById(id);

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Draws `values` as a line in a box of 120 by 24, from 0 up. */
function spark(svg, values) {
  const top = Math.max(...values, 1e-9);
  const points = values.map((value, at) => `${((at / Math.max(1, values.length - 1)) * 120).toFixed(1)},${(23 - (value / top) * 22).toFixed(1)}`);
  const text = values.length > 1 ? points.join(" ") : "";
  const line = svg.firstElementChild;
  if (line.getAttribute("points") !== text) line.setAttribute("points", text);
}

const milliseconds = (ms) => (ms < 1 ? "< 1 ms" : `${amount.format(ms)} ms`); // a browser's clock shows no less

/** An upper bound in ms, in two figures, and never below what it was. */
function upper(ms) {
  if (ms === null || ms === undefined) return "10,000+ ms";
  const unit = 10 ** (Math.floor(Math.log10(Math.max(ms, 0.001))) - 1);
  return `${new Intl.NumberFormat("en-US", { maximumFractionDigits: 3 }).format(Math.ceil(ms / unit - 1e-9) * unit)} ms`;
}

const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(1);

const rateText = (perSecond) => (perSecond < 10 ? perSecond.toFixed(1) : whole.format(perSecond)) + " / s";

export class View {
  #model;
  #chart;
  #shownPrice = null;
  #verdict = null;
  #saidAt = 0;
  #rows = new Map();
  #attention = "[]";
  #told = new Set();
  #report = null;
  #startedAt;

  constructor(model, chart, now) {
    this.#model = model;
    this.#chart = chart;
    this.#startedAt = now;
  }

  /** The price and what kind it is; as often as the screen turns. True if the price is another message's. */
  renderPrice(now) {
    const { price } = this.#model;
    const verdict = this.#model.verdict(now);
    this.#renderVerdict(verdict, now);
    const age = this.#model.age(now);
    const old = OLD.includes(verdict.kind);
    put($("age"), age === null ? "–" : age < 950 && !old ? "now" : `${durationText(age)} ago`);
    $("last-known").hidden = !old || age === null;
    if (old && age !== null) put($("last-known"), `last known, ${durationText(age)} old`);
    if (!price || price === this.#shownPrice) return false;
    const before = this.#shownPrice?.price;
    this.#shownPrice = price;
    const [units, cents] = money.format(price.price).split(".");
    put($("price-whole"), units);
    put($("price-rest"), `.${cents}`);
    put($("symbol"), price.symbol);
    put($("bid"), price.bid === null ? "–" : money.format(price.bid));
    put($("ask"), price.ask === null ? "–" : money.format(price.ask));
    put($("spread"), price.bid === null || price.ask === null ? "–" : money.format(price.ask - price.bid));
    put($("volume"), price.volume === null ? "not known" : `${whole.format(price.volume)} BTC`);
    if (before !== undefined && before !== price.price) {
      const up = price.price > before;
      put($("tick"), up ? "▲" : "▼");
      $("tick").className = `tick ${up ? "up" : "down"}`;
    }
    put($("position"), `${price.epoch} · ${price.seq}`);
    return true;
  }

  /** The chart, and what is read off it. */
  renderChart(now) {
    this.#chart.draw(now, OLD.includes(this.#model.verdict(now).kind));
    this.#renderChange();
  }

  /** Everything that may lag a little: venues, figures, alerts, the last test. */
  renderRest(now) {
    this.#renderVenues(now);
    this.#renderFigures(now);
    put($("clock"), `${new Date(now - (this.#model.offsetMs ?? 0)).toISOString().slice(11, 19)} UTC`);
  }

  #renderVerdict({ kind, word, text }, now) {
    const { price, simulated } = this.#model;
    document.body.dataset.verdict = kind;
    put($("verdict-word"), word);
    $("simulated").hidden = !simulated;
    $("banner").hidden = text === null;
    put($("banner"), text ?? "");
    const figure = price ? money.format(price.price) : "–";
    const mark = kind === "live" ? "" : `${word}: `;
    const title = `${simulated && kind !== "simulated" ? "Simulated, " : ""}${mark}${figure} · BTC-USD`;
    if (document.title !== title) document.title = title;

    const key = `${kind}${simulated}`;
    if (key !== this.#verdict) {
      this.#verdict = key;
      this.#say(`${simulated && kind !== "simulated" ? "Simulated prices. " : ""}${word}. ${text ?? ""} ${price ? `${price.symbol} ${figure}` : ""}`, now);
    } else if (price && ["live", "degraded", "simulated"].includes(kind) && now - this.#saidAt > SAY_PRICE_EVERY_MS) {
      this.#say(`${price.symbol} ${figure}${kind === "live" ? "" : `, ${word}`}`, now);
    }
  }

  #say(text, now) {
    this.#saidAt = now;
    put($("say"), text.replace(/\s+/g, " ").trim());
  }

  #renderChange() {
    const summary = this.#chart.summary();
    const { price } = this.#model;
    const element = $("change");
    if (!summary || !price) {
      put(element, "");
      return;
    }
    const moved = price.price - summary.first;
    const sign = moved > 0 ? "▲ +" : moved < 0 ? "▼ −" : "";
    const share = Math.abs((moved / summary.first) * 100).toFixed(2);
    const since = new Date(summary.since).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
    const text = `${sign}${money.format(Math.abs(moved))} (${share} %)`;
    element.className = `change ${moved > 0 ? "up" : moved < 0 ? "down" : ""}`;
    if (element.dataset.text !== text + since) {
      element.dataset.text = text + since;
      element.replaceChildren(`${text} `, make("span", { class: "since" }, `since ${since}`));
    }
    const label = `${this.#chart.kind === "line" ? "Line" : "Candle"} chart of the last ${this.#chart.rangeText}: `
      + `low ${money.format(summary.low)}, high ${money.format(summary.high)}, last ${money.format(summary.last)}. Arrow keys read single values.`;
    if (Math.random() < 0.1 || $("chart").ariaLabel.endsWith("yet")) $("chart").setAttribute("aria-label", label);
  }

  #renderVenues(now) {
    const rows = this.#model.venueRows(now);
    const body = $("venue-rows");
    if (!rows.length) return;
    if (rows.length !== this.#rows.size || rows.some((row) => !this.#rows.has(row.name))) {
      this.#rows = new Map(rows.map((row) => [row.name, this.#newRow(row.name)]));
      body.replaceChildren(...[...this.#rows.values()].flatMap((cells) => [cells.row, cells.whyRow]));
    }
    for (const row of rows) {
      const cells = this.#rows.get(row.name);
      cells.row.dataset.use = row.use;
      put(cells.word, row.word);
      put(cells.why, row.why ?? "");
      cells.whyRow.hidden = row.why === null;
      put(cells.price, row.price === null ? "–" : (row.rate ? fine : money).format(row.price));
      put(cells.off, row.rate ? "" : row.off === null ? "–" : `${signed(Math.round(row.off * 10) / 10)} bp`);
      put(cells.age, row.ageMs === null ? "–" : durationText(row.ageMs));
    }
    const venues = rows.filter((row) => !row.rate);
    put($("venues-used"), `${venues.filter((row) => row.use === "in").length} of ${venues.length} in use`);
  }

  #newRow(name) {
    const word = make("span");
    const why = make("td", { colspan: "5" });
    const whyRow = make("tr", { class: "why" }, why);
    const state = make("td", {}, make("span", { class: "state" }, make("span", { class: "dot", "aria-hidden": "true" }), word));
    const price = make("td", { class: "number" });
    const off = make("td", { class: "number wide" });
    const age = make("td", { class: "number" });
    const [venue, market] = name.split(":");
    const title = make("th", { scope: "row" }, venue);
    if (market) title.append(" ", make("small", {}, market));
    const row = make("tr", {}, title, state, price, off, age);
    return { row, whyRow, word, why, price, off, age };
  }

  #renderFigures(now) {
    const model = this.#model;
    const { status } = model;
    const here = model.latency(now);
    put($("latency"), here ? milliseconds(here.p50) : "–");
    if (here) $("latency").append(" ", make("small", {}, `p99 ${milliseconds(here.p99)}`));
    this.#renderStage($("server-latency"), status?.delivery_ms?.publish_to_write);
    this.#renderStage($("venue-latency"), status?.delivery_ms?.venue_to_write);
    spark($("latency-spark"), model.latencyTrail.values);
    spark($("rate-spark"), model.rateTrail.values);
    put($("rate"), rateText(model.rate(now, this.#startedAt)));
    put($("server-rate"), model.serverRate === null ? "–" : rateText(model.serverRate));
    const clients = status && Object.values(status.clients).reduce((sum, each) => sum + each, 0);
    put($("clients"), clients === null ? "–" : whole.format(clients));
    if (clients !== null && status.max_clients) $("clients").append(" ", make("small", {}, `of ${whole.format(status.max_clients)}`));
    const workers = status?.workers ?? [];
    $("workers-box").hidden = !workers.length;
    put($("workers"), `${workers.filter((worker) => worker.running).length} of ${workers.length} up`);
    put($("broker"), !status ? "–" : status.broker.connected ? "up" : `away, ${status.broker.buffered} waiting`);
    const broker = status?.delivery_ms?.broker;
    if (broker?.count > 0 && status.broker.connected) $("broker").append(" ", make("small", {}, `p99 ≤ ${upper(broker.p99)}`));
    const cuts = model.gaps + model.resets;
    put($("continuity"), cuts ? `${cuts} break${cuts > 1 ? "s" : ""}` : "whole");
    $("continuity").append(" ", make("small", {}, `${model.resumes} resumed`));
    put($("uptime"), status ? durationText(status.uptime_seconds * 1000) : "–");
    put($("version"), status ? `OMEGA ${status.version}` : "");
    this.#renderAttention(now);
    this.#renderReport(now);
  }

  /** A stage of the server's: upper bounds, since it counts in buckets. */
  #renderStage(element, stage) {
    const known = stage?.count > 0 && stage.p50 !== null;
    put(element, known ? `≤ ${upper(stage.p50)}` : "–");
    if (known) element.append(" ", make("small", {}, `p99 ≤ ${upper(stage.p99)}`));
  }

  #renderAttention(now) {
    const items = this.#model.attention();
    $("calm").hidden = items !== null && items.length > 0;
    $("calm").dataset.calm = items ? "yes" : "no";
    put($("calm-text"), items ? "No alert is on." : "The server does not say how it is.");
    put($("alerts-count"), items?.length ? `${items.length} on` : "");
    const shown = items ?? [];
    const key = JSON.stringify(shown.map((item) => [item.name, item.severity, item.text]));
    if (this.#attention !== key) {
      const fresh = shown.filter((item) => !this.#told.has(item.name ?? item.text));
      this.#told = new Set(shown.map((item) => item.name ?? item.text));
      this.#attention = key;
      $("checks").replaceChildren(...shown.map((item) => {
        const title = make("b", {}, item.name ? `${item.name} · ${item.severity}` : "Not ready");
        return make("li", { "data-severity": item.severity }, title, item.text, make("small", {}));
      }));
      // A place of its own: the next price must not take its place before it has been read out.
      put($("warn"), fresh.length ? `Needs attention: ${fresh.map((item) => item.text).join(". ")}` : "");
    }
    shown.forEach((item, at) => {
      put($("checks").children[at].lastElementChild, item.since === null ? "" : `for ${durationText(Math.max(0, now - item.since))}`);
    });
  }

  #renderReport(now) {
    const answer = this.#model.report;
    const report = answer?.report;
    const key = JSON.stringify(report ?? answer ?? null);
    const at = report ? Date.parse(report.started) + (this.#model.offsetMs ?? 0) : null;
    put($("report-when"), at ? `${durationText(Math.max(0, now - at))} ago` : "");
    if (this.#report === key) return;
    this.#report = key;
    $("report-verdict").dataset.verdict = report?.verdict ?? "none";
    $("report-link").hidden = !report?.page;
    put($("report-word"), report ? VERDICTS[report.verdict] : answer ? "No result yet." : "–");
    const { counts } = report ?? {};
    const parts = counts ? [`${whole.format(counts.pass)} passed`, `${whole.format(counts.fail)} failed`] : [];
    if (counts?.unknown) parts.push(`${whole.format(counts.unknown)} open`);
    if (counts?.skipped) parts.push(`${whole.format(counts.skipped)} not for this server`);
    put($("report-counts"), parts.join(" · "));
    const how = answer && !report ? `Make one: omega test ws://… --report-dir ${answer.directory}` : "";
    put($("report-target"), report ? `${report.target} in ${durationText(report.duration_s * 1000)}: ${report.suites.join(", ")}` : how);
    const failed = report ? [...report.invalid.map((text) => ({ id: "void", text })), ...report.failed] : [];
    $("report-failed").replaceChildren(...failed.slice(0, 5).map(({ id, text }) => make("li", {}, make("code", {}, id), text)));
    if (failed.length > 5) $("report-failed").append(make("li", {}, `and ${failed.length - 5} more`));
  }
}
