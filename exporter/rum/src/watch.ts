// Watches the page: its load, web vitals, route changes, clicks, forms and errors. Of what people do only the kind is kept.
import { onCLS, onFCP, onINP, onLCP, onTTFB, type Metric } from "web-vitals";
import { type Data, safely } from "./transport";

type Send = (type: string, data: Data, always?: boolean, id?: string) => void;

const MOST_ERRORS = 20;
/** Round milliseconds to seconds; undefined for what cannot be. */
export function seconds(milliseconds: number): number | undefined {
  return milliseconds >= 0 && milliseconds < 3_600_000 ? Math.round(milliseconds * 10) / 10_000 : undefined;
}

/** The path of the page; of one that keeps its routes in the hash ("#/lessons", "#!/lessons"), with that path. */
function page(url: { pathname: string; hash: string } = location): string {
  const [, route] = /^#!?(\/[^?#]*)/.exec(url.hash) ?? [];
  return route ? url.pathname.replace(/\/([^/]*\.html?)?$/, "") + route : url.pathname;
}

const isVisible = (): boolean => document.visibilityState === "visible";

let changed = 0;

/** Milliseconds since a time; NaN if the page was hidden meanwhile: the browser may have let it stand still. */
export const elapsed = (began: number): number => (isVisible() && changed < began ? performance.now() - began : NaN);

function whenVisible(then: () => void): void {
  if (isVisible()) return then();
  addEventListener("visibilitychange", () => whenVisible(then), { once: true, capture: true });
}

export function watch(send: Send): void {
  addEventListener("visibilitychange", () => (changed = performance.now()), true);
  const [entry] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
  // The page that was asked for: an app may have moved on before this script runs, or before a vital is known.
  let landing = safely(() => page(new URL((entry as PerformanceNavigationTiming).name))) ?? page();
  const isSeen = isVisible();
  loaded(() => whenVisible(() => safely(() => entry && pageLoad(send, entry, landing, isSeen))));
  for (const on of [onCLS, onFCP, onINP, onLCP, onTTFB]) safely(() => on((metric) => vital(send, metric, landing)));
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    landing = page();
    view(send, "back-forward-cache", event.timeStamp);
  });
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

function pageLoad(send: Send, entry: PerformanceNavigationTiming, page: string, isSeen: boolean): void {
  // A prerendered page has done its work before anybody asked for it: its times begin with the activation.
  const activated = (entry as { activationStart?: number }).activationStart ?? 0;
  const begun = Math.max(entry.fetchStart, activated);
  const since = (end: number, start: number) => (end > activated ? seconds(end - Math.max(start, activated)) : undefined);
  const discarded = (document as { wasDiscarded?: boolean }).wasDiscarded;
  const end = entry.loadEventEnd;
  if (!end) return;
  // A tab in the background loads as slowly as the browser likes. Only Chromium keeps what was before this script.
  const wasHidden = (!activated && changed && changed < end) || performance.getEntriesByType("visibility-state").some(({ name, startTime }) => name === "hidden" && startTime < end && startTime >= activated);
  const times = {
    total: seconds(Math.max(end - begun, 0)),
    dom_content_loaded: since(entry.domContentLoadedEventEnd, entry.domContentLoadedEventStart),
    load_complete: since(end, entry.loadEventStart),
    render: since(entry.domComplete, entry.responseEnd),
    interactive: seconds(Math.max(entry.domInteractive - begun, 0)),
  };
  const navigation = discarded ? "restore" : activated ? "prerender" : entry.type.replace("_", "-");
  send("page_load", { page, navigation, ...(isSeen && !wasHidden ? times : {}) });
}

function vital(send: Send, { name, value, rating, id }: Metric, page: string): void {
  const score = Math.round(Math.min(value, 100) * 10_000) / 10_000;
  const number = name === "CLS" ? { score } : { seconds: seconds(value) };
  send("web_vital", { vital: name, page, rating, ...number }, false, id);
}

/** Count a view without a load: from its begin to the second frame, when it can be seen. Seen later, it has no time. */
function view(send: Send, navigation: string, begun: number): void {
  const where = page();
  const frame = requestAnimationFrame;
  const seen = () => {
    if (!isVisible()) return whenVisible(seen);
    const total = seconds(elapsed(begun));
    if (total === undefined && page() !== where) return;
    send("page_load", { page: where, navigation, total });
  };
  whenVisible(() => frame(() => frame(seen)));
}

function routes(send: Send): void {
  let current = page();
  const changed = () => {
    if (page() === current) return;
    current = page();
    view(send, "soft-navigation", performance.now());
  };
  const { navigation } = window as unknown as { navigation?: EventTarget };
  // Every change of the URL within the document, however it is made.
  if (navigation) return navigation.addEventListener("currententrychange", () => safely(changed));
  for (const name of ["pushState", "replaceState"] as const) {
    const plain = history[name];
    history[name] = function (this: History, ...state: Parameters<History["pushState"]>): void {
      plain.apply(this, state);
      safely(changed);
    };
  }
  for (const name of ["popstate", "hashchange"]) addEventListener(name, changed);
}

const KINDS: [string, string][] = [
  ["[role=tab]", "tab"],
  ["[role^=menu],menu", "menu"],
  ["button,[role=button],summary,[type=submit],[type=button]", "button"],
  ["a,[role=link]", "link"],
  ["input,select,textarea", "input"],
];

function people(send: Send): void {
  // The path goes into shadow trees, where the target is only their host.
  const listen = (name: string, then: (path: Element[]) => void) =>
    addEventListener(name, (event) => safely(() => then(event.composedPath() as Element[])), true);
  listen("click", (path) => {
    const kind = KINDS.find(([selector]) => path.some((one) => one.matches?.(selector)));
    if (kind) send("click", { page: page(), element: kind[1] });
  });
  const submitted = ([target]: Element[]) => {
    if (!target) return;
    // By attribute: a form with a field called "id" gives that field for form.id.
    const name = target.getAttribute("id") || target.getAttribute("name") || "";
    send("form_submit", { form: name.slice(0, 200) }, true);
  };
  listen("submit", submitted);
  // It does not leave shadow trees (`composed` is false): listen in those that people come to, before they can submit.
  const known = new WeakSet<EventTarget>();
  for (const name of ["focusin", "click"]) {
    listen(name, (path: EventTarget[]) => {
      for (const root of path) {
        if (!(root instanceof ShadowRoot) || known.has(root)) continue;
        known.add(root);
        root.addEventListener("submit", (event) => safely(() => submitted(event.composedPath() as Element[])), true);
      }
    });
  }
}

// Errors of browser extensions, and a notice of browsers that nothing is the matter with: https://crbug.com/809574
const NOISE = /^[a-z-]+-extension:|^ResizeObserver loop/;

function errors(send: Send): void {
  const seen = new Set<string>();
  // Each error once a page, and not more than twenty: one in a loop must not drown the others.
  const once = (type: string, place: string, kind?: string, ...origins: unknown[]) => {
    if (origins.some((origin) => NOISE.test(String(origin)))) return;
    const key = type + place + kind;
    if (seen.has(key) || seen.size >= MOST_ERRORS) return;
    seen.add(key);
    send(type, { page: page(), kind: kind?.slice(0, 60) }, true);
  };
  const kind = (error: unknown, message: unknown) =>
    error instanceof Error ? error.name : (/\b([A-Z]\w{0,40})?Error\b/.exec(String(message))?.[0] ?? "");
  // The first address of a stack is where it was thrown.
  const thrown = (error: unknown) => /[a-z-]+:\/\/[^\s)]*/.exec(String((error as Error | undefined)?.stack))?.[0];
  const listen = <K extends keyof WindowEventMap>(name: K, then: (event: WindowEventMap[K]) => void) =>
    addEventListener(name, (event) => safely(() => then(event)), true);
  listen("error", (event) => {
    const { error, message, filename, lineno, colno, target } = event;
    if (event instanceof ErrorEvent) {
      const plain = message.replace(/^Uncaught (Error: )?/, "");
      once("javascript_error", message + filename + lineno + colno, kind(error, message), filename, plain, thrown(error));
    } else if ((event as Event).isTrusted && (target as unknown) instanceof Element) {
      const source = target as unknown as HTMLImageElement & HTMLLinkElement & HTMLObjectElement;
      const url = source.src || source.href || source.data;
      if (url) once("resource_error", url, undefined, url);
    }
  });
  listen("unhandledrejection", ({ reason }) => once("unhandled_rejection", String(reason), kind(reason, reason), thrown(reason)));
  listen("securitypolicyviolation", (event) => {
    const { blockedURI, sourceFile } = event;
    // Of a blocked address with another scheme only the scheme is told.
    once("csp_violation", blockedURI + event.violatedDirective, undefined, blockedURI + ":", sourceFile);
  });
}
