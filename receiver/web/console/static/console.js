// Keeps a page of the console true between its updates, and takes keys. Everything works without it.
"use strict";
(() => {
  const root = document.documentElement, body = document.body, kept = window.localStorage;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector, within = document) => within.querySelector(selector);
  root.classList.add("scripted");

  // Ages and countdowns, in the reader's words for a unit.
  const units = (body.dataset.units || "{n}d|{n}h|{n}m|{n}s").split("|");
  const sizes = [86400, 3600, 60, 1];
  const age = (seconds) => {
    const first = sizes.findIndex((size) => seconds >= size), at = first < 0 ? 3 : first;
    const parts = [[at, Math.floor(seconds / sizes[at])]];
    if (at < 2) parts.push([at + 1, Math.floor((seconds % sizes[at]) / sizes[at + 1])]);
    return parts.filter(([, n], i) => n || !i).map(([unit, n]) => units[unit].replace("{n}", n)).join(" ");
  };
  const two = (n) => String(n).padStart(2, "0");
  const countdown = (seconds) => {
    const left = Math.max(0, seconds), h = Math.floor(left / 3600), m = Math.floor((left % 3600) / 60), s = left % 60;
    return (body.dataset.in || "{time}").replace("{time}", h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`);
  };
  const ahead = body.dataset.now ? Date.parse(body.dataset.now) - Date.now() : 0;  // of the server's clock
  const tick = () => {
    const now = Date.now() + ahead;
    for (const time of all("time[data-age], time[data-due]")) {
      const seconds = Math.round((Date.parse(time.dateTime) - now) / 1000);
      const text = "due" in time.dataset ? (seconds > 86400 ? null : countdown(seconds)) : age(Math.max(0, -seconds));
      if (seconds < 0 && time.closest("form.undo")) time.closest("form.undo").remove();
      if (text !== null && time.textContent !== text) time.textContent = text;
    }
    if (Date.now() - heard > 40000 && one("#stream") && !document.hidden) stale(true);
  };

  // Of a reader whose time zone nobody has configured, the browser knows it.
  const localise = () => {
    if (!("local" in body.dataset)) return;
    const today = new Date().toDateString();
    for (const time of all("time:not([data-age], [data-local])")) {
      const at = new Date(time.dateTime), how = { hour: "2-digit", minute: "2-digit", hour12: false };
      if (at.toDateString() !== today) Object.assign(how, { weekday: "short", day: "numeric", month: "short" });
      if (time.closest(".timeline")) how.second = "2-digit";
      time.dataset.local = "";
      if (!("due" in time.dataset)) time.textContent = at.toLocaleString(root.lang, how);
    }
    const zone = one("[data-zone]");
    if (zone) zone.textContent = zone.dataset.zone.replace("{zone}", Intl.DateTimeFormat().resolvedOptions().timeZone);
  };

  // Is this page live? The server says something at least every 15 seconds.
  let heard = Date.now();
  const stale = (is) => {
    const note = one("#stale");
    if (!note || note.hidden === !is) return;
    note.hidden = !is;
    if (is) one("time", note).textContent = new Date(heard).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  };
  const live = () => { heard = Date.now(); stale(false); root.dataset.live = ""; };
  document.addEventListener("htmx:sse:after:connection", live);
  document.addEventListener("htmx:sse:before:message", live);
  document.addEventListener("htmx:sse:error", () => stale(true));
  document.addEventListener("htmx:sse:close", (event) => { if (event.detail.reason === "ended") stale(true); });

  // The server has more to say than fits into a frame, or this page has missed something.
  let fetching = 0;
  const refresh = (within) => {
    clearTimeout(fetching);
    fetching = setTimeout(() => htmx.ajax("GET", location.href, {
      source: one("#main"), target: "#fresh", select: "#fresh", swap: "outerMorph" }), Math.random() * within);
  };
  document.addEventListener("refresh", (event) => {
    if (settled()) refresh(Number(event.detail.data) || 0); else show(null);
  });

  // Status and On call change with time, and have no stream: they fetch themselves again, but under nobody's hands.
  const timed = one("#fresh[data-every]");
  const filledIn = () => one("#fresh details[open] form, #fresh :is(input, select, textarea):focus");
  const again = () => { if (!document.hidden && !filledIn()) refresh(0); };
  if (timed) {
    setInterval(again, 1000 * timed.dataset.every);
    document.addEventListener("visibilitychange", again);
    document.addEventListener("htmx:error", () => stale(true));
    document.addEventListener("htmx:before:response", (event) => {
      if (event.detail.ctx.response.status < 400) live(); else stale(true);
    });
  }

  // The session has ended: the page leads to the sign-in.
  document.addEventListener("signed-out", () => location.reload());

  // New rows do not move what a thumb is about to press.
  let touched = 0, waiting = 0;
  for (const kind of ["pointerdown", "touchstart", "keydown"]) {
    document.addEventListener(kind, () => { touched = Date.now(); }, { passive: true });
  }
  const settled = () => scrollY < 40 && Date.now() - touched > 5000 && !one("#rows input:checked");
  const arrived = one("#arrived");
  const show = (count) => {
    if (!arrived) return;
    waiting = count === null ? waiting || 1 : count;
    arrived.hidden = !waiting;
    arrived.textContent = arrived.dataset.text.replace("{count}", waiting);
  };
  arrived?.addEventListener("click", () => { show(0); scrollTo(0, 0); touched = 0; refresh(0); });
  document.addEventListener("htmx:before:swap", (event) => {
    const tasks = event.detail.tasks;
    for (const task of [...tasks]) {
      if (task.swapSpec?.style !== "beforeend") continue;
      const row = one("li[id]", task.fragment), there = row && document.getElementById(row.id);
      if (there && !there.closest("#quiet")) {
        task.target = there;
        task.swapSpec = { style: "outerMorph" };
      } else if (!settled()) {
        tasks.splice(tasks.indexOf(task), 1);
        show(waiting + 1);
      } else {
        there?.remove();
        one(".empty")?.remove();
      }
    }
  });
  document.addEventListener("htmx:after:swap", () => { localise(); tick(); count(); ring(); sweep(); });
  const sweep = () => setTimeout(() => { if (settled()) all("#rows .row.resolved").forEach((row) => row.remove()); }, 30000);

  // How many are selected.
  const count = () => {
    const shown = one(".bulk .count");
    if (shown) shown.textContent = shown.dataset.text.replace("{count}", all("#rows input:checked").length);
  };
  document.addEventListener("change", count);

  // Sound and badge for a new P1, if the reader has asked for it in this browser.
  const sound = one("[data-sound]"), title = document.title;
  let context, rung = "";
  const armed = () => sound?.getAttribute("aria-pressed") === "true";
  const arm = (on) => {
    sound.setAttribute("aria-pressed", on);
    sound.textContent = on ? sound.dataset.on : sound.dataset.off;
    kept.setItem("sound", on ? "1" : "");
    if (on) context ??= new AudioContext();
    listen(on);
  };
  // hx-sse lets go of the stream while a tab is hidden; the one tab that is to ring keeps it.
  let rings = false, letGo;
  const listen = (on) => {
    letGo?.();
    letGo = undefined;
    rings = on && !navigator.locks;
    if (on) navigator.locks?.request("sound", { ifAvailable: true }, (lock) => {
      rings = Boolean(lock);
      return lock && new Promise((resolve) => { letGo = () => { rings = false; resolve(); }; });
    });
  };
  document.addEventListener("visibilitychange", (event) => { if (rings) event.stopImmediatePropagation(); }, true);
  sound?.addEventListener("click", () => { arm(!armed()); if (armed()) beep(); });
  if (sound) { arm(kept.getItem("sound") === "1"); }
  const beep = () => {
    if (!context) return;
    context.resume?.();
    for (const [at, pitch] of [[0, 880], [0.25, 660], [0.5, 880]]) {
      const tone = context.createOscillator(), loud = context.createGain();
      tone.frequency.value = pitch;
      loud.gain.setValueAtTime(0.2, context.currentTime + at);
      loud.gain.exponentialRampToValueAtTime(0.001, context.currentTime + at + 0.2);
      tone.connect(loud).connect(context.destination);
      tone.start(context.currentTime + at);
      tone.stop(context.currentTime + at + 0.2);
    }
  };
  const ring = () => {
    const number = one("#ring")?.textContent || "";
    if (!number || number === rung) return;
    rung = number;
    document.title = `(!) ${title}`;
    navigator.setAppBadge?.(1).catch(() => {});
    if (armed()) beep();
  };
  addEventListener("focus", () => { document.title = title; navigator.clearAppBadge?.().catch(() => {}); });

  // Menus close when something else is pressed.
  document.addEventListener("click", (event) => {
    for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });

  document.addEventListener("submit", (event) => {
    const menu = event.target.closest("details.menu");
    if (menu) menu.open = false;
  });

  // Keys.
  const help = one("#keys"), off = one("[data-keys-off]");
  if (off) {
    off.checked = kept.getItem("keys") === "off";
    off.addEventListener("change", () => kept.setItem("keys", off.checked ? "off" : ""));
  }
  one("[data-keys]")?.addEventListener("click", () => help?.showModal());
  const rows = () => all("#rows .row").filter((row) => row.offsetParent);
  const move = (by) => {
    const there = rows(), at = there.findIndex((row) => row.classList.contains("at"));
    const next = there[Math.min(there.length - 1, Math.max(0, at + by))];
    if (!next) return;
    there.forEach((row) => row.classList.toggle("at", row === next));
    one(".title", next).focus();
    next.scrollIntoView({ block: "nearest" });
  };
  const press = (key) => {
    const row = one("#rows .row.at");
    if (row) return key === "a" ? one("button.first", row)?.click() : one(".title", row).click();
    const wanted = one(`[data-key="${key}"]`);
    const menu = wanted?.closest("details");
    if (menu && !menu.open) { menu.open = true; wanted.focus(); return undefined; }
    return wanted?.matches("button") ? wanted.click() : wanted?.focus();
  };
  const keys = {
    j: () => move(1), k: () => move(-1), a: () => press("a"), r: () => press("r"), s: () => press("s"), e: () => press("e"),
    x: () => one("#rows .row.at input")?.click(), "/": () => one(".chip, input[type=search]")?.focus(), "?": () => help?.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") all("details.menu[open]").forEach((menu) => { menu.open = false; one("summary", menu).focus(); });
    if (event.ctrlKey || event.metaKey || event.altKey || kept.getItem("keys") === "off" || help?.open) return;
    if (event.target.closest("textarea, select, input:not([type=checkbox], [type=radio])")) return;
    const act = keys[event.key];
    if (act) { event.preventDefault(); act(); }
  });

  localise();
  tick();
  count();
  setInterval(tick, 1000);
})();
