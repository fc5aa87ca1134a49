// What every kind of panel is given to draw itself.
import type { DataFrame, GrafanaTheme2, InterpolateFunction, TimeRange } from "@grafana/data";
import type { Event } from "../events.ts";
import type { Panel } from "../dashboard.ts";

export interface Drawing {
  panel: Panel;
  data: DataFrame[];
  theme: GrafanaTheme2;
  range: TimeRange;
  timeZone: string;
  replace: InterpolateFunction;
  events: Event[];
  width: number;
  height: number;
}
