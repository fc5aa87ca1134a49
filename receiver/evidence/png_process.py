"""Turns SVG into PNG in a process of its own: `python -m receiver.evidence.png_process`.

Each line of standard input is a ``Job`` as JSON, each line of standard output the PNG in base64, after an empty line.
resvg holds Python's lock while it draws, and aborts the process where it runs out of memory (linebender/resvg#815).
"""

import base64
from importlib.resources import as_file, files

import msgspec
import resvg_py

from receiver.clients.limited_process import limit, serve

MEMORY = 512 << 20  # bytes of address space, of which Python and the library take 150 MB, mostly untouched
SCALE = 2  # pixels for each of the SVG's: phones and most screens have as many
_FONT = "Roboto"  # fonts/: Latin, Greek and Cyrillic letters of it, without features (pyftsubset), for the wheel's size


class Job(msgspec.Struct, frozen=True):
    """A picture of ours: its size is ours, too."""

    svg: str


def draw(svg: str, font: str) -> bytes:
    """Give the PNG; ValueError if it is no SVG."""
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg,
            zoom=SCALE,
            skip_system_fonts=True,  # the same picture everywhere
            font_files=[font],
            font_family=_FONT,
            sans_serif_family=_FONT,
        )
    )


def main() -> int:
    """Give the exit status, at the end of the input."""
    limit(MEMORY)
    with as_file(files("receiver.evidence").joinpath("fonts", "Roboto-Regular.ttf")) as font:
        serve(lambda line: base64.b64encode(draw(msgspec.json.decode(line, type=Job).svg, str(font))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
