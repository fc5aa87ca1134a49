// A graph over time, with Grafana's own graph: lines, thresholds, legend, and the marks of annotations.
import { type DataFrame, FieldType } from "@grafana/data";
import { TimeSeries as Graph, type UPlotConfigBuilder } from "@grafana/ui";
import { mark } from "../annotations.ts";
import type { Drawing } from "./context.ts";
import { Empty } from "./empty.tsx";

/** As Grafana's graph: what is no finite number is a hole, or the axis would have no end. */
function drawable(frame: DataFrame): DataFrame {
  const fields = frame.fields.map((field) =>
    field.type === FieldType.number ? { ...field, values: field.values.map((value) => (Number.isFinite(value) ? value : null)) } : field,
  );
  return { ...frame, fields };
}

function Marks({ config, drawing }: { config: UPlotConfigBuilder; drawing: Drawing }) {
  mark(config, drawing.events, drawing.theme);
  return null;
}

export function TimeSeries(drawing: Drawing) {
  const { panel, data, range, timeZone, width, height } = drawing;
  const frames = data.filter((frame) => frame.length > 0 && frame.fields.some(({ type }) => type === FieldType.number)).map(drawable);
  if (frames.length === 0) return <Empty {...drawing} />;
  const legend = { showLegend: true, displayMode: "list", placement: "bottom", calcs: [], ...panel.options?.legend };
  return (
    <Graph frames={frames} structureRev={1} timeRange={range} timeZone={timeZone} width={width} height={height} legend={legend}>
      {(config) => <Marks config={config} drawing={drawing} />}
    </Graph>
  );
}
