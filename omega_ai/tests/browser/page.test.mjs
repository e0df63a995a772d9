// What the page may say of a price, and what its chart is made of. Run by test_client.py, or by
// `node --test omega_ai/tests/browser/page.test.mjs`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { durationText, Model, reasonText } from "../../data_feed/dashboard/static/model.js";
import { Series } from "../../data_feed/dashboard/static/series.js";

const NOW = Date.parse("2026-01-01T00:00:00Z");
const at = (ms) => new Date(NOW + ms).toISOString();
const price = (ms, value, state = "live", more = {}) => ({
  type: "btc_price", epoch: "e", seq: 1, symbol: "BTC-USD", price: value, state, timestamp: at(ms), sources: {}, ...more,
});
const candle = (minute, close, more = {}) => ({
  type: "candles", symbol: "BTC-USD", interval: "1m", start: at(minute * 60_000),
  open: close - 1, high: close + 2, low: close - 2, close, volume: 1, ...more,
});

function open() {
  const model = new Model();
  model.link = { state: "open" };
  model.everOpen = true;
  return model;
}

test("live only while fresh, connected and said to be so", () => {
  const model = open();
  assert.equal(model.verdict(NOW).kind, "stale", "no price yet");
  model.addPrice(price(0, 61800), NOW);
  assert.equal(model.verdict(NOW + 5000).kind, "live");
  assert.equal(model.verdict(NOW + 5001).kind, "stale");
  for (const state of ["degraded", "stale", "simulated"]) {
    model.addPrice(price(0, 61800, state), NOW);
    assert.equal(model.verdict(NOW).kind, state);
  }
  model.addPrice(price(0, 61800), NOW);
  for (const state of ["waiting", "connecting"]) {
    model.link = { state };
    assert.equal(model.verdict(NOW).kind, "disconnected");
  }
  model.link = { state: "closed", reason: "token expired" };
  assert.match(model.verdict(NOW).text, /token expired/);
});

test("a replayed price is as old as when it was published, not as when it came", () => {
  const model = open();
  model.addPrice(price(-60_000, 61800), NOW, true);
  assert.equal(model.age(NOW), 60_000);
  assert.equal(model.verdict(NOW).kind, "stale");
});

test("a wrong clock here makes no price look younger or older", () => {
  const model = open();
  model.addPing({ rttMs: 10, offsetMs: 3_600_000 }); // an hour ahead of the server
  const here = NOW + 3_600_000;
  model.addPrice(price(-100, 61800), here);
  assert.equal(model.age(here), 100);
  assert.deepEqual(model.latency(here), { p50: 100, p99: 100 });
  model.addPrice(price(50_000, 61800), here); // from the future: counts as of now, and ages from there
  assert.equal(model.age(here + 6000), 6000);
});

test("the quickest of the last pings tells the clocks' difference", () => {
  const model = open();
  for (const [rttMs, offsetMs] of [[80, 40], [4, 1], [200, 99]]) model.addPing({ rttMs, offsetMs });
  assert.equal(model.offsetMs, 1);
});

test("made-up prices and those of a market never stand in one chart", () => {
  const model = open();
  model.addHistory([candle(-2, 100)]);
  assert.equal(model.addPrice(price(0, 60_000, "simulated"), NOW), true);
  assert.deepEqual(model.series.candles(NOW - 600_000, 60_000, true).map((bucket) => bucket.close), [60_000]);
  model.addHistory([candle(-2, 100), candle(-1, 60_001, { simulated: true }), price(-500, 3), price(-400, 4, "simulated")]);
  assert.deepEqual(model.series.candles(NOW - 600_000, 60_000, true).map((bucket) => bucket.close), [60_001, 60_000]);
  assert.equal(model.addPrice(price(100, 61_800), NOW + 100), true);
  assert.equal(model.addPrice(price(200, 61_801), NOW + 200), false);
});

test("candles in another currency are no part of this price", () => {
  const model = open();
  model.addHistory([candle(-1, 5, { symbol: "BTC-USDT" })]);
  assert.equal(model.series.oldest(), null);
});

test("a price that the feed only repeats draws no line", () => {
  const model = open();
  model.addPrice(price(0, 61800, "stale"), NOW);
  assert.equal(model.series.oldest(), null);
});

test("each venue has a row that says whether it is used and why not", () => {
  const model = open();
  model.addStatus({ messages_sent: 0, sources: [
    { venue: "bybit", state: "reconnecting", age_ms: null, detail: "refused" },
    { venue: "gone", state: "live", age_ms: 1 },
  ] }, NOW);
  model.addStatus({ messages_sent: 50, sources: [{ venue: "bybit", state: "reconnecting", age_ms: 700, detail: "refused" }] }, NOW + 1000);
  model.addPrice(price(1000, 100, "live", { sources: {
    kraken: { used: true, price: 100.1, age_ms: 20 }, okx: { used: false, price: 99, age_ms: 9000, reason: "stale" },
  } }), NOW + 1000);
  const rows = model.venueRows(NOW + 1500);
  assert.deepEqual(rows.map((row) => [row.name, row.use, row.word, row.why, row.ageMs]), [
    ["bybit", "wait", "Reconnecting", "refused", 1200],
    ["kraken", "in", "In use", null, 520],
    ["okx", "out", "Left out", "no fresh data", 9500],
  ]);
  assert.equal(Math.round(rows[1].off), 10);
  assert.equal(model.serverRate, 50);
  assert.equal(reasonText("some_new_word"), "some new word");
});

test("a restarted server's totals make no negative rate", () => {
  const model = open();
  model.addStatus({ messages_sent: 500, sources: [] }, NOW);
  model.addStatus({ messages_sent: 5, sources: [] }, NOW + 1000);
  assert.equal(model.serverRate, null);
});

test("ticks become buckets; trades fill where the price was not seen", () => {
  const series = new Series();
  for (const [ms, value] of [[0, 10], [400, 14], [900, 8], [1000, 9]]) series.addPrice(NOW + ms, value);
  const [first, second] = series.candles(NOW, 1000, false);
  assert.deepEqual([first.open, first.high, first.low, first.close], [10, 14, 8, 8]);
  assert.equal(second.open, 9);
  series.addCandle(candle(-5, 50));
  series.addCandle(candle(-5, 52)); // the same minute again: it replaces
  const all = series.candles(NOW - 600_000, 1000, false);
  assert.deepEqual(all.map((bucket) => bucket.close), [52, 8, 9]);
  assert.equal(all[0].end - all[0].start, 60_000, "nothing finer is known of it");
  assert.equal(series.oldest(), NOW - 300_000);
});

test("a minute of which the seconds are known is drawn by them alone", () => {
  const series = new Series();
  series.addCandle(candle(-1, 70));
  series.addCandle(candle(0, 90));
  series.addCandle({ ...candle(0, 80), interval: "1s", start: at(20_000) });
  series.addCandle({ ...candle(0, 81), interval: "1s", start: at(21_000) });
  assert.deepEqual(series.candles(NOW - 600_000, 1000, true).map((bucket) => bucket.close), [70, 80, 81]);
  const young = new Series();
  young.addCandle(candle(0, 90));
  young.addCandle({ ...candle(0, 80), interval: "1s", start: at(20_000) });
  assert.equal(young.oldest(), NOW + 20_000);
});

test("minutes join to wider buckets, with the volume of all", () => {
  const series = new Series();
  for (let minute = 0; minute < 10; minute += 1) series.addCandle(candle(minute, 100 + minute));
  const [one, two] = series.candles(NOW, 300_000, true);
  assert.deepEqual([one.open, one.high, one.low, one.close, one.volume], [99, 106, 98, 104, 5]);
  assert.equal(two.close, 109);
});

test("late arrivals fall into place, and the oldest go", () => {
  const series = new Series();
  for (const second of [5, 3, 4]) series.addPrice(NOW + second * 1000, second);
  assert.deepEqual(series.candles(NOW, 1000, false).map((bucket) => bucket.close), [3, 4, 5]);
  for (let second = 0; second < 8000; second += 1) series.addPrice(NOW + second * 1000, 1);
  assert.equal(series.price.seconds.list.length, 7200);
});

test("durations read as people say them", () => {
  const texts = [340, 9_960, 61_000, 3_725_000, 190_000_000].map(durationText);
  assert.deepEqual(texts, ["0.3 s", "10 s", "1 min 1 s", "1 h 2 min", "2 d 4 h"]);
});
