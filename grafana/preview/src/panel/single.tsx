// Single values with Grafana's own drawing: stat and bar gauge.
import {
  type DisplayValueAlignmentFactors,
  type FieldDisplay,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  VizOrientation,
} from "@grafana/data";
import { BarGauge as Bar, BigValue, VizRepeater, type VizRepeaterRenderValueProps } from "@grafana/ui";
import type { Options } from "../dashboard.ts";
import type { Drawing } from "./context.ts";

type One = VizRepeaterRenderValueProps<FieldDisplay, DisplayValueAlignmentFactors>;

/** The values of a panel, each reduced as its options say. */
export function values({ panel, data, theme, timeZone, replace }: Drawing, sparkline = false): FieldDisplay[] {
  const reduceOptions = { calcs: ["lastNotNull"], values: false, fields: "", ...panel.options?.reduceOptions };
  const fieldConfig = panel.fieldConfig ?? { defaults: {}, overrides: [] };
  const percentChange = panel.options?.showPercentChange;
  return getFieldDisplayValues({ data, reduceOptions, fieldConfig, theme, timeZone, replaceVariables: replace, sparkline, percentChange });
}

/** The thickness of bars: Grafana's own, or the panel's when it says so. */
function sizes({ sizing, ...options }: Options, orientation: VizOrientation) {
  const automatic = { minVizWidth: 8, minVizHeight: 16, maxVizHeight: 300 };
  if (sizing !== "manual") return automatic;
  const { minVizWidth, minVizHeight, maxVizHeight } = { ...automatic, ...options };
  return orientation === VizOrientation.Vertical ? { ...automatic, minVizWidth } : { ...automatic, minVizHeight, maxVizHeight };
}

function Values(drawing: Drawing & { sparkline?: boolean; autoGrid?: boolean; draw: (one: One) => React.JSX.Element }) {
  const { panel, data, width, height, sparkline, autoGrid, draw } = drawing;
  const orientation = (panel.options?.orientation ?? VizOrientation.Auto) as VizOrientation;
  return (
    <VizRepeater
      getValues={() => values(drawing, sparkline)}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={draw}
      renderCounter={0}
      source={data}
      autoGrid={autoGrid}
      {...{ width, height, orientation }}
      {...(autoGrid ? {} : { itemSpacing: 8, ...sizes(panel.options ?? {}, orientation) })}
    />
  );
}

export function Stat(drawing: Drawing) {
  const { panel, theme, range } = drawing;
  const options: Options = { graphMode: "area", colorMode: "value", justifyMode: "auto", textMode: "auto", wideLayout: true, ...panel.options };
  const named = options.textMode === "auto" && Boolean(panel.fieldConfig?.defaults.displayName);
  const draw = ({ value, width, height, count, alignmentFactors }: One) => (
    <BigValue
      value={value.display}
      sparkline={value.sparkline && { ...value.sparkline, timeRange: range }}
      text={options.text}
      textMode={named ? "value_and_name" : options.textMode}
      graphMode={options.graphMode}
      colorMode={options.colorMode}
      justifyMode={options.justifyMode}
      percentChangeColorMode={options.percentChangeColorMode}
      disableWideLayout={!options.wideLayout}
      {...{ width, height, count, alignmentFactors, theme }}
    />
  );
  return <Values {...drawing} sparkline={options.graphMode !== "none"} autoGrid draw={draw} />;
}

export function BarGauge(drawing: Drawing) {
  const { panel, theme } = drawing;
  const options: Options = { displayMode: "gradient", showUnfilled: true, valueMode: "color", namePlacement: "auto", ...panel.options };
  const draw = ({ value, width, height, count, alignmentFactors, orientation }: One) => (
    <Bar
      value={count === 1 && !panel.fieldConfig?.defaults.displayName ? { ...value.display, title: undefined } : value.display}
      field={value.field}
      display={value.view?.getFieldDisplayProcessor(value.colIndex ?? 0)}
      text={options.text}
      displayMode={options.displayMode}
      showUnfilled={options.showUnfilled}
      valueDisplayMode={options.valueMode}
      namePlacement={options.namePlacement}
      itemSpacing={options.displayMode === "lcd" ? 2 : 10}
      {...{ width, height, alignmentFactors, orientation, theme }}
    />
  );
  return <Values {...drawing} draw={draw} />;
}
