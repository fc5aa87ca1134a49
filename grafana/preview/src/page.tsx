// The page around the panels: title, time, variables and links above, then the grid.
import type { DataFrame } from "@grafana/data";
import { Icon, type IconName, useTheme2 } from "@grafana/ui";
import type { CSSProperties } from "react";
import type { Dashboard, Link } from "./dashboard.ts";
import { type Box, height } from "./layout.ts";
import { PanelView, type World } from "./panels.tsx";
import { spoken, type Values } from "./variables.ts";

function useBox(): CSSProperties {
  const { colors, shape } = useTheme2();
  const border = `1px solid ${colors.border.medium}`;
  return { border, borderRadius: shape.radius.default, padding: "0 8px", height: 32, display: "inline-flex", alignItems: "center", gap: 6 };
}

function Variables({ values }: { values: Values }) {
  const { colors } = useTheme2();
  const box = useBox();
  return [...values].filter(([, { hidden }]) => !hidden).map(([name, { label, text }]) => (
    <span key={name} style={{ display: "inline-flex" }}>
      <span style={{ ...box, borderRight: 0, background: colors.background.secondary, fontWeight: 500, fontSize: 12 }}>{label}</span>
      <span style={{ ...box, background: colors.background.primary }}>
        {text} <Icon name="angle-down" />
      </span>
    </span>
  ));
}

function Links({ links, values }: { links: Link[]; values: Values }) {
  const box = useBox();
  const { colors } = useTheme2();
  return links.map(({ title, type, icon }) => (
    <span key={title} style={{ ...box, background: colors.background.secondary }}>
      <Icon name={(type === "dashboards" ? "apps" : ICONS[icon ?? ""]) ?? "link"} /> {spoken(title, values)}
    </span>
  ));
}

// The names in the JSON are of the icon font of old; Grafana translates them in the same way.
const ICONS: Record<string, IconName> = { "external link": "external-link-alt", dashboard: "apps", question: "question-circle", doc: "file-alt", info: "info-circle", bolt: "bolt", cloud: "cloud" };

function Row({ box, world }: { box: Box; world: World }) {
  const folded = box.panel.collapsed;
  const count = box.panel.panels?.length;
  return (
    <div style={{ display: "flex", alignItems: "center", gap: 8, height: box.height, fontSize: 18, fontWeight: 500, whiteSpace: "nowrap", overflow: "hidden" }}>
      <Icon name={folded ? "angle-right" : "angle-down"} /> {spoken(box.panel.title ?? "", world.values)}
      {folded && <small>({count === 1 ? "1 panel" : `${count} panels`})</small>}
    </div>
  );
}

interface Props {
  dashboard: Dashboard;
  boxes: Box[];
  data: Map<Box, DataFrame[]>;
  world: World;
  when: string;
}

export function Page({ dashboard, boxes, data, world, when }: Props) {
  const { colors, typography } = useTheme2();
  const box = useBox();
  const line = { display: "flex", flexWrap: "wrap", alignItems: "center", gap: 8 } as const;
  return (
    <div style={{ padding: 16, background: colors.background.canvas, color: colors.text.primary, fontFamily: typography.fontFamily, fontSize: 14 }}>
      <div style={{ ...line, marginBottom: 16 }}>
        <span style={{ fontSize: 20, fontWeight: 500, marginRight: "auto" }}>{dashboard.title}</span>
        <span style={{ ...box, background: colors.background.primary }}>
          <Icon name="clock-nine" /> {when}
        </span>
      </div>
      <div style={{ ...line, marginBottom: 16 }}>
        <Variables values={world.values} />
        <span style={{ marginRight: "auto" }} />
        <Links links={dashboard.links ?? []} values={world.values} />
      </div>
      <div style={{ position: "relative", height: height(boxes) }}>
        {boxes.map((one) => (
          <div key={one.panel.id} style={{ position: "absolute", left: one.left, top: one.top, width: one.width, height: one.height }}>
            {one.panel.type === "row" ? <Row box={one} world={world} /> : <PanelView box={one} data={data.get(one) ?? []} world={world} />}
          </div>
        ))}
      </div>
    </div>
  );
}
