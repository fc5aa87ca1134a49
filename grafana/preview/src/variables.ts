// A dashboard's variables: what each stands for, and how it stands in a query, a title and a link.
import type { Variable } from "./dashboard.ts";
import type { Prometheus } from "./prometheus.ts";

export interface Value {
  label: string;
  text: string;
  value: string | string[];
  hidden: boolean;
}

export type Values = ReadonlyMap<string, Value>;

const ALL = "$__all";
const escaped = (value: string): string => value.replace(/[\\^$*+?.()|[\]{}]/g, "\\\\$&");
const wording = (value: string | string[]): string => (Array.isArray(value) ? value.join(" + ") : value);

/** One value as Prometheus takes it in a matcher; several as (a|b), as Grafana's data source writes them. */
export function matcher(value: string | string[]): string {
  if (!Array.isArray(value)) return value;
  return value.length === 1 ? escaped(value[0] ?? "") : `(${value.map(escaped).join("|")})`;
}

/** Write the values into a text; $name, ${name} and ${name:format} are known, what is unknown stays as it is. */
export function interpolate(text: string, values: Values, write = matcher): string {
  return text.replace(/\$(\w+)|\$\{(\w+)(?::(\w+))?\}/g, (whole, bare?: string, braced?: string, format?: string) => {
    const found = values.get(bare ?? braced ?? "");
    if (!found) return whole;
    if (format === "queryparam" || format === "percentencode") return encodeURIComponent(wording(found.value));
    if (format === "text") return found.text;
    if (format === "raw" || format === "csv") return [found.value].flat().join(",");
    if (format === "pipe") return [found.value].flat().join("|");
    return write(found.value);
  });
}

/** As `interpolate`, for what people read: "a + b", and "All" for all. */
export function spoken(text: string, values: Values): string {
  const read = new Map([...values].map(([name, value]) => [name, { ...value, value: value.text }]));
  return interpolate(text, read, (value) => String(value));
}

async function options(variable: Variable, values: Values, prometheus: Prometheus): Promise<string[]> {
  const query = typeof variable.query === "string" ? variable.query : (variable.query?.query ?? variable.definition ?? "");
  if (variable.type !== "query") return query.split(",").map((option) => option.trim());
  const [, series, label] = /^label_values\(\s*(?:(.+?)\s*,)?\s*(\w+)\s*\)$/s.exec(query) ?? [];
  if (!label) throw new Error(`variable ${variable.name}: the preview knows label_values(…) only, not ${query}`);
  return prometheus.labels(label, series && interpolate(series, values));
}

async function choose(variable: Variable, values: Values, prometheus: Prometheus): Promise<Pick<Value, "text" | "value">> {
  if (variable.type === "datasource") return { text: "Prometheus", value: "prometheus" };
  const chosen = variable.current?.value ?? "";
  const one = Array.isArray(chosen) && chosen.length === 1 ? (chosen[0] ?? "") : chosen;
  if (one === ALL || (one === "All" && variable.includeAll)) {
    return { text: "All", value: variable.allValue ?? (await options(variable, values, prometheus)) };
  }
  if (one !== "" && one.length > 0) return { text: wording(variable.current?.text ?? one), value: one };
  const first = (await options(variable, values, prometheus))[0] ?? "";
  return { text: first, value: first };
}

/** What each variable stands for: its current value, or as Grafana the first that there is. */
export async function resolve(variables: Variable[], prometheus: Prometheus): Promise<Values> {
  const values = new Map<string, Value>();
  for (const variable of variables) {
    const chosen = await choose(variable, values, prometheus);
    const hidden = variable.hide === 2 || variable.type === "constant";
    values.set(variable.name, { label: variable.label || variable.name, hidden, ...chosen });
  }
  return values;
}
