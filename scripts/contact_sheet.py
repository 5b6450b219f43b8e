"""Draw a contact sheet of a conversion: `python scripts/contact_sheet.py CLIP OUT.jpg TIME [TIME ...]`.

For each moment, in seconds, a second of the clip around it is converted, so that the frame drawn has the
frames before and after it to learn from; depth is the built-in one.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np

from spatialdreamer_core.pipeline import ConvertConfig, convert


def main() -> None:
    """Convert around each moment and stack the sheets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("times", type=float, nargs="+", metavar="TIME")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sheets = [draw(options.clip, time, Path(folder)) for time in options.times]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(options.output), np.vstack(sheets), [cv2.IMWRITE_JPEG_QUALITY, 88])


def draw(clip: Path, time: float, folder: Path) -> np.ndarray:
    """Return the sheet of one moment, [H, W, 3] BGR."""
    sheet = folder / "sheet.png"
    config = ConvertConfig(depth="builtin", start=max(0.0, time - 0.5), end=time + 0.5)
    convert(clip, folder / "part.mp4", config, preview_path=sheet)
    return cv2.imread(str(sheet))


if __name__ == "__main__":
    main()
