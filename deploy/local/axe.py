"""Fetches axe-core, which finds what people who use a keyboard or a screen reader cannot use, for the browser tests."""

import hashlib
import io
import sys
import tarfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / ".stack/axe/axe.min.js"
URL = "https://registry.npmjs.org/axe-core/-/axe-core-4.14.1.tgz"
SHA256 = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"


def main() -> int:
    """Give the exit status: 0 even if it cannot be fetched; the test that needs it is then skipped."""
    if SCRIPT.exists():
        print("axe: found")
        return 0
    try:
        with urllib.request.urlopen(URL, timeout=60) as answer:
            packed = answer.read()
    except OSError as error:
        print(f"axe: could not be fetched ({error}); its test is skipped", file=sys.stderr)
        return 0
    if hashlib.sha256(packed).hexdigest() != SHA256:
        print(f"axe: {URL} is not the file that is expected", file=sys.stderr)
        return 1
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        member = archive.extractfile("package/axe.min.js")
        if member is None:
            raise SystemExit("axe: the package holds no axe.min.js")
        SCRIPT.parent.mkdir(parents=True, exist_ok=True)
        SCRIPT.write_bytes(member.read())
    print("axe: fetched")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
