"""MV-HEVC (HEVC Annex G) by x265: one stream whose second layer is the other eye's view.

FFmpeg's own libx265 encodes one view, so it takes an x265 program of 4.0 or newer that was built with
ENABLE_MULTIVIEW, which few distributions do. It is asked whether it can, is fed frames through a pipe, and
writes a bare stream. NVENC has a profile for it, too, but FFmpeg wants to be told with each frame which view
it is, which PyAV cannot say.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np

from ..checks import InputError
from .boxes import make_box

_CONFIG = '--num-views 2\n--format 1\n--input "-"\n'  # format 1: both views beside each other in one picture
_SECONDS_TO_ANSWER = 20
_KEY_FRAME_EVERY = 2  # seconds
_LAYER_SETS = (33, 34)  # kinds of units that lhvC holds: sequence and picture parameter sets


def find_multiview_x265() -> str:
    """Return the path of an x265 that encodes two views.

    Raises:
        InputError: If there is none among the programs of this machine.
    """
    program = shutil.which("x265")
    if program is not None and "--multiview-config" in _ask(program):
        return program
    found = "none on the PATH" if program is None else f"{program}, which has no --multiview-config"
    raise InputError(
        f"spatial video must be encoded by x265 4.0 or newer that was built for two views, got {found}; "
        "build it with cmake -DENABLE_MULTIVIEW=ON and put it on the PATH, or keep the film side by side"
    )


class MultiviewEncoder:
    """A running x265; use it in a `with` statement, and call `finish` when all frames are written.

    Args:
        program: What `find_multiview_x265` returned.
        folder: Where the stream and x265's own lines go; it must be empty.
        width: Width of one view in pixels.
        height: Its height.
        frame_rate: Frames per second, for the encoder's decisions.
        crf: Constant quality.
        preset: Speed.
        color: What x265 is told of the colours: its options by name.

    Attributes:
        stream: The bare stream, whole after `finish`.
    """

    def __init__(
        self,
        program: str,
        folder: Path,
        *,
        width: int,
        height: int,
        frame_rate: Fraction,
        crf: float,
        preset: str,
        color: dict[str, str],
    ) -> None:
        self.stream, self._log_path = folder / "film.hevc", folder / "x265.log"
        (folder / "views.cfg").write_text(_CONFIG)
        settings = {
            "multiview-config": "views.cfg",
            "input-res": f"{width}x{height}",
            "input-csp": "i420",
            "input-depth": "8",
            "fps": f"{frame_rate.numerator}/{frame_rate.denominator}",
            "crf": f"{crf:g}",
            "preset": preset,
            "bframes": "0",  # a bare stream has no times, and without B-frames their order is that of display
            "keyint": f"{max(1, round(_KEY_FRAME_EVERY * frame_rate))}",
            **color,
            "output": self.stream.name,
        }
        options = [text for name, value in settings.items() for text in (f"--{name}", value)]
        self._command, self._folder = [program, *options, "--no-open-gop", "--no-progress"], folder
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def __enter__(self) -> MultiviewEncoder:
        self._log = open(self._log_path, "wb")
        self._process = subprocess.Popen(
            self._command, cwd=self._folder, stdin=subprocess.PIPE, stdout=self._log, stderr=self._log
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._log is not None
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except OSError:  # it wanted no more
                pass
        self._log.close()

    def write(
        self,
        planes: np.ndarray,  # bytes of 4:2:0, both views beside each other
    ) -> None:
        """Encode a frame.

        Raises:
            InputError: If x265 has ended.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(planes.tobytes())
        except OSError as error:
            self._process.wait()
            raise self._failed() from error

    def finish(self) -> None:
        """Wait for the last frame.

        Raises:
            InputError: If x265 failed.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError as error:
            self._process.wait()
            raise self._failed() from error
        if self._process.wait() != 0 or not self.stream.is_file():
            raise self._failed()

    def _failed(self) -> InputError:
        """Make the error with x265's own words."""
        assert self._process is not None
        lines = self._log_path.read_text(errors="replace").strip().splitlines()
        errors = [line for line in lines if "error" in line.lower()]
        said = (errors or lines or ["nothing"])[-1].strip()
        return InputError(
            f"x265 must encode both views, got exit code {self._process.returncode} ({said}); choose "
            "another size or preset, or another x265"
        )


def layer_box(
    extradata: bytes,  # parameter sets behind start codes
    configuration: bytes,  # content of hvcC
) -> bytes:
    """Make lhvC (ISO 14496-15): the parameter sets of the second view, which hvcC leaves out.

    Raises:
        InputError: If the stream has no second view.
    """
    units = [unit.rstrip(b"\0") for unit in extradata.split(b"\0\0\1")[1:]]
    layered = [unit for unit in units if _layer(unit) and _kind(unit) in _LAYER_SETS]
    if not layered:
        raise InputError(
            "the stream must hold two views, got one; x265 has to be built with ENABLE_MULTIVIEW=ON"
        )
    content = bytes([1, 0xF0 | configuration[13] & 0xF, configuration[14]])  # version, segmentation
    content += bytes([0xFC | configuration[15] & 3, 0xC0 | configuration[21] & 0x3F, len(layered)])
    for unit in layered:
        content += bytes([0x80 | _kind(unit)]) + struct.pack(">HH", 1, len(unit)) + unit
    return make_box(b"lhvC", content)


def _kind(unit: bytes) -> int:
    """Return the kind of a unit of HEVC."""
    return unit[0] >> 1 & 63


def _layer(unit: bytes) -> int:
    """Return the layer of a unit of HEVC."""
    return (unit[0] & 1) << 5 | unit[1] >> 3


def _ask(program: str) -> str:
    """Return what an x265 says about its options; nothing if it does not run."""
    try:
        answer = subprocess.run(
            [program, "--fullhelp"], capture_output=True, timeout=_SECONDS_TO_ANSWER, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return (answer.stdout + answer.stderr).decode(errors="replace")
