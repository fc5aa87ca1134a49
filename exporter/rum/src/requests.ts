// Times fetch and XMLHttpRequest to the page's own origin, and changes nothing of what the page gets.
import { safely } from "./transport";

type Count = (endpoint: string, method: string, milliseconds: number, status: number, error: string) => void;

export function timeRequests(ignored: string, count: Count): void {
  const own = safely(() => new URL(ignored, location.href).href);
  const path = (target: string): string | undefined => {
    const url = new URL(target, location.href);
    return url.origin === location.origin && url.href !== own ? url.pathname : undefined;
  };
  const plain = window.fetch;
  window.fetch = function (this: unknown, ...request: Parameters<typeof fetch>): Promise<Response> {
    const began = performance.now();
    const [target, init] = request;
    const found = safely(() => path(target instanceof Request ? target.url : String(target)));
    const answer = plain.apply((this ?? window) as Window, request);
    if (!found) return answer;
    const method = safely(() => init?.method ?? (target instanceof Request ? target.method : "GET")) ?? "GET";
    const done = (status: number, error: string) =>
      safely(() => count(found, method, performance.now() - began, status, error));
    // What is handed on is the promise that follows ours: one that nobody catches is still nobody's.
    return answer.then(
      (response) => (done(response.status, ""), response),
      (error: unknown) => {
        done(0, (error as Error | undefined)?.name ?? "");
        throw error;
      },
    );
  };
  const open = XMLHttpRequest.prototype.open;
  XMLHttpRequest.prototype.open = function (this: XMLHttpRequest, ...request: unknown[]): void {
    safely(() => {
      const found = path(String(request[1]));
      if (!found) return;
      const began = performance.now();
      let error = "";
      const listen = (name: string, then: () => void) => this.addEventListener(name, then, { once: true });
      listen("abort", () => (error = "AbortError"));
      listen("timeout", () => (error = "TimeoutError"));
      listen("loadend", () => safely(() => count(found, String(request[0]), performance.now() - began, this.status, error)));
    });
    (open as (...request: unknown[]) => void).apply(this, request);
  };
}
