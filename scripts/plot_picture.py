"""Makes the picture in the manual's page analyze anew: `.venv/bin/python scripts/plot_picture.py`.

It is what `tixd analyze --plot` draws of a line in tests/data/own, with fewer dots and colours.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]

#: The line that is drawn: half used up and down, with congested minutes.
LINE = "i13"

#: Width of the picture, and its colours: few, so that its file is small.
WIDTH, COLOURS = 900, 240


def main(file: Path) -> None:
    """Draw the line, and write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(ROOT / "tests" / "data" / "own" / "lines.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        [reports] = Path(folder).rglob(LINE)
        drawn = Path(folder) / "plot.png"
        subprocess.run(
            [Path(sys.executable).with_name("tixd"), "analyze", "--plot", drawn, reports],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        picture = Image.open(drawn).convert("RGB")
    height = round(picture.height * WIDTH / picture.width)
    small = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    few = small.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(file, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tixd" / "manual" / "analyze.png")
