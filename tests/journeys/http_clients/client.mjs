// What Node.js does by itself: fetch, uploads of unknown length, Expect, and events that are resumed.
import http from "node:http";

const [base, token] = process.argv.slice(2);
const headers = { authorization: `Bearer ${token}` };
const told = {};

let answer = await fetch(`${base}/echo`);
told.nobody = [answer.status, (await answer.json()).error];

const body = new ReadableStream({
  start(controller) {
    for (let n = 0; n < 20; n++) controller.enqueue(new Uint8Array(20000));
    controller.close();
  },
});
answer = await fetch(`${base}/echo`, { method: "POST", body, duplex: "half", headers });
const seen = await answer.json();
told.upload = [answer.status, seen.bytes, seen.headers["remote-user"], "authorization" in seen.headers];

const stop = new AbortController();
answer = await fetch(`${base}/large`, { headers, signal: stop.signal });
await answer.body.getReader().read();
stop.abort();
answer = await fetch(`${base}/large`, { headers });
told.large = (await answer.arrayBuffer()).byteLength;

told.expected = await new Promise((done, failed) => {
  const options = { method: "PUT", headers: { ...headers, expect: "100-continue" } };
  const request = http.request(`${base}/echo`, options, (response) => {
    response.resume().on("end", () => done(response.statusCode));
  });
  request.on("error", failed).on("continue", () => request.end("hello")).flushHeaders();
});

if (typeof EventSource !== "undefined") {
  // While it waits to connect again, it does not keep the process alive.
  const awake = setInterval(() => {}, 1000);
  told.events = await new Promise((done) => {
    const source = new EventSource(`${base}/public/events`);
    const events = [];
    source.addEventListener("count", (event) => {
      events.push(event.data);
      if (events.length === 4) {
        source.close();
        done(events);
      }
    });
  });
  clearInterval(awake);
}
console.log(JSON.stringify(told));
