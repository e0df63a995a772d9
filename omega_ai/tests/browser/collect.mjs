// Connects to the address given and writes one JSON line an event, until its input ends. For test_client.py.

import { OmegaClient } from "../../data_feed/dashboard/static/omega-client.js";

const client = new OmegaClient(process.argv[2], { backoff: { initialMs: 100, maxMs: 300 } });
const tell = (fields) => process.stdout.write(JSON.stringify(fields) + "\n");
client.on("btc_price", ({ epoch, seq, state }) => tell({ epoch, seq, state }));
client.on("state", ({ state, code }) => tell({ link: state, code }));
client.on("subscribed", ({ channel, recovered }) => channel === "btc_price" && tell({ recovered }));
client.on("gap", (gap) => tell({ gap }));
client.on("reset", (reset) => tell({ reset }));
client.on("error", (error) => tell({ error: error.message }));
client.connect();
process.stdin.on("end", () => client.close()).resume();
