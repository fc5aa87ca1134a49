// The parts of a dashboard's classic JSON (schemaVersion 42) that the preview reads.
import type { DataTransformerConfig, FieldConfigSource } from "@grafana/data";

export interface Place {
  x: number;
  y: number;
  w: number;
  h: number;
}

export interface Target {
  refId: string;
  expr: string;
  legendFormat?: string;
  format?: string;
  instant?: boolean;
  interval?: string;
  hide?: boolean;
}

export interface Link {
  title: string;
  url?: string;
  type?: string;
  icon?: string;
}

// Each kind of panel has options of its own; the kind's component knows which.
export type Options = Record<string, any>;

export interface Panel {
  id: number;
  type: string;
  title?: string;
  description?: string;
  gridPos: Place;
  targets?: Target[];
  options?: Options;
  fieldConfig?: FieldConfigSource;
  transformations?: DataTransformerConfig[];
  transparent?: boolean;
  interval?: string;
  maxDataPoints?: number;
  timeFrom?: string;
  collapsed?: boolean;
  panels?: Panel[];
}

export interface Variable {
  name: string;
  type: string;
  label?: string;
  query?: string | { query?: string };
  definition?: string;
  hide?: number;
  multi?: boolean;
  includeAll?: boolean;
  allValue?: string;
  current?: { text?: string | string[]; value?: string | string[] };
}

export interface AnnotationQuery {
  name: string;
  enable: boolean;
  hide?: boolean;
  iconColor?: string;
  expr?: string;
  target?: { expr?: string };
  titleFormat?: string;
  step?: string;
}

export interface Dashboard {
  uid: string;
  title: string;
  timezone?: string;
  time?: { from: string; to: string };
  panels: Panel[];
  links?: Link[];
  templating?: { list?: Variable[] };
  annotations?: { list?: AnnotationQuery[] };
}
