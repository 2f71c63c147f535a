// Says nothing for a while over every transport, with little patience: node quiet.mjs URL MILLISECONDS.
import { build, sleep } from "./connect.mjs";

const [url, ms] = process.argv.slice(2);
const told = {};
await Promise.all(["WebSockets", "ServerSentEvents", "LongPolling"].map(async (transport) => {
  const connection = build(url, transport, "json");
  connection.serverTimeoutInMilliseconds = 2500;
  connection.keepAliveIntervalInMilliseconds = 500;
  let closed = null;
  connection.onclose((error) => { closed = String(error); });
  await connection.start();
  const id = connection.connectionId;
  await sleep(Number(ms));
  told[transport] = { closed, same: connection.connectionId === id, sum: await connection.invoke("Add", 40, 2) };
  await connection.stop();
}));
console.log(JSON.stringify(told));
process.exit(0);
