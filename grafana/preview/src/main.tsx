// The entry: draws the dashboard that the address names, and says in window.preview when the picture is complete.
import "@fontsource-variable/inter/index.css";
import "./page.css";
import { createTheme, type DataFrame, rangeUtil, ThemeContext } from "@grafana/data";
import { initPluginTranslations } from "@grafana/i18n";
import { GlobalStyles, PortalContainer } from "@grafana/ui";
import { createRoot } from "react-dom/client";
import { ask } from "./annotations.ts";
import type { Dashboard } from "./dashboard.ts";
import { type Box, PHONE, place, unfold } from "./layout.ts";
import { Page } from "./page.tsx";
import { load, type World } from "./panels.tsx";
import { Prometheus } from "./prometheus.ts";
import { resolve } from "./variables.ts";

declare global {
  interface Window {
    preview: { ready: boolean; errors: string[]; empty: string[] };
  }
}

window.preview = { ready: false, errors: [], empty: [] };
const report = (error: string): void => void window.preview.errors.push(error);
const nothing = (query: string): void => void window.preview.empty.push(query);
const FONT = "'Inter Variable'"; // the sans of Grafana, as the package of its files calls it
const words = new URLSearchParams(location.search);

async function world(dashboard: Dashboard): Promise<World> {
  const prometheus = new Prometheus("/prometheus", rangeUtil.intervalToSeconds(words.get("scrape") ?? "15s"));
  const mode = words.get("theme") === "dark" ? "dark" : "light";
  const theme = createTheme({ colors: { mode }, typography: { fontFamily: FONT } });
  const range = rangeUtil.convertRawToRange(dashboard.time ?? { from: "now-6h", to: "now" });
  const timeZone = dashboard.timezone || "browser";
  const values = await resolve(dashboard.templating?.list ?? [], prometheus);
  const events = await ask(dashboard.annotations?.list ?? [], prometheus, range, values);
  return { prometheus, values, theme, range, timeZone, events, report, nothing };
}

async function draw(): Promise<void> {
  await initPluginTranslations("preview");
  const dashboard: Dashboard = await (await fetch(`/dashboards/${words.get("dashboard")}.json`)).json();
  const here = await world(dashboard);
  const panels = words.get("rows") === "open" ? unfold(dashboard.panels) : dashboard.panels;
  const boxes = place(panels, innerWidth - 32, innerWidth < PHONE);
  const data = new Map<Box, DataFrame[]>();
  for (const box of boxes.filter(({ panel }) => panel.type !== "row")) {
    data.set(box, await load(box, here).catch((error: Error) => (report(`${box.panel.title}: ${error.message}`), [])));
  }
  await document.fonts.load(`14px ${FONT}`); // before the first measure of a word
  const when = rangeUtil.describeTimeRange(here.range.raw);
  createRoot(document.getElementById("root")!).render(
    <ThemeContext.Provider value={here.theme}>
      <GlobalStyles />
      <Page {...{ dashboard, boxes, data, when }} world={here} />
      <PortalContainer />
    </ThemeContext.Provider>,
  );
}

draw()
  .catch((error: Error) => report(error.message))
  .then(() => requestAnimationFrame(() => requestAnimationFrame(() => (window.preview.ready = true))));
