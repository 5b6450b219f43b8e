"""RealEstate10K as pairs of views: camera files and frames, for the image-level comparison (Table 1).

A camera file has the video's address in its first line, and in each other one a frame: its time in
microseconds; fx, fy, cx, cy as shares of width and height; two numbers without meaning; and the 3x4 matrix
that takes points from the world to the camera, row by row (x to the right, y down, z ahead). The frames,
which the data set does not bring along, lie in a folder of the camera file's name, each named by its time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...checks import InputError, check_range
from ...video import read_photo, to_8_bit

_FIELDS = 19  # of a line
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Camera:
    """The camera of a frame."""

    time: int  # microseconds
    intrinsics: np.ndarray  # [4] fx, fy, cx, cy, shares of width and height
    pose: np.ndarray  # [3, 4] from the world to the camera


class CameraPair(NamedTuple):
    """Two cameras of a clip that stand side by side."""

    left: Camera
    right: Camera
    pose: np.ndarray  # [3, 4] from the left camera to the right one
    baseline: float  # distance to the right, in the clip's own unit: its scale is that of its reconstruction


class ViewPair(NamedTuple):
    """Two views of a still scene."""

    clip: str
    left: Tensor  # [3, H, W] in [0, 1]
    right: Tensor  # [3, H, W] in [0, 1], of the same size
    intrinsics: Tensor  # [3, 3] of the left camera, px
    pose: Tensor  # [3, 4] from the left camera to the right one
    baseline: float  # distance to the right, in the clip's own unit


def read_cameras(path: Path) -> list[Camera]:
    """Read a camera file.

    Raises:
        InputError: If a line is not that of a camera.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"camera file must be a readable text, got {path} ({error})") from error
    cameras = [
        _read_camera(line, f"line {number} of {path}")
        for number, line in enumerate(lines[1:], start=2)
        if line.strip()
    ]
    if not cameras:
        raise InputError(f"camera file must hold at least one camera, got none in {path}; download it again")
    return cameras


def _read_camera(line: str, where: str) -> Camera:
    """Read one line."""
    fields = line.split()
    remedy = "download the file again"
    if len(fields) != _FIELDS:
        raise InputError(f"each camera must have {_FIELDS} numbers, got {len(fields)} in {where}; {remedy}")
    try:
        time, numbers = int(fields[0]), np.array([float(field) for field in fields[1:]])
    except ValueError:
        raise InputError(f"a camera must be numbers, got {line!r:.80} in {where}; {remedy}") from None
    intrinsics, pose = numbers[:4], numbers[6:].reshape(3, 4)
    rotation = pose[:, :3]
    if not np.isfinite(numbers).all() or (intrinsics[:2] <= 0).any():
        raise InputError(f"focal lengths must be above 0 and all numbers finite, got {where}; {remedy}")
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 0.01 or np.linalg.det(rotation) < 0:
        raise InputError(
            f"a camera's pose must be a rotation and a shift, got another matrix in {where}; {remedy}"
        )
    return Camera(time, intrinsics, pose)


def pair_cameras(left: Camera, right: Camera) -> CameraPair:
    """Relate two cameras; `baseline` is negative if `right` stands on the left."""
    (rotation, shift), (other_rotation, other_shift) = (
        (camera.pose[:, :3], camera.pose[:, 3]) for camera in (left, right)
    )
    turn = other_rotation @ rotation.T
    move = other_shift - turn @ shift
    centre = -turn.T @ move  # of the right camera, as the left one sees it
    return CameraPair(left, right, np.column_stack([turn, move]), float(centre[0]))


def find_camera_pairs(
    cameras: Sequence[Camera], *, gap: int = 5, least_sideways: float = 0.9, most_turn: float = 5.0
) -> list[CameraPair]:
    """Find cameras of a clip that stand side by side and look the same way, as the two eyes do.

    Args:
        cameras: The clip's, in order.
        gap: Frames from one to the other.
        least_sideways: Least share of the way between them that leads to the side, 0 to 1.
        most_turn: Largest angle between them, in degrees.

    Returns:
        The pairs, each with its right camera on the right.

    Raises:
        InputError: If a number is out of range.
    """
    check_range("gap", gap, 1, 100_000, "frames", whole=True)
    check_range("least_sideways", least_sideways, 0, 1)
    check_range("most_turn", most_turn, 0, 180, "degrees")
    pairs = []
    for first, second in zip(cameras, cameras[gap:], strict=False):
        pair = pair_cameras(first, second)
        if pair.baseline < 0:
            pair = pair_cameras(second, first)
        turn, way = pair.pose[:, :3], float(np.linalg.norm(pair.pose[:, 3]))
        angle = math.degrees(math.acos(min(1.0, max(-1.0, (np.trace(turn) - 1) / 2))))
        if way > 0 and pair.baseline / way >= least_sideways and angle <= most_turn:
            pairs.append(pair)
    return pairs


class RealEstate:
    """A part of RealEstate10K on this machine.

    Args:
        cameras: Folder of camera files (`ID.txt`).
        frames: Folder with a folder of frames for each of them (`ID/TIME.png`, or another kind of picture).

    Attributes:
        skipped: Clips that could not be used so far, and why.

    Raises:
        InputError: If a folder is missing, or there are no camera files.
    """

    def __init__(self, cameras: Path, frames: Path) -> None:
        for folder in (cameras, frames):
            if not folder.is_dir():
                raise InputError(f"RealEstate10K must be two folders, got {folder}, which is none")
        self._files = sorted(cameras.glob("*.txt"))
        if not self._files:
            raise InputError(f"cameras must be a folder of camera files (ID.txt), got none in {cameras}")
        self._frames = frames
        self.skipped: dict[str, str] = {}

    def pairs(
        self, *, gap: int = 5, most: int = 1, least_sideways: float = 0.9, most_turn: float = 5.0
    ) -> Iterator[ViewPair]:
        """Give pairs of views, clip by clip; clips that cannot be used are counted in `skipped` and logged.

        Args:
            gap: See `find_camera_pairs`.
            most: Most pairs of a clip, spread over it evenly.
            least_sideways: See `find_camera_pairs`.
            most_turn: See `find_camera_pairs`.

        Raises:
            InputError: If a number is out of range.
        """
        check_range("most", most, 1, 1_000_000, "pairs", whole=True)
        for file in self._files:
            try:
                found = find_camera_pairs(
                    read_cameras(file), gap=gap, least_sideways=least_sideways, most_turn=most_turn
                )
                if not found:
                    raise InputError("no two of its cameras stand side by side")
                places = np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int)
                pairs = [self._read_pair(file.stem, found[place]) for place in places]
            except InputError as error:
                self.skipped[file.stem] = str(error)
                _LOGGER.warning("clip %s is left out: %s", file.stem, error)
                continue
            yield from pairs

    def _read_pair(self, clip: str, cameras: CameraPair) -> ViewPair:
        """Read the two views of a pair."""
        left, right = (self._read_frame(clip, camera.time) for camera in (cameras.left, cameras.right))
        if left.shape != right.shape:
            raise InputError(
                f"frames of a clip must have one size, got {left.shape[2]}x{left.shape[1]} and "
                f"{right.shape[2]}x{right.shape[1]}; extract them again"
            )
        height, width = left.shape[-2:]
        fx, fy, cx, cy = cameras.left.intrinsics * (width, height, width, height)
        intrinsics = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float32)
        pose = torch.from_numpy(cameras.pose).float()
        return ViewPair(clip, left, right, intrinsics, pose, cameras.baseline)

    def _read_frame(self, clip: str, time: int) -> Tensor:  # [3, H, W] in [0, 1]
        """Read a frame."""
        paths = [self._frames / clip / f"{time}{suffix}" for suffix in _SUFFIXES]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise InputError(f"frame must be there, got no {paths[0]} (or jpg, webp); extract it")
        pixels = torch.from_numpy(np.ascontiguousarray(to_8_bit(read_photo(path), None)))
        return pixels.permute(2, 0, 1).float().div(255)
