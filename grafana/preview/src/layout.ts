// Where Grafana puts each panel: a grid of 24 columns on a desktop, one column on a phone.
import type { Panel } from "./dashboard.ts";

// Grafana's own sizes: public/app/core/constants.ts, GRID_CELL_HEIGHT, GRID_CELL_VMARGIN, GRID_COLUMN_COUNT.
const CELL = 30;
const GAP = 8;
const COLUMNS = 24;
/** Below this width of the window Grafana stacks the panels (the theme's breakpoint "md"). */
export const PHONE = 769;

export interface Box {
  panel: Panel;
  left: number;
  top: number;
  width: number;
  height: number;
}

const tall = (cells: number): number => cells * CELL + (cells - 1) * GAP;

/** Open what is folded: the panels of a folded row follow it, and what is below moves down. */
export function unfold(panels: Panel[]): Panel[] {
  const opened: Panel[] = [];
  let moved = 0;
  for (const panel of [...panels].sort((a, b) => a.gridPos.y - b.gridPos.y || a.gridPos.x - b.gridPos.x)) {
    const top = panel.gridPos.y + moved;
    opened.push({ ...panel, gridPos: { ...panel.gridPos, y: top }, panels: [], collapsed: false });
    const inner = panel.panels ?? [];
    if (inner.length === 0) continue;
    const first = Math.min(...inner.map((child) => child.gridPos.y));
    const last = Math.max(...inner.map((child) => child.gridPos.y + child.gridPos.h));
    for (const child of inner) {
      opened.push({ ...child, gridPos: { ...child.gridPos, y: child.gridPos.y - first + top + 1 } });
    }
    moved += last - first;
  }
  return opened;
}

/** Place the panels in a width in pixels, in reading order. */
export function place(panels: Panel[], width: number, phone: boolean): Box[] {
  const sorted = [...panels].sort((a, b) => a.gridPos.y - b.gridPos.y || a.gridPos.x - b.gridPos.x);
  if (phone) {
    let top = 0;
    return sorted.map((panel) => {
      const height = tall(panel.gridPos.h);
      const box = { panel, left: 0, top, width, height };
      top += height + GAP;
      return box;
    });
  }
  const column = (width - GAP * (COLUMNS - 1)) / COLUMNS;
  return sorted.map((panel) => ({
    panel,
    left: Math.round(panel.gridPos.x * (column + GAP)),
    top: panel.gridPos.y * (CELL + GAP),
    width: Math.round(panel.gridPos.w * column + (panel.gridPos.w - 1) * GAP),
    height: tall(panel.gridPos.h),
  }));
}

/** The height of all together, in pixels. */
export const height = (boxes: Box[]): number => Math.max(0, ...boxes.map((box) => box.top + box.height));
