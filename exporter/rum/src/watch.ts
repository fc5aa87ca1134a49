// Watches the page: its load, web vitals, route changes, clicks, forms and errors. Of what people do only the kind is kept.
import { onCLS, onFCP, onINP, onLCP, onTTFB, type Metric } from "web-vitals";
import type { RumEvent } from "../rum";
import { safely } from "./transport";

type Send = (type: string, data: RumEvent["data"], always?: boolean, id?: string) => void;

const MOST_ERRORS = 20;
/** Round milliseconds to seconds; undefined for what cannot be. */
export function seconds(milliseconds: number): number | undefined {
  return milliseconds >= 0 && milliseconds < 3_600_000 ? Math.round(milliseconds * 10) / 10_000 : undefined;
}

const page = (): string => location.pathname;

export function watch(send: Send): void {
  loaded(() => safely(() => pageLoad(send)));
  for (const on of [onCLS, onFCP, onINP, onLCP, onTTFB]) safely(() => on((metric) => vital(send, metric)));
  addEventListener("pageshow", (event) => event.persisted && view(send, "back-forward-cache", event.timeStamp));
  routes(send);
  people(send);
  errors(send);
}

function loaded(then: () => void): void {
  // The load event has an end only after its handlers.
  const later = () => setTimeout(then);
  if (document.readyState === "complete") later();
  else addEventListener("load", later, { once: true });
}

function pageLoad(send: Send): void {
  const [entry] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
  if (!entry) return;
  const begun = Math.max(entry.fetchStart, (entry as { activationStart?: number }).activationStart ?? 0);
  const discarded = (document as { wasDiscarded?: boolean }).wasDiscarded;
  const total = seconds(Math.max(entry.loadEventEnd - begun, 0));
  if (total === undefined || !entry.loadEventEnd) return;
  const data: Record<string, string | number | undefined> = {
    page: page(),
    navigation: discarded ? "restore" : entry.type.replace("_", "-"),
    total,
    dom_content_loaded: seconds(entry.domContentLoadedEventEnd - entry.domContentLoadedEventStart),
    load_complete: seconds(entry.loadEventEnd - entry.loadEventStart),
    render: seconds(entry.domComplete - entry.responseEnd),
    interactive: seconds(Math.max(entry.domInteractive - begun, 0)),
  };
  send("page_load", JSON.parse(JSON.stringify(data)) as RumEvent["data"]);
}

function vital(send: Send, { name, value, rating, id }: Metric): void {
  const number = name === "CLS" ? { score: Math.round(value * 10_000) / 10_000 } : { seconds: seconds(value) ?? null };
  send("web_vital", { vital: name, page: page(), rating, ...number }, false, id);
}

/** Count a view without a load: from its begin to the second frame, when it can be seen. */
function view(send: Send, navigation: string, begun: number): void {
  const frame = requestAnimationFrame;
  const seen = () => {
    const total = seconds(performance.now() - begun);
    if (total !== undefined) send("page_load", { page: page(), navigation, total });
  };
  frame(() => frame(seen));
}

function routes(send: Send): void {
  let current = page();
  const changed = () => {
    if (page() === current) return;
    current = page();
    view(send, "soft-navigation", performance.now());
  };
  for (const name of ["pushState", "replaceState"] as const) {
    const plain = history[name];
    history[name] = function (this: History, ...state: Parameters<History["pushState"]>): void {
      plain.apply(this, state);
      safely(changed);
    };
  }
  addEventListener("popstate", changed);
}

const KINDS: [string, string][] = [
  ["[role=tab]", "tab"],
  ["[role^=menu],menu", "menu"],
  ["button,[role=button],summary,[type=submit],[type=button]", "button"],
  ["a,[role=link]", "link"],
  ["input,select,textarea", "input"],
];

function people(send: Send): void {
  const listen = (name: string, then: (target: Element) => void) =>
    addEventListener(name, (event) => safely(() => then(event.target as Element)), true);
  listen("click", (target) => {
    const kind = KINDS.find(([selector]) => target.closest(selector));
    if (kind) send("click", { page: page(), element: kind[1] });
  });
  listen("submit", (target) => {
    // By attribute: a form with a field called "id" gives that field for form.id.
    const name = target.getAttribute("id") || target.getAttribute("name") || "";
    send("form_submit", { form: name.slice(0, 200) }, true);
  });
}

function errors(send: Send): void {
  const seen = new Set<string>();
  // Each error once a page, and not more than twenty: one in a loop must not drown the others.
  const once = (type: string, place: string, kind?: string) => {
    const key = type + place + kind;
    if (seen.has(key) || seen.size >= MOST_ERRORS) return;
    seen.add(key);
    send(type, kind === undefined ? { page: page() } : { page: page(), kind: kind.slice(0, 60) }, true);
  };
  const kind = (error: unknown, message: unknown) =>
    error instanceof Error ? error.name : (/\b[A-Z]\w{0,40}Error\b/.exec(String(message))?.[0] ?? "");
  const listen = <K extends keyof WindowEventMap>(name: K, then: (event: WindowEventMap[K]) => void) =>
    addEventListener(name, (event) => safely(() => then(event)), true);
  listen("error", (event) => {
    const { error, message, filename, lineno, colno, target } = event;
    if (message) {
      once("javascript_error", message + filename + lineno + colno, kind(error, message));
    } else {
      const source = target as HTMLImageElement & HTMLLinkElement;
      once("resource_error", source.src || source.href);
    }
  });
  listen("unhandledrejection", ({ reason }) => once("unhandled_rejection", String(reason), kind(reason, reason)));
  listen("securitypolicyviolation", (event) => once("csp_violation", event.blockedURI + event.violatedDirective));
}
