// Talks both ways while its socket is cut, and tells what arrived: node stateful.mjs URL PROTOCOL COUNT.
import { build, sleep, until } from "./connect.mjs";

const [url, protocol, count] = process.argv.slice(2);
const total = Number(count);
const connection = build(url, "WebSockets", protocol, { stateful: true });
const numbers = [];
const streamed = [];
let closed = null;
connection.on("OnNumber", (number) => { numbers.push(number); });
connection.onclose((error) => { closed = String(error); });
await connection.start();
await connection.invoke("Forget");
const id = connection.connectionId;
console.log("ready");

connection.send("Pace", total, 0.004);
const stream = new Promise((resolve, reject) => {
  connection.stream("PacedCount", total, 0.004).subscribe({
    next: (item) => streamed.push(item), complete: resolve, error: reject,
  });
});
const answers = [];
for (let i = 0; i < total; i++) {
  connection.send("Note", i);
  if (i % 20 === 0) answers.push(connection.invoke("Add", i, i));
  await sleep(4);
}
await stream;
await until(() => closed || numbers.length >= total, "every number", 15_000);
const results = await Promise.all(answers);
let seen = [];
await until(async () => (seen = await connection.invoke("Seen")).length >= total, "every note", 15_000);
await sleep(100);  // a duplicate would come now
console.log(JSON.stringify({ numbers, streamed, seen, results, closed, same: connection.connectionId === id }));
await connection.stop();
process.exit(0);
