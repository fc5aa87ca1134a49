/** Real user monitoring for the HeyPeter exporter. Times that you give are milliseconds, as the browser counts. */

export interface Options {
  /** Where batches go; a path of your own site, or the exporter's URL. Default: /api/pulse */
  endpoint?: string;
  /** Take one session in n; its events stand for n. Errors, forms and what was lost are always sent. Default: 1 */
  sample?: number;
  /** Time fetch and XMLHttpRequest to your own origin. Default: false */
  timeRequests?: boolean;
  /** Addresses that are not timed, by how they begin, beside the endpoint, /api/metrics, /api/rum/ and /api/report. */
  ignore?: string[];
  /** Say nothing until consent(true). Default: not required */
  consent?: "required";
  /** Say nothing where Global Privacy Control is on. Default: true */
  honourGpc?: boolean;
  /** Pass events on to window.gtag, where there is one. Default: false */
  gtag?: boolean;
  /** Change an event before it is kept, or drop it with null. */
  beforeSend?: (event: RumEvent) => RumEvent | null;
  /** Milliseconds between two batches. Default: 5000 */
  interval?: number;
}

export interface RumEvent {
  type: string;
  time: number;
  id?: string;
  data: Record<string, string | number | boolean | null>;
}

export interface Rum {
  /** Run fn, and count how long it took and whether it threw; gives what fn gives. */
  trackApiCall<T>(endpoint: string, method: string, fn: () => Promise<T>): Promise<T>;
  /** Count a query by its operation and table; of an SQL text nothing else is sent. */
  trackDatabaseQuery(sqlOrOperation: string, milliseconds: number, table?: string): void;
  /** Say how a form fared, for forms that are sent by script. */
  trackForm(form: string, outcome: "success" | "failure"): void;
  /** Send an event of the exporter's catalogue. */
  track(type: string, data: RumEvent["data"]): void;
  /** Begin or end, after the visitor has been asked. */
  consent(given: boolean): void;
  /** Send what is waiting. */
  flush(): void;
}

/** Begin; the second call in a page gives what the first gave. */
export function start(options?: Options): Rum;
