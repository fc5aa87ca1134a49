// Lets this browser be pushed to, and says why it cannot be. Without it the page still lists, tests and removes.
"use strict";
(async () => {
  const panel = document.querySelector("#this-device");
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const say = (state) => {
    for (const one of panel.querySelectorAll("[data-state]")) one.hidden = one.dataset.state !== state;
  };
  const hex = async (text) => [...new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)))]
    .map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (!panel) return;
  panel.hidden = false;
  if (!("serviceWorker" in navigator && "PushManager" in window && "Notification" in window)) {
    const touched = /Macintosh/.test(navigator.userAgent) && navigator.maxTouchPoints > 1;  // what an iPad says
    const apple = /iP(hone|ad|od)/.test(navigator.userAgent) || touched;
    say(apple && !navigator.standalone ? "home-screen" : "unsupported");
    return;
  }
  const worker = () => navigator.serviceWorker.register(panel.dataset.worker,
    { scope: panel.dataset.scope, updateViaCache: "none" });
  navigator.serviceWorker.addEventListener("message", () => location.reload());
  const look = async () => {
    const there = await (await worker()).pushManager.getSubscription();
    const row = there && document.getElementById(`device-${await hex(there.endpoint)}`);
    if (row) row.querySelector("[data-this]").hidden = false;
    if (row && !row.dataset.gone && Notification.permission === "granted") return say("on");
    return say(Notification.permission === "denied" ? "denied" : "off");
  };
  const subscribe = async () => {
    if (await Notification.requestPermission() !== "granted") return say("denied");
    const { pushManager } = await worker();
    await navigator.serviceWorker.ready;
    const wish = { userVisibleOnly: true, applicationServerKey: bytes(panel.dataset.key) };
    const old = await pushManager.getSubscription();
    await old?.unsubscribe();  // it may be of another key, or be gone
    const made = { ...(await pushManager.subscribe(wish)).toJSON(), replaces: old?.endpoint || "" };
    const answer = await fetch(location.pathname, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(made),
    });
    if (!answer.ok) throw new Error(`${answer.status}`);
    return location.replace(`${location.pathname}?said=added`);
  };
  panel.querySelector("button").addEventListener("click", () => subscribe().catch(() => say("failed")));
  await look().catch(() => say("unsupported"));
})();
