// Times fetch and XMLHttpRequest to the page's own origin, and changes nothing of what the page gets.
import { safely } from "./transport";
import { elapsed } from "./watch";

type Count = (endpoint: string, method: string, milliseconds: number, status: number, error: string) => void;

interface Sent {
  _path: string | undefined;
  _method: string;
  _began: number;
  _error: string;
}

export function timeRequests(ignored: string[], count: Count): void {
  const own = ignored.map((path) => safely(() => new URL(path, location.href).href) ?? path);
  const path = (target: string): string | undefined => {
    const url = new URL(target, location.href);
    return url.origin === location.origin && !own.some((start) => url.href.startsWith(start)) ? url.pathname : undefined;
  };
  const plain = window.fetch;
  window.fetch = function (this: unknown, ...request: Parameters<typeof fetch>): Promise<Response> {
    const began = performance.now();
    const [target, init] = request;
    const asked = target instanceof Request ? target : undefined;
    const endpoint = safely(() => path(asked ? asked.url : String(target)));
    const answer = plain.apply((this ?? window) as Window, request);
    if (!endpoint) return answer;
    const method = safely(() => init?.method ?? asked?.method) ?? "GET";
    const done = (status: number, error: string) =>
      safely(() => count(endpoint, method, elapsed(began), status, error));
    // What is handed on is the promise that follows ours: one that nobody catches is still nobody's.
    return answer.then(
      (response) => (done(response.status, ""), response),
      (error: unknown) => {
        // A page may abort with any reason of its own; fetch then throws that. AbortSignal.timeout() gives TimeoutError.
        const isAbort = safely(() => (init?.signal ?? asked?.signal)?.aborted);
        const name = safely(() => (error as Error).name) ?? "";
        done(0, isAbort && name !== "TimeoutError" ? "AbortError" : name);
        throw error;
      },
    );
  };
  const sent = new WeakMap<XMLHttpRequest, Sent>();
  const { open, send } = XMLHttpRequest.prototype;
  XMLHttpRequest.prototype.open = function (this: XMLHttpRequest, ...request: unknown[]): void {
    safely(() => {
      const known = sent.get(this);
      const now: Sent = { _path: path(String(request[1])), _method: String(request[0]), _began: 0, _error: "" };
      if (known) return Object.assign(known, now);
      // Once for each object, which may be opened again, also while it is under way.
      sent.set(this, now);
      this.addEventListener("abort", () => (now._error = "AbortError"));
      this.addEventListener("timeout", () => (now._error = "TimeoutError"));
      this.addEventListener("loadend", () =>
        safely(() => {
          const { _path, _method, _began, _error } = now;
          now._began = 0;
          if (_path && _began) count(_path, _method, elapsed(_began), this.status, _error);
        }),
      );
    });
    (open as (...request: unknown[]) => void).apply(this, request);
  };
  XMLHttpRequest.prototype.send = function (this: XMLHttpRequest, body): void {
    safely(() => ((sent.get(this) as Sent)._began = performance.now()));
    send.call(this, body);
  };
}
