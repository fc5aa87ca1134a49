"""Makes .venv with exactly what the lock names; run by the system's python3, which may lack pip and venv.

Debian and Ubuntu split both off: without `python3-venv` the module `ensurepip` is missing. Then the distribution's own
pip wheel (package python3-pip-whl) is downloaded below .stack, without root, and brings pip into the environment.
"""

import fcntl
import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036  # whatever python3 the machine has is what runs this file
    version = ".".join(map(str, sys.version_info[:3]))
    sys.exit(f"Python 3.11 or later is required, this is {version}; choose another: make PYTHON=python3.12 …")

from deploy.local.apt import Apt, AptError, unpack  # an older Python cannot even read it

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements-dev.lock"


def pip_wheel() -> Path:
    """Fetch the distribution's pip wheel; AptError if it cannot be had."""
    apt = Apt(ROOT / ".stack/apt/pip", None)
    apt.update()
    for deb in apt.download(["python3-pip-whl"]):
        unpack(deb, ROOT / ".stack/pip")
    wheels = sorted((ROOT / ".stack/pip").rglob("pip-*.whl"))
    if not wheels:
        raise AptError("the package python3-pip-whl holds no pip wheel")
    return wheels[-1]


def create() -> None:
    """Make a new environment that has pip."""
    shutil.rmtree(VENV, ignore_errors=True)
    if importlib.util.find_spec("ensurepip") is not None:
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        return
    wheel = pip_wheel()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(VENV)], check=True)
    # A wheel is a zip file that Python can run from: pip installs itself from itself.
    bootstrap = [str(VENV / "bin/python"), f"{wheel}/pip", "install", "-q", "--no-index", str(wheel)]
    subprocess.run(bootstrap, check=True)


def main() -> int:
    """Give the exit status; two runs at once do not get in each other's way: the second waits for the first."""
    (ROOT / ".stack").mkdir(exist_ok=True)
    with (ROOT / ".stack/environment.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return install()


def install() -> int:
    """Install what the lock names, unless it is there; 1 with a message when that fails."""
    stamp = VENV / "ready"
    mark = f"{sys.version} {hashlib.sha256(LOCK.read_bytes()).hexdigest()}"
    if stamp.exists() and stamp.read_text("utf-8") == mark:
        stamp.touch()
        return 0
    print("environment: installing the locked packages into .venv (once, about a minute) …", flush=True)
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    try:
        create()
        # Most modules are never imported; Python compiles the others when they are, and keeps what it has compiled.
        subprocess.run([*pip, "--no-compile", "--require-hashes", "-r", str(LOCK)], check=True)
    except AptError as error:
        print(
            f"This Python has no pip ({error}).\nInstall it (sudo apt-get install python3-venv) and run this again.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("environment: interrupted; run this again to finish.", file=sys.stderr)
        return 130
    except subprocess.CalledProcessError as error:
        print(f"environment: {' '.join(error.cmd[1:4])} failed; see its message above.", file=sys.stderr)
        return 1
    stamp.write_text(mark, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
