// Puts the parts together: what is watched, when it may be said, and the calls that pages make.
import type { Options, Rum } from "../rum";
import { timeRequests } from "./requests";
import { Session } from "./session";
import { type Data, safely, Transport } from "./transport";
import { elapsed, seconds, watch } from "./watch";

const OPERATION = /\b(select|insert|update|delete)\b|\b(create|alter|drop|truncate)\b|\b(begin|commit|rollback|savepoint)\b/i;
const TABLE = /(?<!distinct |[."`])\b(?:from|into|update|join|table)\s+(?:(?:only|if|not|exists)\s+)*["`]?(?:[^\s"`.,;()]+["`]?\s*\.\s*["`]?)?([^\s"`.,;()]+)/i;
// Comments, texts, also one that never ends, and brackets without a query in them: EXTRACT(EPOCH FROM x)
const ASIDE = /--.*|\/\*(?:\/\*[^]*?\*\/|[^])*?\*\/|'(?:[^']|'')*'?|(\$\w*\$)[^]*?\1|\((?:(?!select)[^()'])*\)/gi;

// Other reports to the exporter: those of the older classes, and of Sentry's tunnel.
const IGNORED = ["/api/metrics", "/api/rum/", "/api/report"];

let running: Rum | undefined;

export function start(given: Options = {}): Rum {
  return (running ??= begin({ endpoint: "/api/pulse", interval: 5000, sample: 1, honourGpc: true, ...given }));
}

function begin(options: Options & { endpoint: string; interval: number; sample: number; honourGpc: boolean; }): Rum {
  let transport: Transport | undefined;
  let watching = false;
  let wanted = false; // by a page that is prerendered
  const session = new Session(() => send("session_start", {}, true));
  const sample = Math.min(Math.max(Math.round(options.sample) || 1, 1), 1000);

  function send(type: string, data: Data, always = false, id?: string): void {
    safely(() => {
      if (always) transport?.add(type, data, 1, id);
      else if (transport && session.taken(sample)) transport.add(type, data, sample, id);
    });
  }

  function consent(allowed: boolean): void {
    safely(() => {
      wanted = false;
      if (!allowed) {
        transport?.stop();
        transport = undefined;
        return;
      }
      const refused = options.honourGpc && (navigator as { globalPrivacyControl?: boolean }).globalPrivacyControl;
      if (transport || refused) return;
      // Nobody has seen a prerendered page yet, and perhaps nobody will.
      if ((document as { prerendering?: boolean }).prerendering) {
        wanted = true;
        document.addEventListener("prerenderingchange", () => wanted && consent(true), { once: true });
        return;
      }
      transport = new Transport(options, () => session.id());
      session.id();
      if (!watching) observe();
    });
  }

  function observe(): void {
    watching = true;
    // web-vitals listens for the same moments and must speak first: it was asked to watch before.
    watch(send);
    const hide = () => safely(() => transport?.flush(true));
    addEventListener("visibilitychange", () => document.visibilityState === "hidden" && hide(), true);
    addEventListener("pagehide", hide, true);
    if (options.timeRequests) safely(() => timeRequests([options.endpoint, ...IGNORED, ...(options.ignore ?? [])], request));
  }

  function request(endpoint: string, method: string, milliseconds: number, status: number, error: string): void {
    const failure = /^Abort/.test(error) ? "aborted" : /^Timeout/.test(error) ? "timeout" : "network_error";
    const status_class = status ? `${Math.floor(status / 100)}xx` : failure;
    const outcome = status > 0 && status < 400 ? "success" : "failure";
    call(endpoint, method, milliseconds, outcome, { status_class });
  }

  function call(endpoint: string, method: string, milliseconds: number, outcome: string, more: Data): void {
    const path = safely(() => new URL(endpoint, location.href).pathname) ?? endpoint;
    send("api_call", { endpoint: path, method, outcome, duration: seconds(milliseconds), ...more });
  }

  if (options.consent !== "required") consent(true);
  return {
    async trackApiCall(endpoint, method, fn) {
      const began = performance.now();
      let outcome = "failure";
      try {
        const result = await fn();
        outcome = "success";
        return result;
      } finally {
        call(endpoint, method, elapsed(began), outcome, {});
      }
    },
    trackDatabaseQuery(text, milliseconds, table) {
      const isUnsure = /\\'/.test(text);
      text = text.replace(ASIDE, " ").replace(ASIDE, " ");
      const [, found, ddl, transaction] = OPERATION.exec(text) ?? [];
      const operation = (found ?? (ddl ? "ddl" : transaction ? "transaction" : "")).toLowerCase();
      // Whether a text ends at \' depends on the database: a word of the text must not be taken for a table.
      const name = (table ?? (isUnsure ? "" : TABLE.exec(text)?.[1]) ?? "").toLowerCase();
      send("db_query", { operation, table: name, duration: seconds(milliseconds) });
    },
    trackForm: (form, outcome) => send("form_submit", { form, outcome }, true),
    track: (type, data) => send(type, data),
    consent,
    flush: () => void safely(() => transport?.flush(false)),
  };
}
