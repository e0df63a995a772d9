// RATE messages a second on each of VUS connections for SECONDS, each with its number and the time at which it was
// to be sent; the answer's time is counted from then. This is as much as k6 can be made to check.
import { WebSocket } from "k6/experimental/websockets";
import { Trend, Counter } from "k6/metrics";

const vus = Number(__ENV.VUS), rate = Number(__ENV.RATE), seconds = Number(__ENV.SECONDS);
export const options = {
  scenarios: { all: { executor: "per-vu-iterations", vus, iterations: 1, maxDuration: `${seconds + 30}s` } },
  summaryTrendStats: ["med", "p(90)", "p(95)", "p(99)", "max", "count"],
  thresholds: { checks: ["rate==1"] },
};
const latency = new Trend("latency", true);
const answers = new Counter("answers");

export default function () {
  const socket = new WebSocket(__ENV.URL);
  const every = Math.max(1, 1000 / rate), each = Math.max(1, Math.round(rate / 1000));
  let sent = 0;
  socket.onopen = () => {
    const begin = Date.now();
    const timer = setInterval(() => {
      for (let i = 0; i < each; i++) {
        socket.send(`${Math.round(begin + Math.floor(sent / each) * every)}:${sent}:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx`);
        sent++;
      }
    }, every);
    setTimeout(() => clearInterval(timer), seconds * 1000);
    setTimeout(() => socket.close(), seconds * 1000 + 2000);
  };
  socket.onmessage = (event) => {
    latency.add(Date.now() - Number(event.data.split(":")[0]));
    answers.add(1);
  };
}
