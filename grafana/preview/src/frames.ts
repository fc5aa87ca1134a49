// Data frames of what Prometheus answered, as its data source in Grafana makes them.
import { createDataFrame, type DataFrame, FieldType } from "@grafana/data";
import { legend, type Series } from "./answer.ts";
import type { Target } from "./dashboard.ts";

/** One frame a series, with time and value: what graphs and single values read. */
export function graphs(found: Series[], target: Target, step: number): DataFrame[] {
  return found.map(({ metric, points }) => {
    const displayNameFromDS = legend(target.legendFormat, metric);
    const interval = step * 1000;
    return createDataFrame({
      refId: target.refId,
      name: displayNameFromDS,
      fields: [
        { name: "Time", type: FieldType.time, values: points.map(([at]) => at * 1000), config: { interval } },
        { name: "Value", type: FieldType.number, labels: metric, values: points.map(([, value]) => value), config: { displayNameFromDS } },
      ],
    });
  });
}

/** One frame a query, with a column for each label: what tables read. */
export function table(found: Series[], target: Target, several: boolean): DataFrame {
  const rows = found.flatMap(({ metric, points }) => points.map(([at, value]) => ({ metric, at, value })));
  const labels = [...new Set(found.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: "Time", type: FieldType.time, values: rows.map(({ at }) => at * 1000) },
      ...labels.map((label) => ({ name: label, type: FieldType.string, values: rows.map(({ metric }) => metric[label] ?? "") })),
      { name: several ? `Value #${target.refId}` : "Value", type: FieldType.number, values: rows.map(({ value }) => value) },
    ],
  });
}
