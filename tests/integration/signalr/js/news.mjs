// Listens to a platform: KEY=… node news.mjs URL TRANSPORT PROTOCOL TASK…   A JSON line for everything that happens.
import { build } from "./connect.mjs";

const [url, transport, protocol, ...tasks] = process.argv.slice(2);
const say = (...what) => console.log(JSON.stringify(what));
const connection = build(url, transport, protocol, { token: process.env.KEY, stateful: !!process.env.STATEFUL });
for (const name of ["OnNewArtifactAvailable", "OnMetricUpdate", "OnAlertTriggered"]) {
  connection.on(name, (...args) => say(name, ...args));
}
connection.onclose((error) => { say("closed", error ? error.message : null); process.exit(0); });
const tried = (method, ...args) => connection.invoke(method, ...args).then(
  (result) => say(method, result), (error) => say(method, "refused", error.message),
);
await connection.start();
for (const task of tasks) await tried("SubscribeTask", task);
say("ready");
let waiting = "";
process.stdin.on("data", async (data) => {
  waiting += data;
  for (let end; (end = waiting.indexOf("\n")) >= 0;) {
    const [method, ...args] = JSON.parse(waiting.slice(0, end));
    waiting = waiting.slice(end + 1);
    if (method === "stop") await connection.stop();
    else await tried(method, ...args);
  }
});
