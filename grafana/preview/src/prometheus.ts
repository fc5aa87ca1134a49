// Asks Prometheus as Grafana's data source does: at a step that suits the width of the panel.
import { rangeUtil, type TimeRange } from "@grafana/data";
import { builtIns, type Series, series } from "./answer.ts";
import type { Target } from "./dashboard.ts";
import { interpolate, type Values } from "./variables.ts";

const LONGEST = 11_000; // points a series; Prometheus refuses more

export class Prometheus {
  readonly #url: string;
  readonly #scrape: number;

  /** The scrape interval in seconds is the shortest step, as the data source's `timeInterval`. */
  constructor(url: string, scrape: number) {
    this.#url = url;
    this.#scrape = scrape;
  }

  /** Ask one query over a range, at a step that gives at most `points` points a series. */
  async query(target: Target, range: TimeRange, points: number, values: Values): Promise<{ found: Series[]; step: number }> {
    const lowest = target.interval ? interpolate(target.interval, values) : `${this.#scrape}s`;
    const length = Math.round((range.to.valueOf() - range.from.valueOf()) / 1000);
    const wanted = rangeUtil.calculateInterval(range, points, lowest).intervalMs / 1000;
    const step = Math.max(1, Math.round(wanted), Math.ceil(length / LONGEST));
    const query = interpolate(target.expr, new Map([...values, ...builtIns(step, this.#scrape, length)]));
    const to = range.to.valueOf() / 1000;
    if (target.instant) return { found: series(await this.#get("query", { query, time: to })), step };
    const aligned = (at: number): number => Math.floor(at / step) * step;
    const span = { start: aligned(range.from.valueOf() / 1000), end: aligned(to), step };
    return { found: series(await this.#get("query_range", { query, ...span })), step };
  }

  async labels(label: string, selector?: string): Promise<string[]> {
    return this.#get(`label/${label}/values`, selector ? { "match[]": selector } : {});
  }

  async #get<T>(path: string, parameters: Record<string, string | number>): Promise<T> {
    const words = new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)]));
    const answer = await fetch(`${this.#url}/api/v1/${path}?${words}`);
    const body = await answer.json();
    if (body.status !== "success") throw new Error(body.error ?? `Prometheus answered ${answer.status}`);
    return body.data;
  }
}
