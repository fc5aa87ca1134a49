// What Prometheus answers, and what Grafana's data source writes into its questions; all of it pure.
import type { Value } from "./variables.ts";

export type Labels = Record<string, string>;
export interface Series {
  metric: Labels;
  points: [seconds: number, value: number][];
}

const number = (text: string): number => Number(text.replace("Inf", "Infinity"));

/** The answer of /api/v1/query or query_range: a scalar, a vector or a matrix, as series. */
export function series(data: { resultType: string; result: unknown }): Series[] {
  if (data.resultType === "scalar") {
    const [at, value] = data.result as [number, string];
    return [{ metric: {}, points: [[at, number(value)]] }];
  }
  const found = data.result as { metric: Labels; value?: [number, string]; values?: [number, string][] }[];
  return found.map(({ metric, value, values }) => ({
    metric,
    points: (values ?? (value ? [value] : [])).map(([at, text]) => [at, number(text)]),
  }));
}

/** A legend: {{label}} stands for the label's value; without a format it is the whole series. */
export function legend(format: string | undefined, metric: Labels): string {
  if (format && format !== "__auto") return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label: string) => metric[label] ?? "");
  const { __name__: name = "", ...labels } = metric;
  const inner = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return name + (inner.length > 0 ? `{${inner.join(", ")}}` : "") || "Value";
}

const builtIn = (text: string): Value => ({ label: "", text, value: text, hidden: true });

/** Grafana's own variables of one query: $__interval, $__rate_interval, $__range and their kin; all in seconds. */
export function builtIns(step: number, scrape: number, length: number): Map<string, Value> {
  return new Map([
    ["__interval", builtIn(`${step}s`)],
    ["__interval_ms", builtIn(`${step * 1000}`)],
    // https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/#use-__rate_interval
    ["__rate_interval", builtIn(`${Math.max(step + scrape, 4 * scrape)}s`)],
    ["__range", builtIn(`${length}s`)],
    ["__range_s", builtIn(`${length}`)],
    ["__range_ms", builtIn(`${length * 1000}`)],
  ]);
}

