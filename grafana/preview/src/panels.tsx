// One panel: asks its queries, prepares the answers, and draws them in Grafana's frame.
import { type DataFrame, type GrafanaTheme2, rangeUtil, type TimeRange } from "@grafana/data";
import { PanelChrome } from "@grafana/ui";
import { Component, type ComponentType, type ReactNode } from "react";
import type { Event } from "./events.ts";
import type { Panel } from "./dashboard.ts";
import { prepare } from "./fields.ts";
import type { Box } from "./layout.ts";
import type { Drawing } from "./panel/context.ts";
import { Gauge } from "./panel/gauge.tsx";
import { BarGauge, Stat } from "./panel/single.tsx";
import { Table } from "./panel/table.tsx";
import { Text } from "./panel/text.tsx";
import { TimeSeries } from "./panel/timeseries.tsx";
import { Timeline } from "./panel/timeline.tsx";
import { graphs, table } from "./frames.ts";
import type { Prometheus } from "./prometheus.ts";
import { spoken, type Values } from "./variables.ts";

/** What can be drawn; tests/grafana reads the names here. A row is drawn by the page. */
export const PANELS: Record<string, ComponentType<Drawing>> = {
  bargauge: BarGauge,
  gauge: Gauge,
  stat: Stat,
  "state-timeline": Timeline,
  table: Table,
  text: Text,
  timeseries: TimeSeries,
};

export interface World {
  prometheus: Prometheus;
  values: Values;
  theme: GrafanaTheme2;
  range: TimeRange;
  timeZone: string;
  events: Event[];
  /** Told what is wrong with a panel, and which query gives nothing: the driver prints both. */
  report: (error: string) => void;
  nothing: (query: string) => void;
}

/** A panel may look at a time of its own, as the last 24 hours. */
function span(panel: Panel, range: TimeRange): TimeRange {
  return panel.timeFrom ? rangeUtil.convertRawToRange({ from: `now-${panel.timeFrom}`, to: "now" }) : range;
}

/** Ask all queries of a panel and prepare the frames. */
export async function load({ panel, width }: Box, world: World): Promise<DataFrame[]> {
  const { prometheus, values, theme, range } = world;
  const targets = (panel.targets ?? []).filter(({ hide }) => !hide);
  const points = panel.maxDataPoints ?? Math.max(100, width);
  const raw: DataFrame[] = [];
  for (const target of targets) {
    const asked = target.interval ? target : { ...target, interval: panel.interval };
    const { found, step } = await prometheus.query(asked, span(panel, range), points, values);
    if (found.length === 0) world.nothing(`${panel.title}: query ${target.refId} gives nothing`);
    else if (target.format === "table") raw.push(table(found, target, targets.length > 1));
    else raw.push(...graphs(found, target, step));
  }
  return prepare(panel, raw, theme, (text) => spoken(text, values));
}

/** Shows and reports what a panel threw, and lets the others be. */
class Fence extends Component<{ name: string; report: World["report"]; children: ReactNode }, { error?: Error }> {
  override state: { error?: Error } = {};
  static getDerivedStateFromError = (error: Error) => ({ error });
  override componentDidCatch(error: Error) {
    this.props.report(`${this.props.name}: ${error.message}`);
  }
  override render() {
    return this.state.error ? <pre style={{ color: "red", whiteSpace: "pre-wrap" }}>{this.state.error.message}</pre> : this.props.children;
  }
}

function Unknown({ panel }: Drawing): never {
  throw new Error(`the preview cannot draw a panel of type "${panel.type}"`);
}

export function PanelView({ box, data, world }: { box: Box; data: DataFrame[]; world: World }) {
  const { panel, width, height } = box;
  const { values, theme, range, timeZone, events, report } = world;
  const Draw = PANELS[panel.type] ?? Unknown;
  const title = spoken(panel.title ?? "", values);
  const replace = (text: string): string => spoken(text, values);
  const frame = panel.transparent ? "transparent" : "default";
  const padding = panel.type === "table" || panel.type === "stat" ? "none" : "md";
  return (
    <PanelChrome {...{ width, height, title, padding }} description={panel.description} displayMode={frame} hoverHeader={!title}>
      {(inner: number, tall: number) => (
        <Fence name={title} report={report}>
          <Draw {...{ panel, data, theme, timeZone, replace, events }} range={span(panel, range)} width={inner} height={tall} />
        </Fence>
      )}
    </PanelChrome>
  );
}
