// Sends batches: kept until answered, sent again with the same id, and what is given up is counted.
import type { Options, RumEvent } from "../rum";

const KEY = "hp.unsent";
const MOST_EVENTS = 50;
// sendBeacon and fetch(keepalive) share 64 KiB in flight (fetch standard, "in-flight keepalive request").
const MOST_BYTES = 48_000;
const MOST_KEPT = 10;
const MOST_KEPT_BYTES = 200_000;
const ATTEMPTS = 8;

interface Batch {
  batch_id: string;
  client: { page_id: string; sequence: number; session: string; sample: number; automated: boolean };
  events: RumEvent[];
}

/** Run what must never break the page. */
export function safely<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

/** Make an id; crypto.randomUUID is missing in pages that are not secure. */
export function unique(): string {
  return safely(() => crypto.randomUUID()) ?? `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
}

const size = (text: string): number => new TextEncoder().encode(text).length;

/** What an event says; of what is undefined nothing is said. */
export type Data = Record<string, RumEvent["data"][string] | undefined>;

const copy = (value: unknown) => JSON.parse(JSON.stringify(value)) as RumEvent | null;

export class Transport {
  private readonly _page = unique();
  private _sequence = 0;
  // Ordinary events by the number of sessions that theirs stands for: errors stand for themselves in a sampled session.
  private readonly _queues = new Map<number, RumEvent[]>();
  private readonly _unsent = new Map<string, { _batch: Batch; _tries: number; _flying: boolean }>();
  private readonly _lost = new Map<string, number>();
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _stopped = false;

  constructor(
    private readonly _options: Required<Pick<Options, "endpoint" | "interval">> & Options,
    private readonly _session: () => string,
  ) {
    for (const batch of safely(() => JSON.parse(sessionStorage.getItem(KEY) ?? "[]") as Batch[]) ?? []) {
      this._unsent.set(batch.batch_id, { _batch: batch, _tries: 0, _flying: false });
    }
    this._store([]);
    for (const id of this._unsent.keys()) this._send(id, false);
  }

  add(type: string, data: Data, sample: number, id?: string): void {
    if (this._stopped) return;
    const { beforeSend } = this._options;
    // Dropped, or the page's function threw, or what it gave is no JSON: that must not cost the rest of a batch.
    const event = safely(() => {
      const made = copy({ type, time: Date.now(), id, data }) as RumEvent;
      return beforeSend ? copy(beforeSend(made)) : made;
    });
    if (!event) return this.give("before_send", 1);
    if (this._options.gtag) safely(() => (window as unknown as { gtag?: Function }).gtag?.("event", type, data));
    const queue = this._queues.get(sample) ?? [];
    this._queues.set(sample, queue);
    queue.push(event);
    if (queue.length >= MOST_EVENTS) this.flush(false);
    else this._timer ??= setTimeout(() => this.flush(false), this._options.interval);
  }

  /** Count what could not be sent. */
  give(reason: string, count: number): void {
    this._lost.set(reason, (this._lost.get(reason) ?? 0) + count);
  }

  flush(hidden: boolean): void {
    clearTimeout(this._timer);
    this._timer = undefined;
    for (const [reason, count] of this._lost) {
      const report = { type: "client_report", time: Date.now(), data: { reason, count } };
      this._queues.set(1, [...(this._queues.get(1) ?? []), report]);
    }
    this._lost.clear();
    for (const [sample, events] of this._queues) {
      this._queues.delete(sample);
      for (const part of split(events)) this._begin(part, sample, hidden);
    }
    if (hidden) this._store([...this._unsent.values()].map((one) => one._batch));
  }

  /** Forget everything, and be silent. */
  stop(): void {
    this._stopped = true;
    this._queues.clear();
    this._unsent.clear();
    this._lost.clear();
    this._store([]);
  }

  private _begin(events: RumEvent[], sample: number, hidden: boolean): void {
    const batch_id = unique();
    const client = {
      page_id: this._page,
      sequence: this._sequence++,
      session: this._session(),
      sample,
      automated: !!navigator.webdriver,
    };
    this._unsent.set(batch_id, { _batch: { batch_id, client, events }, _tries: 0, _flying: false });
    this._send(batch_id, hidden);
  }

  private _send(id: string, hidden: boolean): void {
    const one = this._unsent.get(id);
    if (!one || one._flying) return;
    const body = JSON.stringify({ ...one._batch, sent_at: Date.now() });
    // A string is text/plain: no preflight. While the page is there, fetch tells whether it arrived; sendBeacon never does.
    if (hidden && safely(() => navigator.sendBeacon(this._options.endpoint, body))) {
      this._unsent.delete(id);
      return;
    }
    one._flying = true;
    const request = { method: "POST", body, keepalive: true };
    (safely(() => plainFetch?.(this._options.endpoint, request)) ?? Promise.reject()).then(
      (answer) => this._answered(id, answer.status, Number(answer.headers.get("Retry-After"))),
      () => this._answered(id, 0, 0),
    );
  }

  private _answered(id: string, status: number, wait: number): void {
    const one = this._unsent.get(id);
    if (!one) return;
    one._flying = false;
    // The exporter says 204. Any other success is somebody else's, such as the start page that a proxy gives for every
    // path or a hotel's login; 502 and 504 are a proxy's words for an exporter that it could not reach.
    const again = (status < 400 && status !== 204) || [408, 429, 502, 503, 504].includes(status);
    if (again && ++one._tries < ATTEMPTS) {
      // Full jitter, so that the visitors of a site that was down do not come back all at once.
      // A Retry-After may be a date, which is no number here, and setTimeout takes what is too large for 0.
      const pause = Math.max((Math.min(wait, 300) || 0) * 1000, Math.random() * Math.min(60_000, 1000 * 2 ** one._tries));
      setTimeout(() => this._send(id, false), pause);
      return;
    }
    this._unsent.delete(id);
    if (again) this.give(status === 429 ? "rate_limited" : "network_error", one._batch.events.length);
    else if (status >= 400) this.give("refused", one._batch.events.length);
  }

  /** Keep what has not been answered for the next page of this tab; the oldest go first if it is too much. */
  private _store(batches: Batch[]): void {
    while (batches.length > MOST_KEPT || size(JSON.stringify(batches)) > MOST_KEPT_BYTES) {
      this.give("queue_overflow", batches.shift()?.events.length ?? 0);
    }
    safely(() => sessionStorage.setItem(KEY, JSON.stringify(batches)));
  }
}

// The page's own fetch may be wrapped later, by us or by others; this one is not timed and not counted.
const plainFetch = globalThis.fetch?.bind(globalThis);

function split(events: RumEvent[]): RumEvent[][] {
  const parts: RumEvent[][] = [];
  let bytes = Infinity;
  for (const event of events) {
    const more = size(JSON.stringify(event)) + 1;
    const last = parts[parts.length - 1];
    if (!last || bytes + more > MOST_BYTES || last.length >= MOST_EVENTS) {
      parts.push([event]);
      bytes = more;
    } else {
      last.push(event);
      bytes += more;
    }
  }
  return parts;
}
