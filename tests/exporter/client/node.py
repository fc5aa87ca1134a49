"""Runs scripts in Node with the client imported, as a user would."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from deploy.local.node import node_folder, node_path, npm
from tests.exporter.client.exporter_double import TOKEN

CLIENT = Path("exporter/client/heypeter.mjs").resolve()
NODE = str(node_folder() / "node")
NPX = npm("npx")
# No waiting in tests: what the client would have slept is written down instead. A busy machine has time to close.
HEAD = f"""
import * as heypeter from "{CLIENT.as_uri()}";
const {{ Client, track, send, deliver, register, withMetrics, withApiMetrics, timeQuery }} = heypeter;
const waits = [];
const logs = [];
const instant = {{ random: () => 1, log: (line) => logs.push(line), sleep: async (ms) => void waits.push(ms),
  closeTimeout: 60_000 }};
const rate = (rating, extra) => ["class_rated", {{ class_type: "private", rating }}, extra];
const say = (value) => console.log(JSON.stringify(value));
"""


def environment(url: str, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HEYPETER_")}
    return {**clean, "PATH": node_path(), "HEYPETER_URL": url, "HEYPETER_TOKEN": TOKEN, **more}


def command(script: str) -> list[str]:
    return [NODE, "--input-type=module", "-e", HEAD + script]


def run(script: str, url: str, **more: str) -> Any:  # noqa: ANN401  # whatever the script says
    """Give the last line that the script says; fail if it ends badly, or if the token is in what it writes."""
    done = subprocess.run(
        command(script), env=environment(url, **more), capture_output=True, text=True, timeout=120, check=False
    )
    assert TOKEN not in done.stdout + done.stderr, "the token was written"
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else None
