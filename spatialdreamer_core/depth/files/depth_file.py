"""A depth file and what its values mean: frames of inverse depth, larger = nearer.

| kind | values | inverse depth |
|---|---|---|
| inverse | inverse depth or disparity of any scale and shift, large = near | as they are |
| depth | depth of any scale and shift, large = far | 1 - values |
| metres | distance from the camera; integers may be millimetres | 1 / values |
| normalised | this project's own: inverse depth in [0, 1], integers from black to white | as they are |

All but `normalised` are brought to [0, 1] by a scene's percentiles afterwards (`scene_range`), so a factor
and, but for metres, a shift do not matter. In metres what is infinite, NaN or not positive is far, for
nothing was measured there; in the other kinds NaN and infinity have no meaning and are errors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...checks import InputError, check_choice
from ...flow import find_cuts
from ...memory import require_memory
from ..inverse import to_inverse_depth
from ..models import Semantics
from ..scene_range import apply_scene_ranges, measure_scenes
from .readers import find_reader
from .sizes import check_film_size

_SEMANTICS: dict[str, Semantics] = {
    "inverse": "affine_inverse",
    "depth": "affine_depth",
    "metres": "metric",
    "normalised": "affine_inverse",
}
DEPTH_KINDS = tuple(_SEMANTICS)
_OVERSHOOT = 1e-3  # by which rounding may leave [0, 1]
_LARGEST = 1e37  # what is larger marks pixels without depth, and differences of such values overflow
_CHECK_EVERY = 16  # frames, between looks at free memory


class DepthFile:
    """A depth file or folder, to be read from any frame on, any number of times.

    Args:
        path: The file or folder.
        kind: What its values mean, one of `DEPTH_KINDS`.

    Raises:
        InputError: If there is nothing to read at the path, or the kind is unknown.
    """

    def __init__(self, path: str | os.PathLike[str], *, kind: str = "inverse") -> None:
        check_choice("depth_kind", kind, DEPTH_KINDS)
        if not isinstance(path, (str, os.PathLike)):
            raise InputError(
                f"depth must be the path of a file or folder, got {type(path).__name__}; give it"
            )
        self.path, self.kind = Path(path), kind
        self._reader = find_reader(self.path)

    @property
    def is_normalised(self) -> bool:
        """Whether its frames are in [0, 1] already."""
        return self.kind == "normalised"

    def count(self) -> int | None:
        """Return the number of its frames, or None if that takes decoding them all.

        Raises:
            InputError: If the file is broken.
        """
        return self._reader.length()

    def frames(self, skip: int = 0) -> Generator[Tensor, None, None]:  # each [1, h, w] float32
        """Read the frames of inverse depth one by one; close the iterator to close the file.

        Args:
            skip: The number of frames to leave out at the beginning.

        Raises:
            InputError: While iterating, if a frame cannot be read, has another size than the first one or
                holds values that its kind does not allow.
        """
        size = None
        with closing(self._reader.read(skip)) as stored:
            for index, frame in enumerate(stored, start=skip):
                size = size or frame.shape
                if frame.shape != size:
                    raise InputError(
                        f"frames of depth must be of one size, got {_size(frame.shape)} after {_size(size)} "
                        f"at frame {index} of {self.path}; resize them"
                    )
                yield self._to_inverse(frame, index)[None]

    def _to_inverse(self, stored: np.ndarray, index: int) -> Tensor:  # [h, w] float32
        """Convert a frame from its kind."""
        with np.errstate(over="ignore"):
            values = torch.from_numpy(stored.astype(np.float32))
        least, largest = (float(value) for value in values.aminmax())  # NaN is both
        if self.kind != "metres" and not -_LARGEST <= least <= largest <= _LARGEST:
            count = int((~(values.abs() <= _LARGEST)).sum())
            raise InputError(
                f"depth of the kind {self.kind} must be finite, got {count} NaN or infinite values in frame "
                f"{index} of {self.path}; repair them, or use the kind metres, where they count as far, if "
                "these are distances"
            )
        if self.is_normalised:
            if stored.dtype.kind == "u":
                values = values / float(np.iinfo(stored.dtype).max)
            elif least < -_OVERSHOOT or largest > 1 + _OVERSHOOT:
                raise InputError(
                    f"normalised depth must lie between 0 and 1, got {least:g} to {largest:g} in frame "
                    f"{index} of {self.path}; use the kind inverse, depth or metres"
                )
            values = values.clamp(0, 1)
        semantics = _SEMANTICS[self.kind]
        if semantics == "affine_inverse":  # it is inverse depth, and has been found finite
            return values
        return to_inverse_depth(values[None, None], semantics)[0, 0]


def load_depth(
    path: str | os.PathLike[str],
    *,
    kind: str = "inverse",
    frames: Tensor | None = None,  # [F, 3, H, W] in [0, 1]
    on_frame: Callable[[int], None] | None = None,
) -> Tensor:  # [F, 1, H, W] in [0, 1]
    """Load a whole depth file as inverse depth in [0, 1], 1 = near, normalised per scene.

    Args:
        path: The file or folder.
        kind: What its values mean, one of `DEPTH_KINDS`.
        frames: The video that the depth belongs to, in which scenes are found; without it, all is one scene.
        on_frame: Called with the number of frames read; may raise to interrupt.

    Raises:
        InputError: If it cannot be read, is empty or holds values that its kind does not allow, or the video
            has another number of frames or another shape, or they do not fit into memory.
    """
    file = DepthFile(path, kind=kind)
    maps: list[Tensor] = []
    expected = None if frames is None else len(frames)
    with closing(file.frames()) as stored:
        for inverse in stored:
            if not maps:
                if frames is not None:
                    check_film_size(file.path, inverse.shape[-2:], frames.shape[-2:])
                _check_memory(file, file.count() or expected or 1, inverse)
            elif len(maps) % _CHECK_EVERY == 0:
                _check_memory(file, _CHECK_EVERY, inverse, loaded=len(maps))
            if len(maps) == expected:
                raise _wrong_count(file, expected, file.count() or f"more than {expected}")
            maps.append(inverse)
            if on_frame is not None:
                on_frame(len(maps))
    if not maps:
        raise InputError(f"depth must have at least one frame, got none in {file.path}; choose another file")
    if expected is not None and len(maps) != expected:
        raise _wrong_count(file, expected, len(maps))
    depth = torch.stack(maps)
    if file.is_normalised:
        return depth
    cuts = () if frames is None else find_cuts(frames)
    return apply_scene_ranges(depth, measure_scenes(maps, cuts), cuts)


def _check_memory(file: DepthFile, count: int, frame: Tensor, *, loaded: int = 0) -> None:
    """Check that so many more frames, and the two copies of all of them that are made, fit into memory."""
    height, width = frame.shape[-2:]
    require_memory(
        (3 * count + 2 * loaded) * frame.nbytes,
        what=f"all of the depth in {file.path} ({count + loaded} frames or more of {width}x{height})",
        remedy="load fewer or smaller frames, or convert the video with the depth file, which needs one at a "
        "time",
    )


def _wrong_count(file: DepthFile, expected: int, count: int | str) -> InputError:
    """Make the error for a depth file with another number of frames than the video."""
    return InputError(
        f"depth must have as many frames as the video ({expected}), got {count} in {file.path}; "
        "use depth of the same frames"
    )


def _size(shape: tuple[int, ...]) -> str:
    """Write the size of a frame [h, w]."""
    return f"{shape[1]}x{shape[0]}"
