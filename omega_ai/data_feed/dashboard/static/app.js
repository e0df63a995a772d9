/** The page: a client of the public wire contract like any other, and a few figures from the HTTP side. */

import { Chart } from "./chart.js";
import { Model } from "./model.js";
import { OmegaClient } from "./omega-client.js";
import { View } from "./view.js";

const STATUS_EVERY_MS = 2_000;
const REPORT_EVERY_MS = 15_000;
const PING_EVERY_MS = 10_000;
const REST_EVERY_MS = 250;
const CHART_EVERY_MS = 100;

const $ = (id) => document.getElementById(id);
const model = new Model();
const chart = new Chart($("chart"), model.series, (words) => {
  $("chart-note").textContent = words ?? "";
  if (words && document.activeElement === $("chart")) $("say").textContent = words;
});
const view = new View(model, chart, Date.now());

let client = null;
const firstPrice = ask("api/price").then((price) => model.addFirstPrice(price, Date.now())).catch(() => {}).finally(wake);
let restAt = 0;
let chartAt = 0;
let resuming = false;

async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(5_000), cache: "no-store" });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

/** The address that this page may use: a secure page needs a secure socket. */
function choose(urls) {
  const secure = location.protocol === "https:";
  return urls.find((url) => url.startsWith(secure ? "wss:" : "ws:")) ?? (secure ? undefined : urls[0]);
}

function connect(url) {
  client = new OmegaClient(url, { channels: ["btc_price", "candles", "status"] });
  client.on("state", (link) => {
    // While trying again, what ended the last connection is still the news.
    model.link = link.state === "connecting" ? { ...link, reason: model.link.reason } : link;
    if (link.state === "open") {
      if (model.everOpen) resuming = true;
      model.everOpen = true;
      compareClocks();
    }
    wake();
  });
  client.on("subscribed", ({ channel, recovered }) => {
    if (channel !== "btc_price") return;
    if (recovered && resuming) model.resumes += 1;
    if (!recovered) fill();
  });
  client.on("btc_price", (message) => {
    if (model.addPrice(message, Date.now(), resuming)) fill();
    wake();
  });
  client.on("candles", (message) => model.addCandle(message));
  client.on("status", (message) => model.addVenue(message, Date.now()));
  client.on("heartbeat", () => (resuming = false)); // what was missed came before it
  client.on("gap", ({ channel }) => (model.gaps += channel === "btc_price"));
  client.on("reset", ({ channel }) => (model.resets += channel === "btc_price"));
  client.connect();
}

function compareClocks() {
  client.ping().then((sample) => model.addPing(sample)).catch(() => {}); // cut: the next one will do
}

/** What happened before this page was opened, or while it could not be had by resuming. */
async function fill() {
  await firstPrice; // which says what kind of prices are to be drawn
  const paths = ["api/candles", "api/history?channel=candles&limit=1000", "api/history?channel=btc_price&limit=1000"];
  const parts = paths.map((path) => ask(path).then((answer) => model.addHistory(answer.messages)));
  await Promise.allSettled(parts); // without history the chart begins now
}

async function poll() {
  const status = await ask("api/status").catch(() => null);
  if (status === null) {
    model.loseStatus();
    if (client === null) model.link = { state: "waiting", reason: "the server does not answer" };
  } else {
    model.addStatus(status, Date.now());
    if (client === null) {
      const url = choose(status.websocket);
      if (url) connect(url);
      else if (status.websocket.length) model.link = { state: "closed", reason: "this page came over https, and the feed has no wss address" };
      else model.link = { state: "closed", reason: "this process serves no clients; open the page of one that does" };
    }
  }
  wake();
}

async function askForReport() {
  model.report = await ask("api/report").catch(() => model.report);
  wake();
}

// ------------------------------------------------------------------ drawing: at most once a frame

let asked = false;
function wake() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    const now = Date.now();
    const moved = view.renderPrice(now);
    const late = now - chartAt;
    if (late < 0 || late >= (moved ? CHART_EVERY_MS : REST_EVERY_MS)) {
      chartAt = now;
      view.renderChart(now);
    }
    if (now - restAt >= REST_EVERY_MS || now < restAt) {
      restAt = now;
      view.renderRest(now);
    }
  });
}

function redraw() {
  restAt = chartAt = 0;
  wake();
}

/** The reader's choices, where the browser lets a page keep any. */
const kept = {
  get(name) {
    try {
      return localStorage.getItem(`omega-${name}`);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(`omega-${name}`, value);
    } catch {
      // kept until the page is closed, then
    }
  },
};

for (const input of document.querySelectorAll("input[type=radio]")) {
  if (kept.get(input.name) === input.value) input.checked = true;
  input.addEventListener("change", () => {
    chart[input.name] = input.value;
    kept.set(input.name, input.value);
    redraw();
  });
}
for (const input of document.querySelectorAll("input[type=radio]:checked")) chart[input.name] = input.value;
matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => {
  chart.readColors();
  redraw();
});
new ResizeObserver(redraw).observe($("chart"));
for (const event of ["pointermove", "pointerleave", "keydown"]) $("chart").addEventListener(event, redraw);
addEventListener("online", () => client?.retryNow());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) {
    client?.retryNow();
    redraw();
  }
});

setInterval(wake, REST_EVERY_MS); // ages grow also when nothing comes
setInterval(() => document.hidden || poll(), STATUS_EVERY_MS);
setInterval(() => model.link.state === "open" && compareClocks(), PING_EVERY_MS);
setInterval(() => document.hidden || askForReport(), REPORT_EVERY_MS);
poll();
askForReport();
