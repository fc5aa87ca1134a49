/**
 * Sends a Node server's events to the HeyPeter exporter: in batches, in order, again after a failure, counted once.
 *
 * One file without dependencies, for Node 18 and later and for Next.js. It reads the exporter's token: it belongs on
 * the server and must never be part of what a browser loads.
 */

import { AsyncLocalStorage } from "node:async_hooks";
import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import diagnostics from "node:diagnostics_channel";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { promisify } from "node:util";
import { gzip } from "node:zlib";

const compress = promisify(gzip);
const COMPRESS_ABOVE = 8 * 1024; // bytes; below it gzip costs more time than it saves
const BATCH_BYTES = 512 * 1024; // half of what the exporter takes: 413 is left to proxies with limits of their own
const EVENT_BYTES = 32 * 1024; // no event of the catalogue is as large: its texts end at 2,000 characters
const QUEUE_BYTES = 16 * 1024 * 1024;
const ANSWER_BYTES = 1024 * 1024;
const RETRY_AFTER_MOST = 300_000; // milliseconds; a longer wish would keep events for longer than anybody looks
const MAX_ROUTE = 2000; // characters; the exporter reads no more of a text
const QUIET = 60_000; // milliseconds between two log lines of one kind
// 502 and 504 are a proxy's words for an exporter that it could not reach: a network error seen from further away.
const RETRYABLE = new Set([408, 429, 502, 503, 504]);

const DEFAULTS = {
  batchSize: 200,
  batchDelay: 1000,
  queueSize: 10_000,
  timeout: 10_000,
  closeTimeout: 5_000,
  backoffBase: 500,
  backoffMost: 30_000,
  source: undefined,
  onRejected: undefined,
  log: (line) => console.warn(line),
  now: () => Date.now(),
  random: () => Math.random(),
  newId: () => randomUUID(),
  sleep: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds).unref()),
};

// Next.js bundles instrumentation.ts and every route apart, each with a copy of this module: what they must have in
// common lives on globalThis.
const shared = (globalThis[Symbol.for("heypeter.monitoring")] ??= {
  client: undefined,
  context: new AsyncLocalStorage(),
  counted: new WeakSet(),
  registered: false,
  // Kept here, for a channel that nobody holds is collected.
  began: diagnostics.channel("http.server.request.start"),
  followers: new WeakMap(), // by connection, what its end is told to
});

/** A queue of events and the one loop that sends them. */
export class Client {
  #options;
  #address;
  #agent;
  #token;
  #queue = [];
  #bytes = 0;
  #waiting = [];
  #flushing = [];
  #entered = 0; // events that were ever queued,
  #settled = 0; // of them those whose fate is known,
  #until = 0; // and up to where they are to be sent without waiting for a full batch
  #timer;
  #cut = []; // batches that are under way, the first of them as #batchId
  #batchId;
  #running;
  #hurried = false;
  #request;
  #closing;
  #giveUp;
  #gaveUp = false;
  #stopped;
  #said = new Map();
  #stats = { sent: 0, duplicates: 0, rejected: 0, dropped: 0, retried: 0, batches: 0 };

  constructor(options = {}) {
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    this.#options = { ...DEFAULTS, ...given };
    if (!options.disabled) {
      this.#address = address(options.url ?? process.env.HEYPETER_URL);
      this.#token = tokenReader(options);
    }
    const Agent = this.#address?.protocol === "https:" ? https.Agent : http.Agent;
    this.#agent = new Agent({ keepAlive: true, maxSockets: 1 });
    this.#stopped = new Promise((resolve) => (this.#giveUp = resolve));
  }

  /** Whether an address and a token are there. */
  get enabled() {
    return this.#address !== undefined && this.#token !== undefined;
  }

  /** Queues telemetry. Never throws and never waits: what finds the queue full is dropped and counted. */
  track(type, data = {}, extra = {}) {
    let entry;
    try {
      entry = this.#entry({ type, data, ...extra });
    } catch {
      return this.#drop(1, "an event could not be written as JSON, or is too large");
    }
    if (!this.enabled) return this.#drop(1, "set HEYPETER_URL and HEYPETER_TOKEN or HEYPETER_TOKEN_FILE");
    if (this.#closing) return this.#drop(1, "the client is closed");
    if (this.#isFull()) return this.#drop(1, "the queue is full");
    this.#push(entry);
    return true;
  }

  /** Queues a business event; waits while the queue is full. Throws if it cannot be queued at all. */
  async send(type, data = {}, extra = {}) {
    await this.#admit(this.#entry({ type, data, ...extra }));
  }

  /** Sends events and waits until the fate of each is known: counted, rejected (and why), or undelivered. */
  async deliver(events) {
    const entries = Array.from(events, (event) => this.#entry(event)); // none is queued unless all can be
    const outcomes = entries.map((entry) => new Promise((resolve) => (entry.settle = resolve)));
    const admitted = Promise.all(entries.map((entry) => this.#admit(entry)));
    this.#until = Math.max(this.#until, this.#entered + this.#waiting.length);
    this.#wake();
    await admitted;
    return held(Promise.all(outcomes));
  }

  /** Sends what is queued now; true once the fate of all of it is known, false after `timeout` milliseconds. */
  flush(timeout = this.#options.timeout) {
    const target = this.#entered + this.#waiting.length;
    if (this.#settled >= target) return Promise.resolve(true);
    this.#until = Math.max(this.#until, target);
    const flushed = new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), timeout); // holds the process until then
      this.#flushing.push({ target, done: () => (clearTimeout(timer), resolve(true)) });
    });
    this.#wake();
    return flushed;
  }

  /** Takes no more events, sends what is queued, and gives up what could not be sent in `timeout` milliseconds. */
  close(timeout = this.#options.closeTimeout) {
    this.#closing ??= this.flush(timeout).then(async (flushed) => {
      this.#gaveUp = true;
      this.#giveUp();
      this.#request?.destroy();
      clearTimeout(this.#timer);
      for (const { reject } of this.#waiting.splice(0)) reject(new Error("heypeter: the client is closed"));
      await this.#running;
      this.#undelivered(this.#queue.splice(0));
      this.#agent.destroy();
      return flushed;
    });
    return this.#closing;
  }

  /** From now on sends at once instead of filling batches: the process is about to end. */
  hurry() {
    this.#hurried = true;
    return this.flush();
  }

  /**
   * Sends what is left while process.exit() is under way, when nothing asynchronous runs any more: a child process does
   * it. A batch that was under way keeps its id. Next.js ends this way a few milliseconds after SIGTERM.
   */
  leave() {
    if (!this.enabled || this.#gaveUp) return;
    const batches = this.#cut.map((batch, index) => this.#body(index ? this.#options.newId() : this.#batchId, batch));
    while (this.#queue.length > 0) batches.push(this.#body(this.#options.newId(), this.#take()));
    if (batches.length === 0) return;
    this.#gaveUp = true;
    // Through standard input, for arguments and environments of processes can be read by others.
    const input = JSON.stringify({ url: this.#address.href, token: this.#token(), batches });
    const { NODE_EXTRA_CA_CERTS } = process.env;
    const env = NODE_EXTRA_CA_CERTS === undefined ? {} : { NODE_EXTRA_CA_CERTS };
    const stdio = ["pipe", "ignore", "ignore"];
    spawnSync(process.execPath, ["-e", LAST_WORDS], { input, env, stdio, timeout: this.#options.closeTimeout });
  }

  /** What became of the events so far: sent + rejected + dropped + queued are all that were given. */
  stats() {
    return { ...this.#stats, queued: this.#entered - this.#settled };
  }

  #entry({ type, data = {}, id, source, time, traceId }) {
    const written = JSON.stringify({
      type: String(type),
      id,
      source: source ?? this.#options.source,
      time: time ?? this.#options.now(),
      trace_id: traceId ?? shared.context.getStore()?.traceId,
      data,
    });
    const bytes = Buffer.byteLength(written);
    if (bytes > EVENT_BYTES) throw new RangeError(`heypeter: an event has at most ${EVENT_BYTES} bytes`);
    return { type: String(type), id, written, bytes, settle: undefined };
  }

  async #admit(entry) {
    if (!this.enabled) throw new Error("heypeter: set HEYPETER_URL and HEYPETER_TOKEN or HEYPETER_TOKEN_FILE");
    if (this.#closing) throw new Error("heypeter: the client is closed");
    if (!this.#isFull()) return this.#push(entry); // nobody waits then: room is given away as it is made
    return held(new Promise((resolve, reject) => this.#waiting.push({ entry, resolve, reject })));
  }

  #isFull() {
    return this.#queue.length >= this.#options.queueSize || this.#bytes >= QUEUE_BYTES;
  }

  #push(entry) {
    this.#queue.push(entry);
    this.#bytes += entry.bytes;
    this.#entered += 1;
    this.#wake();
  }

  #due() {
    if (this.#gaveUp || this.#queue.length === 0) return false;
    const isAsked = this.#entered - this.#queue.length < this.#until;
    return isAsked || this.#hurried || this.#queue.length >= this.#options.batchSize || this.#bytes >= BATCH_BYTES;
  }

  #wake() {
    if (this.#running || this.#gaveUp) return;
    if (this.#due()) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#running = this.#run();
    } else if (this.#queue.length > 0) {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#until = this.#entered;
        this.#wake();
      }, this.#options.batchDelay).unref();
    }
  }

  async #run() {
    await new Promise((resolve) => setImmediate(resolve)); // track() is to cost its caller no more than a queue
    // One batch at a time, until its fate is known: what was queued first is counted first.
    while (this.#due()) {
      this.#cut = [this.#take()];
      while (this.#cut.length > 0) await this.#post(this.#cut[0]);
    }
    this.#running = undefined;
    this.#wake();
  }

  #take() {
    let bytes = 0;
    let count = 0;
    const most = Math.min(this.#queue.length, Math.max(this.#options.batchSize, 1), 1000);
    while (count < most && (count === 0 || bytes + this.#queue[count].bytes <= BATCH_BYTES)) {
      bytes += this.#queue[count].bytes;
      count += 1;
    }
    const batch = this.#queue.splice(0, count);
    this.#bytes -= bytes;
    while (this.#waiting.length > 0 && !this.#isFull()) {
      const { entry, resolve } = this.#waiting.shift();
      this.#push(entry);
      resolve();
    }
    return batch;
  }

  async #post(batch) {
    this.#batchId = this.#options.newId(); // the same for every attempt: by it the exporter knows a batch again
    for (let attempt = 0; !this.#gaveUp; attempt += 1) {
      const answer = await this.#attempt(this.#batchId, batch);
      if (answer.counted) return this.#counted(batch, answer.counted);
      if (this.#gaveUp) break;
      if (answer.status === 413 && batch.length > 1) {
        const half = Math.ceil(batch.length / 2);
        return this.#cut.splice(0, 1, batch.slice(0, half), batch.slice(half));
      }
      if (!answer.retry) return this.#refused(batch, answer);
      this.#stats.retried += 1;
      this.#say("retry", `${answer.message}; the batch is sent again`);
      await Promise.race([this.#options.sleep(this.#wait(attempt, answer.retryAfter)), this.#stopped]);
    }
    return this.#undelivered(batch);
  }

  /** Full jitter, on top of what the exporter asks for: clients that failed together must not return together. */
  #wait(attempt, retryAfter) {
    const { backoffBase, backoffMost, random } = this.#options;
    return retryAfter + random() * Math.min(backoffMost, backoffBase * 2 ** Math.min(attempt, 20));
  }

  async #attempt(id, batch) {
    try {
      let body = Buffer.from(this.#body(id, batch));
      const headers = { authorization: `Bearer ${this.#token()}`, "content-type": "application/json" };
      headers["idempotency-key"] = id; // by which a balancer sends it to the same exporter again
      if (body.length > COMPRESS_ABOVE) {
        body = await compress(body);
        headers["content-encoding"] = "gzip";
      }
      headers["content-length"] = body.length;
      this.#stats.batches += 1;
      return read(await this.#exchange(headers, body), batch.length, this.#options.now());
    } catch (error) {
      // Only the code: a message of the HTTP library may repeat a header.
      return { retry: true, retryAfter: 0, message: `the exporter could not be reached (${error.code ?? error.name})` };
    }
  }

  #body(id, batch) {
    const head = `"batch_id":${JSON.stringify(id)},"sent_at":${this.#options.now()}`;
    return `{${head},"events":[${batch.map((entry) => entry.written).join(",")}]}`;
  }

  /** node:http instead of fetch: frameworks patch fetch to cache and to trace, and it would follow a redirect. */
  #exchange(headers, body) {
    const { request: open } = this.#address.protocol === "https:" ? https : http;
    return new Promise((resolve, reject) => {
      const request = open(this.#address, { method: "POST", agent: this.#agent, headers });
      const timer = setTimeout(() => request.destroy(failure("timeout")), this.#options.timeout);
      this.#request = request;
      request.on("error", reject);
      request.on("close", () => (clearTimeout(timer), reject(failure("closed"))));
      request.on("response", (response) => {
        const parts = [];
        let bytes = 0;
        response.on("data", (part) => {
          bytes += part.length;
          if (bytes > ANSWER_BYTES) request.destroy(failure("answer_too_long"));
          else parts.push(part);
        });
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(parts).toString();
          resolve({ status: response.statusCode, retryAfter: response.headers["retry-after"], text });
        });
      });
      request.end(body);
    });
  }

  #counted(batch, { duplicates, rejected }) {
    const faults = new Map(rejected.map((fault) => [fault.index, fault]));
    this.#stats.duplicates += duplicates;
    for (const [index, entry] of batch.entries()) {
      const fault = faults.get(index);
      if (fault) this.#reject(entry, fault);
      else this.#settle(entry, { state: "counted" }, "sent");
    }
    this.#finished();
  }

  #refused(batch, fault) {
    for (const entry of batch) this.#reject(entry, fault);
    this.#finished();
  }

  #undelivered(batch) {
    if (batch.length > 0) this.#say("undelivered", `${batch.length} events could not be sent before the end`);
    for (const entry of batch) this.#settle(entry, { state: "undelivered" }, "dropped");
    this.#finished();
  }

  #reject({ type, id, ...entry }, { state = "rejected", reason = "", field = "", message = "" }) {
    this.#settle(entry, { state, reason, field, message }, "rejected");
    this.#say(`rejected ${type} ${reason}`, `${type} was rejected: ${message} (${[reason, field].filter(Boolean)})`);
    try {
      this.#options.onRejected?.({ type, id, reason, field, message });
    } catch {
      this.#say("callback", "onRejected threw");
    }
  }

  #settle(entry, outcome, counter) {
    this.#stats[counter] += 1;
    this.#settled += 1;
    entry.settle?.(outcome);
  }

  #finished() {
    this.#cut.shift();
    const [done, left] = [[], []];
    for (const waiter of this.#flushing) (this.#settled >= waiter.target ? done : left).push(waiter);
    this.#flushing = left;
    for (const waiter of done) waiter.done();
  }

  #drop(count, why) {
    this.#stats.dropped += count;
    this.#say(`dropped ${why}`, `telemetry is dropped: ${why}`);
    return false;
  }

  #say(kind, line) {
    const now = this.#options.now();
    if (now - (this.#said.get(kind) ?? -Infinity) < QUIET || this.#said.size > 1000) return;
    this.#said.set(kind, now);
    try {
      this.#options.log(`heypeter: ${line}`);
    } catch {
      // A log that fails must not become the application's failure.
    }
  }
}

const LAST_WORDS = `
  let text = "";
  process.stdin.on("data", (part) => (text += part)).on("end", async () => {
    const { url, token, batches } = JSON.parse(text);
    const { request: open } = require(new URL(url).protocol === "https:" ? "https" : "http");
    for (const body of batches) {
      const headers = { authorization: "Bearer " + token, "content-type": "application/json" };
      headers["idempotency-key"] = JSON.parse(body).batch_id;
      headers["content-length"] = Buffer.byteLength(body);
      await new Promise((resolve) => {
        const request = open(url, { method: "POST", headers, agent: false }, (answer) => answer.resume());
        request.on("error", resolve).on("close", resolve).end(body);
      });
    }
  });
`;

function failure(code) {
  return Object.assign(new Error(code), { code });
}

/** Keeps the process alive while somebody waits; timers of the client itself do not. */
async function held(promise) {
  const timer = setInterval(() => {}, 0x7fffffff);
  try {
    return await promise;
  } finally {
    clearInterval(timer);
  }
}

function address(given) {
  if (!given) return undefined;
  let url;
  try {
    url = new URL(given);
  } catch {
    // Said below; the message of URL itself would repeat a password.
  }
  if (!["http:", "https:"].includes(url?.protocol) || url.username || url.password)
    throw new TypeError("heypeter: HEYPETER_URL is the exporter's address without a password: http://127.0.0.1:3001");
  if (url.pathname === "/") url.pathname = "/api/events";
  return url;
}

/** A function that gives the token. A file is read again for every batch, so that a new token needs no restart. */
function tokenReader({ token, tokenFile }) {
  const given = token ?? (tokenFile ? undefined : process.env.HEYPETER_TOKEN);
  const file = tokenFile ?? process.env.HEYPETER_TOKEN_FILE;
  if (!given && file) {
    let last = clean(readFileSync(file, "utf8"));
    return () => {
      try {
        return (last = clean(readFileSync(file, "utf8")));
      } catch {
        return last; // it is being replaced
      }
    };
  }
  if (!given) return undefined;
  const cleaned = clean(given);
  return () => cleaned;
}

function clean(token) {
  const text = token.trim();
  // Checked here because node:http would repeat the token in its own error.
  if (!/^[\x21-\x7e]+$/.test(text)) throw new TypeError("heypeter: the token is empty or has characters beyond ASCII");
  return text;
}

/** What an answer means by the exporter's contract: 202 is counted, a few are worth another try, the rest is final. */
function read({ status, retryAfter, text }, sent, now) {
  if (RETRYABLE.has(status)) {
    return { status, retry: true, retryAfter: delay(retryAfter, now), message: `the exporter answered ${status}` };
  }
  const answer = parsed(text);
  if ((status === 202 || status === 400) && Number.isInteger(answer.accepted) && Array.isArray(answer.rejected)) {
    const rejected = answer.rejected.filter((fault) => Number.isInteger(fault?.index) && fault.index < sent);
    // The answer describes the first hundred. Behind them, any event may be one of the others: none is called counted.
    const first = answer.rejected_total > rejected.length ? (rejected.at(-1)?.index ?? -1) + 1 : sent;
    for (let index = first; index < sent; index += 1) rejected.push({ index, ...UNDESCRIBED });
    return { status, counted: { duplicates: answer.duplicates ?? 0, rejected } };
  }
  const hint = status < 400 ? "is HEYPETER_URL the exporter?" : (answer.error ?? "");
  const message = `the exporter answered ${status}: ${String(hint).slice(0, 300)}`;
  // 401, 404 and the like say nothing about the events: an outbox may send them again once the set-up is mended.
  const state = status === 400 || status === 413 ? "rejected" : "undelivered";
  return { status, state, retry: false, reason: answer.reason ?? `status_${status}`, field: answer.field, message };
}

const UNDESCRIBED = { reason: "undescribed", message: "the exporter refused more events than it describes" };

function parsed(text) {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

/** Retry-After is seconds or a date: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after */
function delay(header, now) {
  if (!header) return 0;
  const milliseconds = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Math.min(Math.max(milliseconds || 0, 0), RETRY_AFTER_MOST);
}

// --- one client for the process

/** The process's client; made from the environment when it is first asked for. */
export function client() {
  shared.client ??= made({});
  return shared.client;
}

function made(options) {
  try {
    return new Client(options);
  } catch (error) {
    // Monitoring that is set up wrongly must not keep the application from starting.
    const isOurs = error.message?.startsWith("heypeter: ");
    (options.log ?? DEFAULTS.log)(isOurs ? error.message : `heypeter: the token file cannot be read (${error.code})`);
    return new Client({ ...options, disabled: true });
  }
}

/**
 * Call it once at the start (Next.js: instrumentation.ts). Makes the client, flushes it before the process ends, and
 * counts the requests that no wrapper counts, by their path: without them the share of errors would be too high.
 */
export function register({ requests = true, ...options } = {}) {
  if (process.env.NEXT_RUNTIME === "edge") return undefined;
  shared.client ??= made(options);
  if (shared.registered) return shared.client;
  shared.registered = true;
  process.once("beforeExit", () => shared.client.close());
  process.once("exit", () => shared.client.leave());
  for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => ending(signal));
  shared.began.subscribe(({ request, response }) => {
    // What happens during the request has its trace, and its start if it fails.
    const exchange = new Exchange(request.method, pathOf(request.url), traceId(request.headers.traceparent));
    shared.context.enterWith(exchange);
    // Files of a build are no work of the server: they are counted only if a wrapper or an error names their route.
    exchange.watch(request, response, requests && !exchange.route.startsWith("/_next/"));
  });
  if (requests) watchUpgrades();
  return shared.client;
}

async function ending(signal) {
  if (process.listenerCount(signal) > 0) {
    // Somebody else ends the process, after its last requests: their events are to be sent, too.
    await shared.client.hurry();
    return;
  }
  await shared.client.close();
  process.kill(process.pid, signal); // nobody listens any more: the process ends as if we had never been there
}

/** Queues telemetry with the process's client. Never throws, never waits. */
export function track(type, data, extra) {
  return client().track(type, data, extra);
}

/** Queues a business event with the process's client; waits while the queue is full. */
export function send(type, data, extra) {
  return client().send(type, data, extra);
}

/** Sends events with the process's client and waits until the fate of each is known. */
export function deliver(events) {
  return client().deliver(events);
}

/** The trace id of a W3C traceparent header: https://www.w3.org/TR/trace-context/#traceparent-header */
export function traceId(traceparent) {
  const match = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)/.exec(traceparent ?? "");
  return match && !/^0+$/.test(match[1]) ? match[1] : undefined;
}

// --- requests

// Types of a response that goes on for as long as somebody listens: that its client leaves is how it ends.
const STREAM_TYPES =
  /^(?:text\/event-stream|application\/(?:x-ndjson|ndjson|jsonl|json-seq|stream\+json|grpc\b.*)|multipart\/x-mixed-replace)$/;
// Types that are sent piece by piece both for a stream and for a document: a stream if their length is not known.
const OPEN_TYPES = /^(?:text\/plain|application\/octet-stream|audio\/.*|video\/.*)$/;

/**
 * One request: counted once, when its response has been written, its client has left or its connection has broken. Its
 * duration is a latency; that of a stream or an upgrade is a lifetime, so only its time to the first byte is told.
 * measure.py decides in the same way: tests/exporter/client/requests.yml has the cases of both.
 */
class Exchange {
  #started = performance.now();
  #firstByte;
  #headers = new Map(); // that writeHead was given: getHeader does not tell of them
  #isInParts = false;
  #isWatched = false;
  #hasEnded = false;
  #isCounted = false;
  #hasFailed = false;
  #isNamed = false;

  constructor(method, route, trace) {
    this.method = method;
    this.route = route;
    this.traceId = trace;
  }

  /** Gives it the name of its route; the first one stays, which is that of the outermost wrapper. */
  name(method, route) {
    if (!this.#isNamed) [this.method, this.route, this.#isNamed] = [method ?? this.method, route, true];
  }

  /** It counts as 500, unless the application answers with another error. */
  fail() {
    this.#hasFailed = true;
    if (this.#hasEnded) this.count(500);
  }

  /** Follows a response of node:http to its end; `always` counts it also if nobody has named its route. */
  watch(request, response, always) {
    if (this.#isWatched || typeof response?.once !== "function") return;
    this.#isWatched = true;
    const { write, writeHead } = response;
    if (typeof writeHead === "function") {
      // node:http calls it for every response, also where the application does not.
      response.writeHead = (...given) => {
        this.#firstByte ??= performance.now();
        for (const [name, value] of headersOf(given)) this.#headers.set(String(name).toLowerCase(), value);
        return writeHead.apply(response, given);
      };
      // After writeHead even a text that is sent at once is chunked. What wraps these after us, as the middleware
      // "compression" does, calls ours: none of them is ever put back, or the wrapper would be lost with it.
      let isEnding = false;
      response.write = (...given) => {
        this.#isInParts ||= !isEnding;
        return write.apply(response, given);
      };
      if (request.httpVersion === "2.0") {
        // Its end() calls write().
        const { end } = response;
        response.end = (...given) => {
          isEnding = true;
          return end.apply(response, given);
        };
      }
    }
    const end = (isWhole) => {
      forget();
      this.#hasEnded = true;
      if (!always && !this.#isNamed) return;
      // The application broke it off; what waits behind another response when the client leaves has ECONNRESET.
      if (response.errored && response.errored.code !== "ECONNRESET") this.#hasFailed = true;
      const [isStream, isEndless] = response.headersSent ? this.#streams(request, response) : [false, false];
      this.count(isWhole || isEndless ? response.statusCode : 499, isStream);
    };
    // "close" of a response is not told for one that waits behind another on the same connection.
    const { socket } = request;
    // Of HTTP/2 "finish" is told also when the client has left: its stream was reset.
    const finished = () => end(!response.stream?.aborted && !response.stream?.rstCode);
    const closed = () => end(response.writableFinished === true);
    const forget = () => {
      response.removeListener?.("finish", finished);
      response.removeListener?.("close", closed);
      followers(socket)?.delete(closed);
    };
    response.once("finish", finished);
    response.once("close", closed);
    followers(socket)?.add(closed);
  }

  /** Whether a response of node:http is a stream, and whether it is one that has no end of its own. */
  #streams(request, response) {
    const status = response.statusCode;
    const isChunked = response.chunkedEncoding || request.httpVersion === "2.0"; // which has frames instead
    const header = (name) => this.#headers.get(name) ?? response.getHeader(name);
    const hasLength = header("content-length") !== undefined;
    if (request.method === "HEAD" || status < 200 || status > 299 || hasLength) return [false, false];
    const type = mediaType(header("content-type"));
    // nginx asks its upstreams in HTTP/1.0 unless it is told otherwise: nothing is chunked then.
    const isEndless = STREAM_TYPES.test(type) && (isChunked || request.httpVersion === "1.0");
    const isOpen = isChunked && this.#isInParts && !header("content-encoding") && OPEN_TYPES.test(type);
    return [isEndless || isOpen, isEndless];
  }

  /** Counts it, unless it was counted before. */
  count(status = 200, isStream = false) {
    if (this.#isCounted) return;
    this.#isCounted = true;
    const isStatus = Number.isInteger(status) && status >= 100 && status <= 599;
    const isFailure = !isStatus || (this.#hasFailed && (status < 400 || status === 499));
    // Anybody may ask for a path of any length.
    const route = String(this.route).slice(0, MAX_ROUTE);
    const data = { method: this.method ?? "GET", route, status: isFailure ? 500 : status };
    if (isStream) Object.assign(data, { duration: since(this.#started, this.#firstByte), kind: "stream" });
    else data.duration = since(this.#started);
    // In a context of its own: the connection's may be that of an earlier request, and have its trace.
    shared.context.run(this, () => track("http_request", data));
  }

  /** An upgraded connection is counted by the first line that the application writes to it. */
  watchUpgrade(socket) {
    const closed = () => this.count(499);
    for (const name of ["write", "end"]) {
      const plain = socket[name];
      const told = (socket[name] = (...given) => {
        if (socket[name] === told) socket[name] = plain;
        const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(String(given[0] ?? "").slice(0, 12))?.[1]);
        if (status) {
          this.#firstByte = performance.now();
          socket.removeListener("close", closed);
          this.count(status, status < 300);
        }
        return plain.apply(socket, given);
      });
    }
    socket.once("close", closed);
  }
}

/** What to call when a connection ends: one listener for all of its requests. */
function followers(socket) {
  if (typeof socket?.once !== "function") return undefined;
  let calls = shared.followers.get(socket);
  if (!calls) {
    shared.followers.set(socket, (calls = new Set()));
    socket.once("close", () => [...calls].forEach((call) => call()));
  }
  return calls;
}

/** The headers among the arguments of writeHead: an object, pairs, or names and values in turn. */
function headersOf(given) {
  const headers = given.slice(1).find((one) => one !== null && typeof one === "object") ?? {};
  if (!Array.isArray(headers)) return Object.entries(headers);
  if (Array.isArray(headers[0])) return headers;
  return headers.flatMap((name, index) => (index % 2 ? [] : [[name, headers[index + 1]]]));
}

function mediaType(header) {
  return String(header ?? "").split(";", 1)[0].trim().toLowerCase();
}

/** No channel tells of upgrades (websockets) and CONNECT: node:http gives them to the server's listeners only. */
function watchUpgrades() {
  for (const { prototype } of [http.Server, https.Server]) {
    const { emit } = prototype;
    prototype.emit = function (name, ...given) {
      if (name === "upgrade" || name === "connect") {
        const [request, socket] = given;
        new Exchange(request.method, pathOf(request.url), traceId(request.headers.traceparent)).watchUpgrade(socket);
      }
      return emit.call(this, name, ...given);
    };
  }
}

/** Counts and times an App Router handler; `route` is its template, as "/api/bookings/[id]". */
export function withMetrics(route, handler) {
  return async function measured(request, ...rest) {
    const [exchange, isOurs] = entered(request?.method, route, request?.headers?.get?.("traceparent"));
    const finish = (status, headers) => {
      if (!isOurs) return; // whoever saw it begin sees its end
      const isStream = STREAM_TYPES.test(mediaType(headers?.get("content-type")));
      exchange.count(request?.signal?.aborted ? 499 : status, isStream);
    };
    try {
      const response = await shared.context.run(exchange, () => handler.call(this, request, ...rest));
      finish(response?.status, response?.headers);
      return response;
    } catch (error) {
      const status = statusOf(error);
      if (status === 500) exchange.fail();
      if (status !== undefined) finish(status);
      remember(error);
      throw error;
    }
  };
}

/** Counts and times a Pages Router handler `(req, res)`, until its answer has been written. */
export function withApiMetrics(route, handler) {
  return async function measured(request, response) {
    const [exchange] = entered(request.method, route, request.headers?.traceparent);
    exchange.watch(request, response, true);
    try {
      return await shared.context.run(exchange, () => handler.call(this, request, response));
    } catch (error) {
      exchange.fail();
      remember(error);
      throw error;
    }
  };
}

/** The request that is being served, now by its route's name; else a new one, which nobody else counts. */
function entered(method, route, traceparent) {
  const outer = shared.context.getStore();
  outer?.name(method, route);
  if (outer) return [outer, false];
  const exchange = new Exchange(method, route, traceId(traceparent));
  exchange.name(method, route);
  return [exchange, true];
}

/** Next.js calls this for errors while rendering, in handlers and in server actions. */
export function onRequestError(error, request, context) {
  if (error !== null && typeof error === "object" && shared.counted.has(error)) return; // a wrapper has counted it
  remember(error);
  const route = context?.routePath || pathOf(request?.path);
  const exchange = shared.context.getStore();
  if (exchange) {
    exchange.name(request?.method, route);
    return exchange.fail();
  }
  // Without a start (register() has not been called) the request is counted without a time rather than not at all.
  const data = { method: request?.method ?? "GET", route, status: 500 };
  track("http_request", data, { traceId: traceId(request?.headers?.traceparent) });
}

function pathOf(url) {
  return String(url ?? "").split(/[?#]/, 1)[0];
}

function remember(error) {
  if (error !== null && typeof error === "object") shared.counted.add(error);
}

/**
 * Next.js ends a handler by throwing: redirect() "NEXT_REDIRECT;replace;/to;307;", notFound() "NEXT_NOT_FOUND" or, from
 * version 15, "NEXT_HTTP_ERROR_FALLBACK;404". Other digests of its own (DYNAMIC_SERVER_USAGE, BAILOUT_TO_…) steer the
 * build and are no answer at all: undefined.
 * https://github.com/vercel/next.js/tree/canary/packages/next/src/client/components
 */
function statusOf(error) {
  const digest = typeof error?.digest === "string" ? error.digest : "";
  if (digest === "NEXT_NOT_FOUND") return 404;
  const status = Number(/^(?:NEXT_HTTP_ERROR_FALLBACK;|NEXT_REDIRECT;.*;)(\d{3})(?:;|$)/.exec(digest)?.[1]);
  if (status) return status;
  if (digest.startsWith("NEXT_REDIRECT;")) return 307;
  return /^(?:NEXT_|DYNAMIC_SERVER_USAGE|BAILOUT_TO_|HANGING_PROMISE_)/.test(digest) ? undefined : 500;
}

function since(started, ended = performance.now()) {
  return Math.min(Math.max((ended - started) / 1000, 0), 3600); // seconds; more is refused
}

// --- databases and caches

/** Times a query. Gives what `fn` gives, throws what it throws. */
export async function timeQuery(operation, table, fn) {
  const started = performance.now();
  let outcome = "failure";
  try {
    const result = await fn();
    outcome = "success";
    return result;
  } finally {
    track("db_query", { operation, table, outcome, duration: since(started) });
  }
}

/** Times every query of a pool like pg's; of its text only the operation and the table are ever sent. */
export function withQueries(pool) {
  // pool.query() takes a connection and calls its query(): measured there, a query is counted once, in both uses.
  if (typeof pool.on === "function" && typeof pool.connect === "function") pool.on("connect", measureQueries);
  else measureQueries(pool);
  return pool;
}

function measureQueries(connection) {
  const query = connection.query;
  connection.query = function measured(...given) {
    const text = typeof given[0] === "string" ? given[0] : given[0]?.text;
    if (typeof text !== "string") return query.apply(this, given);
    const started = performance.now();
    const finish = (outcome) => track("db_query", { ...describeQuery(text), outcome, duration: since(started) });
    const callback = given.at(-1);
    if (typeof callback === "function") {
      const answered = (error, ...rest) => {
        finish(error ? "failure" : "success");
        return callback(error, ...rest);
      };
      return query.apply(this, [...given.slice(0, -1), answered]);
    }
    const result = query.apply(this, given); // a cursor is given back at once, and not timed
    if (typeof result?.then === "function") {
      result.then(
        () => finish("success"),
        () => finish("failure"),
      );
    }
    return result;
  };
}

const OPERATIONS = {
  select: "select", insert: "insert", update: "update", delete: "delete", merge: "upsert", replace: "upsert",
};
const MARKS = { select: "from", delete: "from", insert: "into", merge: "into", replace: "into" };
const TRANSACTIONS = new Set(["begin", "commit", "rollback", "savepoint", "release", "start", "end", "abort"]);
const DEFINITIONS = new Set(["create", "alter", "drop", "truncate", "reindex", "comment", "grant", "revoke"]);
const SKIPPED = new Set("( only lateral if exists not table into from ignore low_priority".split(" "));

/**
 * The operation and the first table of an SQL text: `{operation, table}`; "other" and "none" where there is none. The
 * exporter reads SQL in the same way (events/sql.py): tests/exporter/client/queries.yml has the cases of both.
 */
export function describeQuery(text) {
  const words = tokens(text.slice(0, 10_000));
  const first = words.find(({ word }) => word !== "(")?.word ?? "";
  if (TRANSACTIONS.has(first)) return { operation: "transaction", table: "none" };
  // Whether a text ends at \' depends on the database: a word of the text must not be taken for a table.
  const isUnsure = text.includes("\\'");
  if (DEFINITIONS.has(first)) return { operation: "ddl", table: isUnsure ? "other" : defined(first, words) };
  const isVerb = ({ word }) => Object.hasOwn(OPERATIONS, word);
  const start = words.findIndex((token) => (first === "with" ? isVerb(token) && token.depth === 0 : token.word === first));
  if (start < 0 || !isVerb(words[start])) return { operation: "other", table: "none" };
  const { word: verb, depth } = words[start];
  const rest = words.slice(start + 1);
  const isUpsert =
    verb === "insert" && rest.some(({ word }, i) => word === "on" && /^(?:conflict|duplicate)$/.test(rest[i + 1]?.word));
  const operation = isUpsert ? "upsert" : OPERATIONS[verb];
  const mark = MARKS[verb];
  // "a IS DISTINCT FROM b" has a FROM that names no table.
  const at = rest.findIndex(
    (token, i) =>
      token.word === mark && token.depth === depth &&
      !(rest[i - 1]?.word === "distinct" && /^(?:is|not)$/.test(rest[i - 2]?.word)),
  );
  if (mark && at < 0) return { operation, table: "none" };
  return { operation, table: isUnsure ? "other" : realTable(words, tableAfter(rest, at)) };
}

// What is passed over (comments and texts, as PostgreSQL and MySQL write them), brackets, and names, quoted and dotted.
const NAME = /(?:"[^"]*"|`[^`]*`|\[[\p{L}_][^\]]{0,62}\]|[\p{L}_][\p{L}\p{N}_]*)/u.source;
const TOKEN = new RegExp(
  [
    /(?<comment>\/\*)|--[^\n]*|^[ \t]*#[^\n]*/.source,
    /\$(?<tag>[\p{L}_][\p{L}\p{N}_]*)?\$[\s\S]*?(?:\$\k<tag>\$|$(?![\s\S]))/u.source,
    /'(?:[^']|'')*(?:'|$(?![\s\S]))/.source,
    `(?<bracket>[()])|(?<name>${NAME}(?:\\s*\\.\\s*${NAME})*)`,
  ].join("|"),
  "gmu",
);

/** `name` is the last part of a name; `word` a word of SQL, "" for what is quoted or behind a dot: a column may be "from". */
function tokens(text) {
  const list = [];
  const token = new RegExp(TOKEN);
  let depth = 0;
  let nests = true;
  for (let match; (match = token.exec(text)); ) {
    const { groups } = match;
    if (groups.comment) [token.lastIndex, nests] = commentEnd(text, token.lastIndex, nests);
    if (groups.bracket === ")") depth -= 1;
    if (groups.bracket === "(") list.push({ name: "(", word: "(", depth });
    if (groups.bracket === "(") depth += 1;
    if (!groups.name) continue;
    const name = lastPart(groups.name);
    const word = name === groups.name.toLowerCase() ? name : "";
    list.push({ name, word, depth });
  }
  return list;
}

/**
 * Where a comment ends, and whether comments of this text nest: they do if each that begins in it also ends. PostgreSQL
 * and SQL Server nest them, MySQL and SQLite do not. It is asked once for a text, for the time it takes.
 */
function commentEnd(text, at, nests) {
  const mark = /\/\*|\*\//g;
  mark.lastIndex = at;
  let depth = 1;
  let first = -1;
  for (let match; (match = mark.exec(text)); ) {
    depth += match[0] === "/*" ? 1 : -1;
    if (match[0] === "/*") continue;
    if (first < 0) first = mark.lastIndex;
    if (!nests || depth === 0) return [mark.lastIndex, nests];
  }
  return first < 0 ? [text.length, nests] : [first, false];
}

const QUOTES = { '"': '"', "`": "`", "]": "[" };

/** The last part of a dotted name, without its quotes; in lower case if it has none. */
function lastPart(name) {
  const quote = QUOTES[name.at(-1)];
  if (quote) return name.slice(name.lastIndexOf(quote, name.length - 2) + 1, -1);
  return name.slice(name.lastIndexOf(".") + 1).trim().toLowerCase();
}

function tableAfter(words, at) {
  const { name, word } = words.slice(at + 1).find(({ word }) => !SKIPPED.has(word)) ?? {};
  if (name === undefined) return "none";
  if (word === "select" || word === "values") {
    const inner = words.slice(at + 1);
    const from = inner.findIndex(({ word }) => word === "from");
    return from < 0 ? "none" : tableAfter(inner, from);
  }
  return name.slice(0, 63); // as long as PostgreSQL lets a name be
}

function defined(first, words) {
  const hasIndex = words.some(({ word }) => word === "index");
  if (first === "create" && !hasIndex) return "none"; // it is not there yet
  if (first === "comment" && !words.some(({ word }) => word === "table")) return "none";
  const at = words.findIndex(({ word }) => word === (hasIndex ? "on" : "table"));
  if (hasIndex && at < 0) return "none"; // "drop index" names no table
  return tableAfter(words, Math.max(at, 0));
}

/** The first table instead of the name of a common table expression. */
function realTable(words, table) {
  const isExpression = (_, at) => {
    const [as, bracket, verb] = words
      .slice(at, at + 5)
      .map(({ word }) => word)
      .filter((word) => word !== "not" && word !== "materialized");
    return as === "as" && bracket === "(" && (verb === "with" || verb === "values" || Object.hasOwn(OPERATIONS, verb ?? ""));
  };
  // The name before AS, over a list of columns in brackets.
  const before = (at) => words.slice(0, at).findLast(({ word, depth }) => depth === words[at].depth && word !== "(")?.name;
  const expressions = new Set(words.flatMap((token, at) => (isExpression(token, at) ? [before(at)] : [])));
  if (!expressions.has(table)) return table;
  const marks = words.flatMap(({ word }, at) => (/^(?:from|into|update|join)$/.test(word) ? [at] : []));
  return marks.map((at) => tableAfter(words, at)).find((name) => !expressions.has(name)) ?? "none";
}

/** Counts a look-up in a cache. */
export function cacheRequest(cache, isHit) {
  track("cache_request", { cache, result: isHit ? "hit" : "miss" });
}
