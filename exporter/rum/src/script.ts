// What <script src="/rum.js" data-…> runs: options from its attributes, window.HeyPeter, and the calls that came before.
import type { Options, Rum } from "../rum";
import { start } from "./start";
import { safely } from "./transport";

type Call = [keyof Rum, ...unknown[]];

safely(() => {
  const given = (document.currentScript as HTMLScriptElement | null)?.dataset ?? {};
  const page = window as unknown as { HeyPeter?: { q?: Call[] } & Options };
  const options: Record<string, unknown> = { ...page.HeyPeter };
  // data-time-requests is true, data-sample="10" a number, data-honour-gpc="false" false, all else a text.
  for (const name in given) options[name] = safely(() => JSON.parse(given[name] || "true")) ?? given[name];
  const rum = start(options as Options);
  (window as unknown as { HeyPeter: Rum }).HeyPeter = rum;
  for (const [name, ...values] of (options.q as Call[] | undefined) ?? []) safely(() => (rum[name] as (...values: unknown[]) => unknown)(...values));
});
