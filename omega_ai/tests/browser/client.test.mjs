// The protocol part alone, on a socket and a clock that the test moves. Run by test_client.py, or by
// `node --test omega_ai/tests/browser/client.test.mjs`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { backoff, mayReconnect, OmegaClient } from "../../data_feed/dashboard/static/omega-client.js";

class Timers {
  time = 0;
  #next = 1;
  #due = new Map();
  now = () => this.time;
  setTimeout = (action, ms) => {
    this.#due.set(this.#next, { at: this.time + ms, action });
    return this.#next++;
  };
  clearTimeout = (id) => this.#due.delete(id);
  advance(ms) {
    const end = this.time + ms;
    for (;;) {
      const [id, entry] = [...this.#due].filter(([, each]) => each.at <= end).sort((a, b) => a[1].at - b[1].at)[0] ?? [];
      if (id === undefined) break;
      this.#due.delete(id);
      this.time = entry.at;
      entry.action();
    }
    this.time = end;
  }
}

/** A client with the sockets it made, newest last, and what it told. */
function make(options = {}) {
  const timers = new Timers();
  const sockets = [];
  class Socket {
    constructor(url, protocol) {
      Object.assign(this, { url, protocol, sent: [], closedWith: null });
      sockets.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close(code, reason) {
      this.closedWith = { code, reason };
    }
    say(...messages) {
      for (const message of messages) this.onmessage?.({ data: JSON.stringify(message) });
    }
    end(code, reason = "") {
      this.onclose?.({ code, reason });
    }
  }
  const client = new OmegaClient("ws://feed", { WebSocket: Socket, timers, backoff: { random: () => 0.5 }, ...options });
  const told = [];
  for (const name of ["btc_price", "gap", "reset", "error", "state"]) {
    client.on(name, (event) => told.push([name, name === "btc_price" ? event.seq : event]));
  }
  const open = () => sockets.at(-1).onopen();
  const seen = (name) => told.filter(([each]) => each === name).map(([, event]) => event);
  client.connect();
  return { client, timers, sockets, told, open, seen };
}

const price = (seq, epoch = "e1") => ({ type: "btc_price", epoch, seq, price: 61800 + seq, state: "live" });
const subscribed = (seq, recovered, epoch = "e1") => ({ type: "subscribed", channel: "btc_price", mode: "all", epoch, seq, recovered });
const heartbeat = (seq, epoch = "e1") => ({ type: "heartbeat", channels: { btc_price: { epoch, seq } } });

test("takes nothing by default, then subscribes to what is wanted and to the heartbeat", () => {
  const { sockets, open } = make();
  assert.equal(sockets[0].url, "ws://feed/?channels=");
  assert.equal(sockets[0].protocol, "omega.v2");
  open();
  assert.deepEqual(sockets[0].sent, [
    { type: "subscribe", id: "subscribe", channels: ["btc_price"], mode: "all", interval_ms: 0, since: {} },
    { type: "subscribe", channels: ["heartbeat"] },
  ]);
});

test("gives every message once and in order, and drops doubles", () => {
  const { sockets, open, seen } = make();
  open();
  sockets[0].say(subscribed(4, false), price(5), price(6), price(6), price(5), price(7));
  assert.deepEqual(seen("btc_price"), [5, 6, 7]);
  assert.deepEqual(seen("gap"), []);
});

test("accepts the newest message itself after a fresh subscription", () => {
  const { sockets, open, seen } = make();
  open();
  sockets[0].say(subscribed(4, false), price(4), price(5));
  assert.deepEqual(seen("btc_price"), [4, 5]);
});

test("after a cut, asks for everything since the last message seen", () => {
  const { sockets, timers, open, seen, client } = make();
  open();
  sockets[0].say(subscribed(4, false), price(5), price(6));
  sockets[0].end(1006);
  assert.equal(client.state, "waiting");
  timers.advance(250);
  open();
  assert.deepEqual(sockets[1].sent[0].since, { btc_price: { epoch: "e1", seq: 6 } });
  sockets[1].say(subscribed(9, true), price(7), price(8), price(9), price(10));
  assert.deepEqual(seen("btc_price"), [5, 6, 7, 8, 9, 10]);
  assert.deepEqual(seen("reset"), []);
});

test("tells when a resume was not whole", () => {
  const { sockets, timers, open, seen } = make();
  open();
  sockets[0].say(subscribed(4, false), price(5));
  sockets[0].end(1012);
  timers.advance(250);
  open();
  sockets[1].say(subscribed(2, false, "e2"), price(2, "e2"), price(3, "e2"));
  assert.deepEqual(seen("reset"), [{ channel: "btc_price", epoch: "e2", previous: { epoch: "e1", seq: 5 } }]);
  assert.deepEqual(seen("btc_price"), [5, 2, 3]);
});

test("a jump in seq is told, and mended by resuming from before it", () => {
  const { sockets, timers, open, seen } = make();
  open();
  sockets[0].say(subscribed(0, false), price(1), price(4));
  assert.deepEqual(seen("gap"), [{ channel: "btc_price", epoch: "e1", from: 1, to: 4 }]);
  assert.deepEqual(seen("btc_price"), [1], "what follows a gap is not given before what it skips");
  timers.advance(250);
  open();
  sockets[1].say(subscribed(4, true), price(2), price(3), price(4));
  assert.deepEqual(seen("btc_price"), [1, 2, 3, 4]);
});

test("a subscription that cannot be served now is tried again from where it was", () => {
  const { sockets, timers, open, seen } = make();
  open();
  sockets[0].say(subscribed(0, false), price(1));
  sockets[0].end(1006);
  timers.advance(2_000);
  open();
  const away = { type: "error", id: "subscribe", code: "internal", message: "cannot be read now", temporary: true };
  sockets.at(-1).say(away);
  timers.advance(2_000);
  open();
  assert.deepEqual(sockets.at(-1).sent[0].since, { btc_price: { epoch: "e1", seq: 1 } });
  assert.deepEqual(seen("reset"), []);
});

test("in mode latest jumps are legal", () => {
  const { sockets, open, seen } = make({ mode: "latest", intervalMs: 100 });
  open();
  assert.deepEqual(sockets[0].sent[0], { type: "subscribe", id: "subscribe", channels: ["btc_price"], mode: "latest", interval_ms: 100, since: {} });
  sockets[0].say(subscribed(3, false), price(3), price(9), price(20), heartbeat(30), heartbeat(40), heartbeat(50));
  assert.deepEqual(seen("btc_price"), [3, 9, 20]);
  assert.deepEqual(seen("gap"), []);
});

test("a lost tail shows by the heartbeat, a late one does not", () => {
  const { sockets, timers, open, seen } = make();
  open();
  sockets[0].say(subscribed(0, false), price(1), heartbeat(3), price(2), price(3), heartbeat(3), heartbeat(4));
  assert.deepEqual(seen("gap"), []);
  sockets[0].say(heartbeat(4));
  assert.deepEqual(seen("gap"), [{ channel: "btc_price", epoch: "e1", from: 3, to: 4 }]);
  timers.advance(250);
  assert.equal(sockets.length, 2);
});

test("a connection that goes silent is cut and made anew", () => {
  const { sockets, timers, open, client } = make({ silenceMs: 4000 });
  open();
  timers.advance(3000);
  sockets[0].say(heartbeat(0));
  timers.advance(3500);
  assert.equal(client.state, "open");
  timers.advance(600);
  assert.equal(client.state, "waiting");
  assert.equal(sockets[0].closedWith.code, 4000);
  timers.advance(250);
  assert.equal(sockets.length, 2);
});

test("a server that never answers the handshake is given up in the time set", () => {
  const { sockets, timers, client } = make({ connectTimeoutMs: 2000 });
  timers.advance(1999);
  assert.equal(client.state, "connecting");
  timers.advance(1);
  assert.equal(client.state, "waiting");
  assert.notEqual(sockets[0].closedWith, null);
});

test("waits longer with each failure, at most the bound, and starts anew once data flows", () => {
  const { sockets, timers, open, seen } = make();
  const waits = () => seen("state").filter((event) => event.state === "waiting").map((event) => event.retryInMs);
  const wait = () => timers.advance(waits().at(-1));
  for (let failure = 0; failure < 9; failure += 1) {
    sockets.at(-1).end(1006);
    wait();
  }
  assert.deepEqual(waits(), [250, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
  open();
  sockets.at(-1).end(1006); // a handshake alone is no success: a server that is dying gives that too
  wait();
  assert.equal(waits().at(-1), 15000);
  open();
  sockets.at(-1).say(subscribed(0, false), price(1));
  sockets.at(-1).end(1006);
  assert.equal(waits().at(-1), 250);
});

test("jitter is full: from nothing to the bound", () => {
  assert.equal(backoff(3, { random: () => 0 }), 0);
  assert.equal(backoff(3, { random: () => 0.999999, initialMs: 100 }) < 800, true);
  assert.equal(backoff(5000, { random: () => 1 }), 30_000);
});

test("the ranges of close codes decide whether it comes back", () => {
  for (const code of [1000, 1001, 1005, 1006, 1011, 1012, 1013, 3000, 4008, 4012, 4499]) assert.equal(mayReconnect(code), true, code);
  for (const code of [1002, 1003, 1007, 1008, 1009, 4500, 4503, 4999]) assert.equal(mayReconnect(code), false, code);
  const { sockets, timers, open, client, seen } = make();
  open();
  sockets[0].end(4500, "token expired");
  timers.advance(60_000);
  assert.equal(sockets.length, 1);
  assert.equal(client.state, "closed");
  assert.deepEqual(seen("state").at(-1), { state: "closed", code: 4500, reason: "token expired", willRetry: false });
});

test("close ends it for good; connect begins again where it was", () => {
  const { sockets, timers, open, client } = make();
  open();
  sockets[0].say(subscribed(0, false), price(1));
  client.close();
  assert.equal(sockets[0].closedWith.code, 1000);
  sockets[0].say(price(2));
  timers.advance(60_000);
  assert.equal(sockets.length, 1);
  assert.deepEqual(client.positions, { btc_price: { epoch: "e1", seq: 1 } });
  client.connect();
  open();
  assert.deepEqual(sockets[1].sent[0].since, { btc_price: { epoch: "e1", seq: 1 } });
});

test("retryNow does not wait", () => {
  const { sockets, client } = make();
  sockets[0].end(1006);
  client.retryNow();
  assert.equal(sockets.length, 2);
});

test("requests get their own answer, an error as an exception, and end with the connection", async () => {
  const { sockets, open, client } = make();
  open();
  const history = client.history("btc_price", { limit: 2 });
  const wrong = client.request({ type: "nonsense" });
  const cut = client.ping();
  const [first, second] = sockets[0].sent.slice(-3);
  assert.deepEqual(first, { type: "history", channel: "btc_price", limit: 2, id: first.id });
  sockets[0].say({ type: "error", code: "unknown_type", message: "unknown type", temporary: false, id: second.id });
  sockets[0].say({ ...price(1), id: first.id }); // a publisher's own id answers nothing
  sockets[0].say({ type: "history", id: first.id, channel: "btc_price", messages: [price(1)] });
  sockets[0].end(1001);
  assert.equal((await history).messages.length, 1);
  await assert.rejects(wrong, (error) => error.code === "unknown_type" && error.temporary === false);
  await assert.rejects(cut, /cut/);
  await assert.rejects(client.ping(), /not connected/);
});

test("channels may be added and given up", () => {
  const { sockets, open, client, seen } = make();
  open();
  client.subscribe(["trades"]);
  assert.deepEqual(sockets[0].sent.at(-1).channels, ["trades"]);
  client.unsubscribe(["btc_price"]);
  sockets[0].say(price(1)); // was on its way
  assert.deepEqual(seen("btc_price"), []);
  assert.deepEqual(sockets[0].sent.at(-1), { type: "unsubscribe", channels: ["btc_price"] });
});

test("a token goes into a message, never into the address", () => {
  const { sockets, open } = make({ token: "secret" });
  open();
  assert.equal(sockets[0].url.includes("secret"), false);
  assert.deepEqual(sockets[0].sent[0], { type: "auth", token: "secret" });
});

test("what is not of the contract is ignored", () => {
  const { sockets, open, seen, client } = make();
  open();
  for (const data of ["", "{", "null", "7", '"x"', "[]", '{"type":"unheard_of","x":1}', "{}"]) sockets[0].onmessage({ data });
  sockets[0].say(subscribed(0, false), price(1));
  assert.deepEqual(seen("btc_price"), [1]);
  assert.equal(client.state, "open");
});
