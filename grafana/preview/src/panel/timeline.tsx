// A state timeline: Grafana's own is part of a plugin that is not on npm.
import { dateTimeFormat, type DataFrame, type Field, FieldType, formattedValueToString, getFieldDisplayName } from "@grafana/data";
import { LegendDisplayMode } from "@grafana/schema";
import { VizLegend, type VizLegendItem } from "@grafana/ui";
import type { Drawing } from "./context.ts";
import { type Reading, type State, states } from "../states.ts";
import { Empty } from "./empty.tsx";

/** What each value of a series reads as; where there is none, nothing. */
function readings(time: number[], { values, display }: Field): Reading[] {
  return values.flatMap((value, index) => {
    if (value === null || value === undefined || Number.isNaN(value)) return [];
    const shown = display?.(value);
    return [{ at: time[index] ?? 0, text: shown ? formattedValueToString(shown) : String(value), color: shown?.color ?? "gray" }];
  });
}

function rows(data: DataFrame[], end: number): { name: string; states: State[] }[] {
  return data.flatMap((frame) => {
    const time = frame.fields.find(({ type }) => type === FieldType.time);
    if (!time) return [];
    const gap = 2 * (time.config.interval ?? Infinity); // longer without a value is a hole, as Grafana draws it
    return frame.fields
      .filter((field) => field !== time)
      .map((field) => ({ name: getFieldDisplayName(field, frame, data), states: states(readings(time.values, field), end, gap) }));
  });
}

/** As Grafana's: the steps of several thresholds, else each state that is shown. */
function legendItems({ panel, theme }: Drawing, shown: State[]): VizLegendItem[] {
  const { thresholds, color } = panel.fieldConfig?.defaults ?? {};
  if (panel.options?.legend?.showLegend === false) return [];
  const steps = thresholds?.steps ?? [];
  const named = (label: string, name: string): VizLegendItem => ({ label, color: theme.visualization.getColorByName(name), yAxis: 1 });
  if (color?.mode === "thresholds" && steps.length > 1) {
    return steps.map((step, index) => named(index === 0 ? `< ${steps[1]?.value}` : `${step.value}+`, step.color));
  }
  return [...new Map(shown.map((state) => [state.text, state.color]))].map(([text, name]) => named(text, name));
}

export function Timeline(drawing: Drawing) {
  const { panel, data, theme, range, timeZone, width, height } = drawing;
  const start = range.from.valueOf();
  const end = range.to.valueOf();
  const all = rows(data, end);
  if (all.length === 0) return <Empty {...drawing} />;
  const names = Math.min(width * 0.35, 12 + 7 * Math.max(...all.map(({ name }) => name.length)));
  const items = legendItems(drawing, all.flatMap((row) => row.states));
  const axis = 20;
  const foot = items.length > 0 ? 30 : 0;
  const row = (height - foot - axis) / all.length;
  const bar = row * (panel.options?.rowHeight ?? 0.9);
  const inside = panel.options?.showValue !== "never";
  const left = (at: number): number => ((Math.max(at, start) - start) / (end - start)) * (width - names);
  const hidden = { overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" } as const;
  const count = width > 600 ? 6 : 3;
  const ticks = Array.from({ length: count }, (_, index) => start + ((index + 0.5) * (end - start)) / count);
  return (
    <div style={{ position: "relative", width, height, fontSize: 12 }}>
      {all.map(({ name, states: found }, index) => (
        <div key={name}>
          <div style={{ ...hidden, position: "absolute", top: index * row, width: names - 8, lineHeight: `${row}px`, textAlign: "right" }}>{name}</div>
          {found.map(({ from, to, text, color }) => {
            const style = { position: "absolute", left: names + left(from), top: index * row + (row - bar) / 2, width: left(to) - left(from), height: bar } as const;
            const words = { lineHeight: `${bar}px`, paddingLeft: 4, color: theme.colors.getContrastText(color) };
            const shown = inside && style.width > 8 + 7 * text.length;
            return (
              <div key={from} style={{ ...hidden, ...style, ...words, background: color }}>
                {shown && text}
              </div>
            );
          })}
        </div>
      ))}
      {ticks.map((at) => (
        <div key={at} style={{ position: "absolute", bottom: foot, left: names + left(at), transform: "translateX(-50%)" }}>
          {dateTimeFormat(at, { format: end - start > 2 * 86_400_000 ? "MM/DD" : "HH:mm", timeZone })}
        </div>
      ))}
      <div style={{ position: "absolute", bottom: 0, left: 0, maxWidth: width }}>
        {items.length > 0 && <VizLegend items={items} displayMode={LegendDisplayMode.List} placement="bottom" />}
      </div>
    </div>
  );
}
