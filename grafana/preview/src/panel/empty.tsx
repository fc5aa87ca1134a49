// What a panel says when its queries gave nothing: its own words, or Grafana's.
import type { Drawing } from "./context.ts";

export function Empty({ panel, theme }: Pick<Drawing, "panel" | "theme">) {
  const style = { height: "100%", display: "flex", alignItems: "center", justifyContent: "center", color: theme.colors.text.secondary };
  return (
    <div className="preview-empty" style={{ ...style, textAlign: "center" }}>
      {panel.fieldConfig?.defaults.noValue || "No data"}
    </div>
  );
}
