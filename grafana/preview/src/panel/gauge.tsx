// Gauges as arcs: Grafana's own is part of a plugin that is not on npm.
import { type FieldDisplay, formattedValueToString, getActiveThreshold, type GrafanaTheme2, ThresholdsMode } from "@grafana/data";
import type { Drawing } from "./context.ts";
import { values } from "./single.tsx";

const FROM = -210;
const SWEEP = 240;

function arc(radius: number, from: number, to: number): string {
  const point = (share: number): string => {
    const angle = ((FROM + share * SWEEP) * Math.PI) / 180;
    return `${(radius * Math.cos(angle)).toFixed(2)} ${(radius * Math.sin(angle)).toFixed(2)}`;
  };
  return `M ${point(from)} A ${radius} ${radius} 0 ${(to - from) * SWEEP > 180 ? 1 : 0} 1 ${point(to)}`;
}

/** The bands of the thresholds as shares of the scale, each with its colour. */
export function bands({ field }: FieldDisplay, low: number, high: number): { from: number; to: number; color: string }[] {
  const share = (value: number): number => Math.min(1, Math.max(0, (value - low) / (high - low)));
  const steps = field.thresholds?.steps ?? [];
  const percent = field.thresholds?.mode === ThresholdsMode.Percentage;
  const at = steps.map(({ value }) => (value === null || value === -Infinity ? 0 : percent ? value / 100 : share(value)));
  return steps.map(({ color }, index) => ({ from: at[index] ?? 0, to: at[index + 1] ?? 1, color }));
}

function Arc({ value, theme, size }: { value: FieldDisplay; theme: GrafanaTheme2; size: number }) {
  const low = value.field.min ?? 0;
  const high = value.field.max ?? 100;
  const share = Math.min(1, Math.max(0, (value.display.numeric - low) / (high - low || 1)));
  const color = value.display.color ?? getActiveThreshold(value.display.numeric, value.field.thresholds?.steps).color;
  const line = { fill: "none" };
  return (
    <svg width={size} height={size * 0.86} viewBox="-100 -100 200 172" style={{ flexShrink: 0 }}>
      <path d={arc(80, 0, 1)} {...line} stroke={theme.colors.background.secondary} strokeWidth={24} />
      {Number.isFinite(share) && share > 0 && <path d={arc(80, 0, share)} {...line} stroke={color} strokeWidth={24} />}
      {bands(value, low, high).map((band) => (
        <path key={band.from} d={arc(97, band.from, band.to)} {...line} stroke={theme.visualization.getColorByName(band.color)} strokeWidth={5} />
      ))}
      <text textAnchor="middle" y={10} fontSize={36} fontWeight={500} fill={color}>
        {formattedValueToString(value.display)}
      </text>
    </svg>
  );
}

export function Gauge(drawing: Drawing) {
  const { theme, width, height } = drawing;
  const all = values(drawing);
  const title = all.length > 1 ? 24 : 0;
  const size = Math.min(width / all.length, (height - title) / 0.86);
  return (
    <div style={{ display: "flex", justifyContent: "space-evenly", alignItems: "center", height, fontFamily: theme.typography.fontFamily }}>
      {all.map((value) => (
        <div key={value.display.title} style={{ textAlign: "center" }}>
          <Arc {...{ value, theme, size }} />
          {title > 0 && <div>{value.display.title}</div>}
        </div>
      ))}
    </div>
  );
}
