// A page that reports as docs/sentry.md has it; what a test wants otherwise stands in `window.options`.
import * as Sentry from "@sentry/browser";

const { replay, ...options } = window.options;

Sentry.init({
  integrations: [
    Sentry.browserTracingIntegration(),
    ...(replay ? [Sentry.replayIntegration({ useCompression: false, ...replay })] : []),
  ],
  ...options,
});

window.Sentry = Sentry;
window.ready = true;
