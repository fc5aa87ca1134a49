// A dashboard's annotations: asks for them, and marks them on a graph.
import type { GrafanaTheme2, TimeRange } from "@grafana/data";
import type { UPlotConfigBuilder } from "@grafana/ui";
import type uPlot from "uplot";
import type { AnnotationQuery } from "./dashboard.ts";
import { type Event, events } from "./events.ts";
import type { Prometheus } from "./prometheus.ts";
import type { Values } from "./variables.ts";

const POINTS = 400;

/** Ask for all annotations that are switched on. */
export async function ask(queries: AnnotationQuery[], prometheus: Prometheus, range: TimeRange, values: Values): Promise<Event[]> {
  const all: Event[] = [];
  for (const query of queries.filter(({ enable }) => enable)) {
    const expr = query.target?.expr ?? query.expr;
    if (!expr) continue; // Grafana's own, of its own database
    const { found, step } = await prometheus.query({ refId: "Anno", expr, interval: query.step || "60s" }, range, POINTS, values);
    all.push(...events(found, query, step));
  }
  return all;
}

/** Draw a dashed line where an event began, and a bar below the graph for as long as it lasted. */
export function mark(config: UPlotConfigBuilder, marks: Event[], theme: GrafanaTheme2): void {
  config.addHook("draw", (plot: uPlot) => {
    const { ctx, bbox } = plot;
    const bottom = bbox.top + bbox.height;
    for (const event of marks) {
      const left = Math.max(plot.valToPos(event.from, "x", true), bbox.left);
      const right = Math.min(plot.valToPos(event.to, "x", true), bbox.left + bbox.width);
      if (right < bbox.left || left > bbox.left + bbox.width) continue;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = theme.visualization.getColorByName(event.color);
      ctx.lineWidth = 1;
      ctx.setLineDash([5, 5]);
      ctx.beginPath();
      ctx.moveTo(left, bbox.top);
      ctx.lineTo(left, bottom);
      ctx.stroke();
      ctx.fillRect(left - 2, bottom, Math.max(right - left, 4), 4);
      ctx.restore();
    }
  });
}
