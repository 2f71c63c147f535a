// Comes back by itself after its socket was cut, as a new connection: node reconnect.mjs URL TRANSPORT.
import { build } from "./connect.mjs";

const [url, transport] = process.argv.slice(2);
const connection = build(url, transport, "json", { reconnect: [0, 50, 100, 200, 500, 1000] });
const events = [];
connection.onreconnecting(() => events.push("reconnecting"));
const back = new Promise((resolve) => connection.onreconnected(() => { events.push("reconnected"); resolve(); }));
connection.onclose(() => events.push("closed"));
await connection.start();
const before = connection.connectionId;
const failed = connection.invoke("Hang").then(() => false, () => true);
console.log("ready");
await back;
const sum = await connection.invoke("Add", 40, 2);
console.log(JSON.stringify({ events, failed: await failed, other: connection.connectionId !== before, sum }));
process.exit(0);
