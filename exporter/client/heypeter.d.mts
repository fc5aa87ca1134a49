/** The types of heypeter.mjs. Between the marks they are written from ../catalogue/*.yml by `python -m exporter.client.generate`. */

// <events>
/** Every event that a server may send, and its data. */
export interface Events {
  http_request: { method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS" | (string & {}); route: string; status: number; duration?: number; kind?: string };
  http_in_flight: { requests: number };
  rate_limited: { route: string; policy: string };
  api_call: { endpoint: string; method?: string; outcome: "success" | "failure"; status_class?: "2xx" | "3xx" | "4xx" | "5xx" | "network_error" | "aborted" | "timeout" | (string & {}); duration?: number };
  db_query: { operation: "select" | "insert" | "update" | "delete" | "upsert" | "transaction" | "ddl" | (string & {}); table: string; outcome?: "success" | "failure" | (string & {}); duration?: number };
  cache_request: { cache: string; result: "hit" | "miss" };
  deployment_finished: Record<string, never>;
  page_load: { page: string; device?: "desktop" | "mobile" | "tablet" | (string & {}); navigation?: "navigate" | "reload" | "back-forward" | "back-forward-cache" | "prerender" | "restore" | "soft-navigation" | (string & {}); total?: number; dom_content_loaded?: number; load_complete?: number; render?: number; interactive?: number };
  web_vital: { vital: "LCP" | "INP" | "CLS" | "FCP" | "TTFB" | "FID"; page: string; device?: "desktop" | "mobile" | "tablet" | (string & {}); rating: "good" | "needs-improvement" | "poor"; seconds?: number; score?: number };
  click: { page: string; element: "button" | "link" | "input" | "menu" | "card" | "tab" | (string & {}) };
  form_submit: { form: string; outcome?: "success" | "failure" | (string & {}) };
  javascript_error: { page?: string; kind: "TypeError" | "ReferenceError" | "SyntaxError" | "RangeError" | "NetworkError" | "ChunkLoadError" | "SecurityError" | "AbortError" | "HydrationError" | "Error" | (string & {}) };
  unhandled_rejection: { page?: string; kind: "TypeError" | "ReferenceError" | "SyntaxError" | "RangeError" | "NetworkError" | "ChunkLoadError" | "SecurityError" | "AbortError" | "HydrationError" | "Error" | (string & {}) };
  login: { method: "password" | "magic_link" | "oauth_google" | "oauth_apple" | "oauth_other" | "sso" | "api_key" | (string & {}) };
  login_failed: { method: "password" | "magic_link" | "oauth_google" | "oauth_apple" | "oauth_other" | "sso" | "api_key" | (string & {}); reason: "bad_credentials" | "unknown_user" | "locked" | "mfa_failed" | "expired_token" | "rate_limited" | (string & {}); account?: string };
  account_locked: Record<string, never>;
  role_granted: { role: "admin" | "finance" | "teacher" | "staff" | (string & {}) };
  audit_entry: Record<string, never>;
  suspicious_activity: { kind: "credential_stuffing" | "brute_force" | "impossible_travel" | "sqli_probe" | "xss_probe" | "path_traversal" | "token_replay" | "scraping" | "privilege_escalation" | (string & {}) };
  security_scan_finished: { scanner: "dependency" | "container" | "sast" | "dast" | "secrets" | "tls" | (string & {}); outcome: "success" | "failure" };
  security_findings_counted: { scanner: "dependency" | "container" | "sast" | "dast" | "secrets" | "tls" | (string & {}); severity: "critical" | "high" | "medium" | "low" | (string & {}); open: number };
  compliance_checked: { framework: "gdpr" | "pci_dss" | "soc2" | "iso27001" | (string & {}); control: string; passing: boolean };
  compliance_audited: { framework: "gdpr" | "pci_dss" | "soc2" | "iso27001" | (string & {}) };
  subject_request_closed: { kind: "access" | "erasure" | "rectification" | "portability" | "objection" | (string & {}); outcome: "success" | "failure" };
  subject_requests_open: { kind: "access" | "erasure" | "rectification" | "portability" | "objection" | (string & {}); oldest?: number | string | Date };
  consent_decided: { consent: "analytics" | "marketing" | "functional" | (string & {}); decision: "granted" | "denied" };
  backup_finished: { database: string; outcome?: string };
  user_registered: { channel: "web" | "mobile" | "admin" | "partner" | (string & {}); plan?: string };
  user_active: { user: string };
  class_booked: { class_type: string; channel: "web" | "mobile" | "admin" | "partner" | (string & {}) };
  class_cancelled: { class_type: string; by: "student" | "teacher" | "school" | "system" | (string & {}); reason: "illness" | "schedule" | "no_show" | "weather" | "technical" | (string & {}) };
  class_seats: { class_type: string; booked: number; capacity: number };
  class_rated: { class_type: string; rating: number };
  payment_attempted: { provider: "stripe" | "paypal" | "bank_transfer" | (string & {}) };
  payment_failed: { provider: "stripe" | "paypal" | "bank_transfer" | (string & {}); reason: "card_declined" | "insufficient_funds" | "expired_card" | "authentication_failed" | "fraud_suspected" | "provider_error" | "timeout" | "cancelled_by_user" | (string & {}) };
  payment_completed: { provider: "stripe" | "paypal" | "bank_transfer" | (string & {}); plan?: string; duration?: number; currency: "EUR" | "USD" | "GBP" | "VND"; amount: number };
  payment_refunded: { plan?: string; currency: "EUR" | "USD" | "GBP" | "VND"; amount: number };
  retention_measured: { cohort: "d1" | "d7" | "d30" | "d90" | (string & {}); ratio: number };
  ticket_opened: { channel: "email" | "chat" | "phone" | "form" | (string & {}); priority: "low" | "normal" | "high" | "urgent" | (string & {}) };
  ticket_first_response: { priority: "low" | "normal" | "high" | "urgent" | (string & {}); duration: number };
  ticket_resolved: { channel: "email" | "chat" | "phone" | "form" | (string & {}); priority: "low" | "normal" | "high" | "urgent" | (string & {}); duration?: number };
  tickets_counted: { priority: "low" | "normal" | "high" | "urgent" | (string & {}); open: number; oldest_unanswered?: number | string | Date };
}
// </events>

export type EventType = keyof Events;
/** Data of an event; left out where every field may be. */
type DataOf<T extends EventType> = {} extends Events[T] ? [data?: Events[T], extra?: Extra] : [data: Events[T], extra?: Extra];

export interface Extra {
  /** The event's own id, from an outbox: an event with a known id is not counted again. */
  id?: string;
  source?: string;
  /** Milliseconds since 1970, or RFC 3339; now without it. */
  time?: number | string | Date;
  /** 32 hexadecimal digits; the trace of the request that is being served without it. */
  traceId?: string;
}

/** Any event, told apart by its type. */
export type AnyEvent = {
  [T in EventType]: { type: T } & Extra & ({} extends Events[T] ? { data?: Events[T] } : { data: Events[T] });
}[EventType];

export type Outcome =
  | { state: "counted" }
  | { state: "rejected"; reason: string; field: string; message: string }
  /** Not counted through no fault of the event: it may be sent again, with its id. */
  | { state: "undelivered"; reason?: string; field?: string; message?: string };

export interface Rejection {
  type: string;
  id: string | undefined;
  reason: string;
  field: string;
  message: string;
}

export interface Stats {
  /** Events that the exporter has; `duplicates` of them it had before. */
  sent: number;
  duplicates: number;
  /** Events that it refused for good. */
  rejected: number;
  /** Events that were never sent: the queue was full, or the process ended. */
  dropped: number;
  /** Attempts that were not the first. */
  retried: number;
  /** Requests. */
  batches: number;
  /** Events that wait, or are under way. */
  queued: number;
}

export interface Options {
  /** Instead of HEYPETER_URL. */
  url?: string;
  /** Instead of HEYPETER_TOKEN. */
  token?: string;
  /** Instead of HEYPETER_TOKEN_FILE; read again for every batch. */
  tokenFile?: string;
  /** What every event says about where it comes from, unless it says so itself. */
  source?: string;
  /** Events of a batch, at most 1000; 200. */
  batchSize?: number;
  /** Milliseconds that an event waits for a batch to fill; 1000. */
  batchDelay?: number;
  /** Events that may wait; 10,000. */
  queueSize?: number;
  /** Milliseconds for one attempt, and for flush(); 10,000. */
  timeout?: number;
  /** Milliseconds for close(); 5000. */
  closeTimeout?: number;
  backoffBase?: number;
  backoffMost?: number;
  onRejected?: (rejection: Rejection) => void;
  log?: (line: string) => void;
  now?: () => number;
  random?: () => number;
  newId?: () => string;
  sleep?: (milliseconds: number) => Promise<void>;
  /** Takes events and drops them. */
  disabled?: boolean;
}

export class Client {
  constructor(options?: Options);
  readonly enabled: boolean;
  track<T extends EventType>(type: T, ...rest: DataOf<T>): boolean;
  send<T extends EventType>(type: T, ...rest: DataOf<T>): Promise<void>;
  deliver(events: Iterable<AnyEvent>): Promise<Outcome[]>;
  flush(timeout?: number): Promise<boolean>;
  close(timeout?: number): Promise<boolean>;
  hurry(): Promise<boolean>;
  leave(): void;
  stats(): Stats;
}

export function client(): Client;
export function register(options?: Options & {
  /** Whether to count, by their path, the requests that no wrapper counts; true. */
  requests?: boolean;
}): Client | undefined;
export function track<T extends EventType>(type: T, ...rest: DataOf<T>): boolean;
export function send<T extends EventType>(type: T, ...rest: DataOf<T>): Promise<void>;
export function deliver(events: Iterable<AnyEvent>): Promise<Outcome[]>;
export function traceId(traceparent: string | null | undefined): string | undefined;

export function withMetrics<A extends [request: Request, ...rest: any[]], R>(
  route: string,
  handler: (...given: A) => R,
): (...given: A) => Promise<Awaited<R>>;

/** What of Node's IncomingMessage and ServerResponse is used, so that @types/node is not needed here. */
interface ApiRequest {
  method?: string | undefined;
  headers: Record<string, string | string[] | undefined>;
}
interface ApiResponse {
  statusCode: number;
  headersSent: boolean;
  once(event: "finish" | "close", listener: () => void): unknown;
}
export function withApiMetrics<Q extends ApiRequest, S extends ApiResponse, R>(
  route: string,
  handler: (request: Q, response: S) => R,
): (request: Q, response: S) => Promise<Awaited<R>>;

export function onRequestError(
  error: unknown,
  request: { path: string; method: string; headers: Record<string, string | string[] | undefined> },
  context: { routePath: string; [key: string]: unknown },
): void;

export function timeQuery<R>(operation: string, table: string, fn: () => R | Promise<R>): Promise<R>;
export function withQueries<P extends { query: (...given: any[]) => any }>(pool: P): P;
export function describeQuery(text: string): { operation: string; table: string };
export function cacheRequest(cache: string, isHit: boolean): void;
