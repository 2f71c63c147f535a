// The checks of the official client: node checks.mjs URL TRANSPORT PROTOCOL. A JSON line for each.
import assert from "node:assert/strict";
import { Subject } from "@microsoft/signalr";
import { build, sleep, until } from "./connect.mjs";

const [url, transport, protocol] = process.argv.slice(2);
const checks = {};

async function connected(options = {}) {
  const connection = build(url, transport, protocol, options);
  connection.heard = [];
  for (const name of ["Welcome", "OnText", "OnNumber"]) {
    connection.on(name, (...args) => { connection.heard.push([name, ...args]); });
  }
  await connection.start();
  return connection;
}

const texts = (connection) => connection.heard.filter(([name]) => name === "OnText").map(([, , text]) => text);
const fails = (promise, message) => assert.rejects(promise, (error) => (assert.equal(error.message, message), true));

function collect(stream) {
  const items = [];
  return new Promise((resolve) => {
    stream.subscribe({
      next: (item) => items.push(item),
      complete: () => resolve({ items }),
      error: (error) => resolve({ items, error: error.message }),
    });
  });
}

function upload(...items) {
  const subject = new Subject();
  setTimeout(() => { items.forEach((item) => subject.next(item)); subject.complete(); }, 1);
  return subject;
}

checks.invoke_answers = async (c) => assert.equal(await c.invoke("Add", 40, 2), 42);
checks.default_argument = async (c) => assert.equal(await c.invoke("Add", 41), 42);
checks.method_names_ignore_case = async (c) => assert.equal(await c.invoke("aDD", 1, 2), 3);
checks.user_is_known = async (c) => assert.equal(await c.invoke("WhoAmI"), "ann");
checks.void_is_null = async (c) => assert.equal(await c.invoke("Nothing"), null);
checks.on_connect_is_heard = async (c) => {
  await until(() => c.heard.length, "a welcome");
  assert.deepEqual(c.heard[0], ["Welcome", "ann"]);
};
checks.values_come_back_as_they_were = async (c) => {
  for (const value of [
    null, true, 0, -1, 1.5, 2 ** 31, "", "\u001e\r\n\t\"\\", "žluťoučký 🐎 漢字 \u2028", [], {}, [1, [2, [3]]],
    { a: { b: [null, { c: "d" }] } }, "x".repeat(20000),
  ]) assert.deepEqual(await c.invoke("Echo", value), value);
};
checks.bytes_come_back = async (c) => {
  if (protocol === "json") return assert.equal(await c.invoke("Echo", "AAEC"), "AAEC");
  assert.deepEqual([...await c.invoke("Echo", new Uint8Array([0, 1, 2, 255]))], [0, 1, 2, 255]);
};
checks.send_arrives = async (c) => {
  await c.invoke("Forget");
  await c.send("Note", "sent");
  await until(async () => (await c.invoke("Seen")).includes("sent"), "a note");
};
checks.sends_keep_their_order = async (c) => {
  await c.invoke("Forget");
  for (let i = 0; i < 200; i++) c.send("Note", i);
  await until(async () => (await c.invoke("Seen")).length === 200, "200 notes");
  assert.deepEqual(await c.invoke("Seen"), [...Array(200).keys()]);
};
checks.calls_at_once = async (c) => {
  const answers = await Promise.all([...Array(50).keys()].map((i) => c.invoke("Add", i, i)));
  assert.deepEqual(answers, [...Array(50).keys()].map((i) => 2 * i));
};
checks.hub_exception_is_told = (c) =>
  fails(c.invoke("Fail"), "An unexpected error occurred invoking 'Fail' on the server. HubException: on purpose");
checks.other_errors_are_not = (c) =>
  fails(c.invoke("Crash"), "An unexpected error occurred invoking 'Crash' on the server.");
checks.results_that_cannot_be_sent = (c) =>
  fails(c.invoke("Unsendable"), "An unexpected error occurred invoking 'Unsendable' on the server.");
checks.unknown_method = (c) => fails(
  c.invoke("Nope"), "Failed to invoke 'Nope' due to an error on the server. HubException: Method does not exist.");
checks.undeclared_and_private_names = async (c) => {
  for (const name of ["__init__", "_tell", "send_all", "close", "on_connect", "constructor", "__class__"]) {
    await fails(
      c.invoke(name),
      `Failed to invoke '${name}' due to an error on the server. HubException: Method does not exist.`);
  }
};
checks.too_few_arguments = (c) => fails(c.invoke("Add"), "Failed to invoke 'Add' due to an error on the server.");
checks.too_many_arguments = (c) =>
  fails(c.invoke("Add", 1, 2, 3), "Failed to invoke 'Add' due to an error on the server.");
checks.arguments_of_another_type = async (c) => {
  for (const bad of ["1", null, true, [1], { a: 1 }]) {
    await fails(c.invoke("Add", bad, 2), "Failed to invoke 'Add' due to an error on the server.");
  }
};
checks.stream_yields = async (c) => assert.deepEqual(await collect(c.stream("Count", 5)), { items: [0, 1, 2, 3, 4] });
checks.empty_stream_completes = async (c) => assert.deepEqual(await collect(c.stream("Count", 0)), { items: [] });
checks.long_stream_keeps_its_order = async (c) =>
  assert.deepEqual((await collect(c.stream("Count", 2000))).items, [...Array(2000).keys()]);
checks.stream_fails_after_its_items = async (c) => assert.deepEqual(await collect(c.stream("CountAndFail", 2)), {
  items: [0, 1],
  error: "An error occurred on the server while streaming results. HubException: out of numbers",
});
checks.stream_is_cancelled = async (c) => {
  await c.invoke("Forget");
  let got = 0;
  const subscription = c.stream("Forever").subscribe({ next: () => got++, complete() {}, error() {} });
  await until(() => got > 2, "items");
  subscription.dispose();
  await until(async () => (await c.invoke("Over")).includes("stream over"), "the end of the stream");
};
checks.streaming_method_is_not_invoked = (c) => fails(
  c.invoke("Count", 3), "The client attempted to invoke the streaming 'Count' method with a non-streaming invocation.");
checks.plain_method_is_not_streamed = async (c) => assert.equal(
  (await collect(c.stream("Add", 1, 2))).error,
  "The client attempted to invoke the non-streaming 'Add' method with a streaming invocation.");
checks.upload_is_read = async (c) => assert.equal(await c.invoke("Total", 2, upload(1, 2, 3)), 12);
checks.two_uploads_are_told_apart = async (c) =>  // the client overlooks the second of two that are neighbours
  assert.equal(await c.invoke("TotalOfTwo", upload(1, 2), 10, upload(3, 4)), 73);
checks.upload_without_an_answer = async (c) => {
  await c.invoke("Forget");
  await c.send("UploadQuietly", upload(7, 8));
  await until(async () => (await c.invoke("Seen")).length === 2, "two numbers");
};
checks.long_upload = async (c) =>
  assert.equal(await c.invoke("Total", 1, upload(...Array(500).keys())), 124750);
checks.stream_there_and_back = async (c) =>
  assert.deepEqual(await collect(c.stream("Scale", 10, upload(1, 2, 3))), { items: [10, 20, 30] });
checks.failed_upload_fails_the_call = async (c) => {
  const subject = new Subject();
  const answer = c.invoke("Total", 1, subject);
  subject.next(1);
  subject.error(new Error("lost my numbers"));
  await fails(answer, "An unexpected error occurred invoking 'Total' on the server. HubException: lost my numbers");
};
checks.missing_upload = (c) => fails(
  c.invoke("Total", 1),
  "An unexpected error occurred invoking 'Total' on the server. " +
  "HubException: Client sent 0 stream(s), Hub method expects 1.");
checks.client_result = async (c) => {
  c.on("OnQuestion", async (question) => `${question}? yes`);
  assert.deepEqual(await c.invoke("Ask", "well"), ["answered", "well? yes"]);
};
checks.client_result_that_fails = async (c) => {
  c.on("OnQuestion", () => { throw new Error("do not know"); });
  await fails(c.invoke("Ask", "well"),
    "An unexpected error occurred invoking 'Ask' on the server. HubException: Error: do not know");
};
checks.client_result_without_a_handler = (c) => fails(
  c.invoke("Ask", "well"),
  "An unexpected error occurred invoking 'Ask' on the server. HubException: Client didn't provide a result.");
checks.group_hears_until_it_is_left = async (c) => {
  const other = await connected();
  try {
    await c.invoke("Join", "readers");
    await other.invoke("Join", "readers");
    assert.equal(await c.invoke("Tell", "readers", "one"), 2);
    await until(() => texts(c).includes("one") && texts(other).includes("one"), "one, twice");
    await c.invoke("Leave", "readers");
    assert.equal(await c.invoke("Tell", "readers", "two"), 1);
    await until(() => texts(other).includes("two"), "two");
    assert.deepEqual(texts(c), ["one"]);
    assert.equal(await c.invoke("Tell", "nobody", "three"), 0);
  } finally { await other.stop(); }
};
checks.user_hears_on_every_connection = async (c) => {
  const [again, bob] = [await connected(), await connected({ token: "token-of-bob" })];
  try {
    await c.invoke("TellUser", "ann", "for ann");
    await until(() => texts(c).length && texts(again).length, "for ann, twice");
    await bob.invoke("TellUser", "bob", "for bob");
    await until(() => texts(bob).length, "for bob");
    assert.deepEqual([texts(c), texts(again), texts(bob)], [["for ann"], ["for ann"], ["for bob"]]);
  } finally { await again.stop(); await bob.stop(); }
};
checks.everybody_hears = async (c) => {
  await c.invoke("TellAll", "all of you");
  await until(() => texts(c).includes("all of you"), "all of you");
};
checks.messages_keep_their_order = async (c) => {
  await c.invoke("SendMe", 1000);
  await until(() => c.heard.filter(([name]) => name === "OnNumber").length === 1000, "1000 numbers");
  const numbers = c.heard.filter(([name]) => name === "OnNumber").map(([, number]) => number);
  assert.deepEqual(numbers, [...Array(1000).keys()]);
};
checks.stop_ends_it_at_the_hub = async (c) => {
  const other = await connected();
  await other.invoke("Nothing");
  const id = other.connectionId;
  await other.stop();
  await until(async () => (await c.invoke("Left")).includes(id), "that it left");
};
checks.what_was_sent_before_the_stop_arrives = async (c) => {
  await c.invoke("Forget");
  const other = await connected();
  const sent = [...Array(100).keys()].map((i) => other.send("Note", i));
  await Promise.all(sent);
  await other.stop();
  await until(async () => (await c.invoke("Seen")).length === 100, "100 notes");
};
checks.stop_ends_its_calls = async (c) => {
  await c.invoke("Forget");
  const other = await connected();
  const call = assert.rejects(other.invoke("Hang"));
  await sleep(50);
  await other.stop();
  await call;
  await until(async () => (await c.invoke("Over")).includes("hang over"), "the end of the call");
};
checks.server_closes_with_an_error = async () => {
  const other = await connected();
  const closed = new Promise((resolve) => other.onclose(resolve));
  other.send("CloseMe", "enough", false).catch(() => {});
  assert.equal((await closed)?.message, "Server returned an error on close: enough");
};
checks.server_closes_without_an_error = async () => {
  const other = await connected();
  const closed = new Promise((resolve) => other.onclose(resolve));
  other.send("CloseMe", null, false).catch(() => {});
  assert.equal(await closed, undefined);
};
checks.server_asks_to_come_back = async () => {
  const other = await connected({ reconnect: [0, 50, 100] });
  const before = other.connectionId;
  const back = new Promise((resolve) => other.onreconnected(resolve));
  other.send("CloseMe", "restarting", true).catch(() => {});
  assert.notEqual(await back, before);
  assert.equal(await other.invoke("Add", 1, 1), 2);
  await other.stop();
};
checks.revoked_users_are_closed = async (c) => {
  const bobs = [await connected({ token: "token-of-bob" }), await connected({ token: "token-of-bob" })];
  const closed = Promise.all(bobs.map((bob) => new Promise((resolve) => bob.onclose(resolve))));
  assert.equal(await c.invoke("Revoke", "bob"), 2);
  for (const error of await closed) assert.equal(error.message, "Server returned an error on close: revoked");
  assert.equal(await c.invoke("Add", 1, 1), 2);
};
checks.too_large_a_message_ends_it = async () => {
  const other = await connected();
  const closed = new Promise((resolve) => other.onclose(resolve));
  other.send("Note", "x".repeat(100_000)).catch(() => {});
  assert.equal((await closed)?.message, "Server returned an error on close: Connection closed with an error.");
};
checks.bad_tokens_are_refused = async () => {
  for (const token of ["", "token-of-eve", "a b"]) {
    await assert.rejects(connected({ token }), /401/);
  }
};
checks.negotiation_may_be_skipped = async () => {
  if (transport !== "WebSockets") {
    return assert.rejects(connected({ skipNegotiation: true }), /only be skipped when using the WebSocket transport/);
  }
  const other = await connected({ skipNegotiation: true });
  assert.equal(await other.invoke("Add", 1, 1), 2);
  await other.stop();
};

async function run(name, check) {
  const connection = await connected();
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error("too late")), 15_000); });
  try {
    await Promise.race([check(connection), late]);
    return { name, ok: true };
  } catch (error) {
    return { name, ok: false, why: String(error?.stack ?? error) };
  } finally {
    clearTimeout(timer);
    await connection.stop();
  }
}

for (const [name, check] of Object.entries(checks)) console.log(JSON.stringify(await run(name, check)));
process.exit(0);
