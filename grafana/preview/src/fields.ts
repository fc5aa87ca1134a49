// From the raw frames of a panel's queries to frames that know their unit, colour, name and text: Grafana's own code.
import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  type DataFrame,
  type FieldConfigPropertyItem,
  FieldConfigOptionsRegistry,
  type GrafanaTheme2,
  type InterpolateFunction,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from "@grafana/data";
import { firstValueFrom } from "rxjs";
import type { Panel } from "./dashboard.ts";

const STANDARD = ["unit", "min", "max", "fieldMinMax", "decimals", "displayName", "noValue", "thresholds", "mappings", "links", "color", "filterable"];
// What the plugin of the panel's kind sets when the JSON is silent.
const CUSTOM: Record<string, object> = {
  timeseries: { drawStyle: "line", lineWidth: 1, fillOpacity: 0, showPoints: "auto", lineInterpolation: "linear", axisGridShow: true, pointSize: 5 },
  table: { align: "auto", cellOptions: { type: "auto" } },
  "state-timeline": { lineWidth: 0, fillOpacity: 70 },
};

standardTransformersRegistry.setInit(() =>
  // One of them stands there twice, under its old name as well.
  [...new Set(Object.values(standardTransformers))].map((transformer) => ({
    id: transformer.id,
    name: transformer.name,
    transformation: async () => transformer,
    editor: () => null,
    imageDark: "",
    imageLight: "",
  })),
);

function property(id: string): FieldConfigPropertyItem {
  const isCustom = id.startsWith("custom.");
  return {
    id,
    path: isCustom ? id.slice("custom.".length) : id,
    isCustom,
    name: id,
    process: (value, context) => (id === "displayName" && typeof value === "string" ? named(value, context.field?.labels) : value),
    shouldApply: () => true,
    override: () => null,
    editor: () => null,
  };
}

/** A display name with the labels of its series, as Grafana's own interpolation fills it in. */
const named = (text: string, labels: Record<string, string> = {}): string =>
  text.replace(/\$\{__field\.labels\.(\w+)\}/g, (_, label: string) => labels[label] ?? "");

/** The properties that this panel sets, for a plugin's own list of them is not on npm. */
function registry(panel: Panel): FieldConfigOptionsRegistry {
  const custom = { ...CUSTOM[panel.type], ...(panel.fieldConfig?.defaults.custom as object | undefined) };
  const overridden = (panel.fieldConfig?.overrides ?? []).flatMap((rule) => rule.properties.map(({ id }) => id));
  const ids = new Set([...STANDARD, ...Object.keys(custom).map((id) => `custom.${id}`), ...overridden]);
  return new FieldConfigOptionsRegistry(() => [...ids].map(property));
}

/** JSON has no -Infinity: the lowest step's value is null there, and Grafana's migration makes it this. */
function lowest(panel: Panel): NonNullable<Panel["fieldConfig"]> {
  const text = JSON.stringify(panel.fieldConfig ?? { defaults: {}, overrides: [] });
  const config = JSON.parse(text, (key, value) => {
    if (key === "steps" && Array.isArray(value)) return value.map((step) => ({ ...step, value: step.value ?? -Infinity }));
    return value;
  });
  return { ...config, defaults: { ...config.defaults, custom: { ...CUSTOM[panel.type], ...config.defaults.custom } } };
}

export async function prepare(panel: Panel, raw: DataFrame[], theme: GrafanaTheme2, replace: InterpolateFunction): Promise<DataFrame[]> {
  const steps = (panel.transformations ?? []).filter((step) => !step.disabled);
  for (const { id } of steps) {
    if (!standardTransformersRegistry.getIfExists(id)) throw new Error(`the preview has no transformation "${id}"`);
  }
  const data = await firstValueFrom(transformDataFrame(steps, raw, { interpolate: replace }));
  const fieldConfigRegistry = registry(panel);
  const frames = applyFieldOverrides({ data, fieldConfig: lowest(panel), fieldConfigRegistry, replaceVariables: replace, theme });
  cacheFieldDisplayNames(frames); // tables and legends read the names from there
  return frames;
}
