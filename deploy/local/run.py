"""The launcher behind `make run` and `make demo`: starts everything, shows what happens, stops everything."""

import argparse
import asyncio
import contextlib
import shutil
import signal
import subprocess
import sys
import time

from demo import Demo
from installation import ROOT, Site, SiteError, ports, prepare
from programs import Programs
from terminal import Terminal

NEXT = """
 What to try next, in another terminal:

 Register a user, and see it counted
   curl -sS {exporter}/api/events -H "Authorization: Bearer $(cat {secrets}/exporter-token)" \\
     -d '{{"type": "user_registered", "data": {{"channel": "web", "plan": "trial"}}}}'
   curl -sS {exporter}/metrics | grep ^user_registrations_total

 List the incidents, acknowledge one
   curl -sS {receiver}/api/v1/incidents -H "Authorization: Bearer $(cat {secrets}/api-token)"
   curl -sS {receiver}/api/v1/incidents/1/acknowledge -d '{{"actor": "me"}}' \\
     -H "Authorization: Bearer $(cat {secrets}/api-token)"

 See an outage, a page, an escalation and a resolve, in two minutes
   make demo      (stop this first: they use the same ports)

 Notifications appear below. Ctrl-C stops everything; logs are in {logs}.
"""


async def run(terminal: Terminal, *, demo: bool, keep: bool) -> None:
    """Run until Ctrl-C, or until the demo's story is told; SiteError when something fails."""
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    site = Site(ROOT / "data" / ("demo" if demo else "run"), ports(), demo=demo)
    story = Demo(site, terminal) if demo else None
    if demo:
        shutil.rmtree(site.data, ignore_errors=True)  # each telling starts with incident #1
    prepare(site)
    if story:
        story.prepare()
    programs = Programs(site)
    terminal.title("HeyPeter Monitoring" + (" — demo" if demo else ""))
    try:
        starting = asyncio.ensure_future(programs.start(lambda name, took: terminal.ready(name, site.url(name), took)))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            return
        await starting
        if story is None:
            _table(terminal, site)
            await programs.until(stopped)
        else:
            told = asyncio.ensure_future(story.tell())
            await programs.until(asyncio.wait([told, stopped], return_when=asyncio.FIRST_COMPLETED))
            if told.done():
                await told
                if keep:
                    terminal.say("The demo goes on with calm traffic; Ctrl-C stops it.")
                    await programs.until(stopped)
            told.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await told
    finally:
        terminal.say("Stopping …")
        began = time.monotonic()
        await programs.stop()
        terminal.say(f"Stopped after {time.monotonic() - began:.1f} s.")


def _table(terminal: Terminal, site: Site) -> None:
    rows = [
        ("Prometheus", site.url("prometheus"), "metrics, rules and alerts: /alerts"),
        ("Alertmanager", site.url("alertmanager"), "groups and silences"),
        ("Receiver", f"{site.url('receiver')}/metrics", "incidents, escalation, notifications"),
        ("Exporter", f"{site.url('exporter')}/metrics", "what the events were turned into"),
    ]
    terminal.table(rows)
    shown = {name: site.url(name) for name in ("exporter", "receiver")}
    data = site.data.relative_to(ROOT)
    terminal.text(NEXT.format(**shown, secrets=data / "secrets", logs=data / "logs"))


def main() -> int:
    """Give the exit status: 0 when stopped, 1 with one sentence when something failed."""
    parser = argparse.ArgumentParser(description="Run the whole product on this machine.")
    parser.add_argument("--demo", action="store_true", help="with traffic and an outage")
    parser.add_argument("--keep", action="store_true", help="demo: go on after the story")
    options = parser.parse_args()
    terminal = Terminal(sys.stdout)
    try:
        ports()  # before anything is fetched: a busy port is known at once
        fetched = subprocess.run([sys.executable, str(ROOT / "deploy/local/stack.py")], check=False)
        if fetched.returncode != 0:
            return 1
        asyncio.run(run(terminal, demo=options.demo, keep=options.keep))
    except SiteError as error:
        terminal.error(str(error))
        return 1
    except KeyboardInterrupt:  # before anything was started
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
