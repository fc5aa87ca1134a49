// Shows what is pushed to this browser, also when no page is open, and posts what is pressed on it.
"use strict";
const home = self.registration.scope;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

const post = (path, content) => fetch(new URL(path, home), {
  method: "POST",
  credentials: "same-origin",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(content),
  signal: AbortSignal.timeout(15000),
});

const show = (title, options) => self.registration.showNotification(title, {
  icon: new URL("static/__ICON__", home).href, ...options,
}).then(() => true, () => false);

// A browser takes the subscription away when a push shows nothing: something is shown whatever has arrived.
const arrived = async (data) => {
  let it = {};
  try { it = data.json(); } catch { /* it is not ours */ }
  const words = it.words || {};
  const shown = await show(words.title || "…", {
    body: words.body || "",
    tag: it.tag || "other",
    renotify: Boolean(it.urgent),
    requireInteraction: Boolean(it.urgent),
    silent: !it.urgent,
    timestamp: (it.sent || 0) * 1000 || Date.now(),
    data: { url: it.url || home, failed: words.failed || "" },
    actions: words.acknowledge ? [{ action: "acknowledge", title: words.acknowledge }] : [],
  });
  await post("push/receipt", { device: it.device || "", shown }).catch(() => {});
  for (const page of await self.clients.matchAll()) page.postMessage("arrived");
};
self.addEventListener("push", (event) => event.waitUntil(arrived(event.data)));

const acknowledge = async ({ title, tag, data }) => {
  let text = data.failed;
  try {
    const answer = await post("push/acknowledge", { token: new URL(data.url, home).pathname.split("/").pop() });
    text = (await answer.json()).text || text;
  } catch { /* what was shown says it */ }
  await show(title, { body: text, tag, silent: true, data });
};

const open = async (url) => {
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const there = pages.find((page) => page.url === url);
  await (there ? there.focus() : self.clients.openWindow(url));
};

self.addEventListener("notificationclick", (event) => {
  const pressed = event.notification;
  pressed.close();
  event.waitUntil(event.action === "acknowledge" ? acknowledge(pressed) : open(pressed.data.url));
});

// The browser has changed the subscription by itself.
self.addEventListener("pushsubscriptionchange", (event) => event.waitUntil((async () => {
  const known = event.newSubscription || (event.oldSubscription
    && await self.registration.pushManager.subscribe(event.oldSubscription.options));
  const replaces = event.oldSubscription?.endpoint || "";
  if (known) await post("me/devices", { ...known.toJSON(), replaces });
})()));
