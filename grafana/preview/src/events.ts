// When a dashboard's annotations were.
import { legend, type Series } from "./answer.ts";
import type { AnnotationQuery } from "./dashboard.ts";

export interface Event {
  from: number;
  to: number;
  title: string;
  color: string;
}

/** Points that follow each other at the query's step are one event, from its first to its last; milliseconds. */
export function events(found: Series[], query: AnnotationQuery, step: number): Event[] {
  const all: Event[] = [];
  for (const { metric, points } of found) {
    let last: Event | undefined;
    for (const [at] of points.filter(([, value]) => value > 0)) {
      if (last && at * 1000 - last.to <= step * 1000) last.to = at * 1000;
      else {
        const title = query.titleFormat ? legend(query.titleFormat, metric) : query.name;
        last = { from: at * 1000, to: at * 1000, title, color: query.iconColor ?? "red" };
        all.push(last);
      }
    }
  }
  return all;
}
