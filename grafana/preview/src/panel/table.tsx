// A table, with Grafana's own.
import { TableNG } from "@grafana/ui/unstable";
import type { Options } from "../dashboard.ts";
import type { Drawing } from "./context.ts";
import { Empty } from "./empty.tsx";

export function Table(drawing: Drawing) {
  const { panel, data, range, width, height } = drawing;
  const [frame, ...others] = data.filter(({ fields }) => fields.length > 0);
  if (!frame || frame.length === 0) return <Empty {...drawing} />;
  if (others.length > 0) throw new Error(`${others.length + 1} tables in one panel: add the transformation "merge" or "joinByField"`);
  const options: Options = { showHeader: true, sortBy: [], ...panel.options };
  return (
    <TableNG
      data={frame}
      noHeader={!options.showHeader}
      sortBy={options.sortBy}
      cellHeight={options.cellHeight}
      fieldConfig={panel.fieldConfig}
      noValue={panel.fieldConfig?.defaults.noValue}
      enableVirtualization={false}
      timeRange={range}
      {...{ width, height }}
    />
  );
}
