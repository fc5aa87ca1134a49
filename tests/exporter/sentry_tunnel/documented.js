// The page that docs/sentry.md describes: its instrumentation-client.ts is cut out of there and put beside this file.
import * as Sentry from "@sentry/nextjs"; // an alias of @sentry/browser, which it re-exports to browsers
import "./instrumentation-client.ts";

window.Sentry = Sentry;
window.ready = true;
