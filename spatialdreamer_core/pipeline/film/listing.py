"""A film's scenes as a sidecar to begin with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from ...flow import open_flow
from ...video.completeness import IncompleteInput
from ...video.probe import probe
from ..clock import StageClock
from ..config import ConvertConfig
from ..depth_source import choose_depth
from ..device import choose_device
from .convert import place_plan
from .plan import SegmentRule
from .sidecar import write_scenes
from .source import FilmSource, OnPass

_LOGGER = logging.getLogger(__name__)


def list_scenes(
    input_path: Path,
    config: ConvertConfig | None = None,
    *,
    values: Mapping[str, float] | None = None,
    on_progress: OnPass | None = None,
) -> tuple[str, int]:
    """Find a film's scenes; nothing is converted.

    Args:
        input_path: The film.
        config: The settings that it is going to be converted with.
        values: What each row gets of `sidecar.VALUES`; the others are empty, which leaves them to `convert`.
        on_progress: Called after each frame with the frames done and their total if it is known; may raise to
            interrupt.

    Returns:
        The text of a sidecar in CSV, with a row for each scene, and their number. Values are those given,
        or those that were chosen for the scene where the settings ask for that.

    Raises:
        InputError: If the film cannot be used.
        IncompleteInput: If it is cut short or damaged, unless `config.allow_incomplete`.
    """
    config = config or ConvertConfig()
    config.check()
    info = probe(input_path)
    device, depth, flow = choose_device(config.device), None, None
    if config.strength().needs_statistics:
        depth, flow = choose_depth(config, None, device), open_flow(config.flow, device=device)
    source = FilmSource(input_path, info, config, device, depth, StageClock())
    plan, fault = source.plan(SegmentRule(), flow=flow, total=info.frame_count, on_progress=on_progress)
    if fault is not None and not config.allow_incomplete:
        raise IncompleteInput(f"{fault}; list what is there with --allow-incomplete (`allow_incomplete`)")
    rows: list[Mapping[str, float]] = [values or {}] * len(plan.scenes)
    if config.strength().needs_statistics:
        rows = [placement._asdict() for placement in place_plan(plan, source)]
    return write_scenes(plan, rows, time_base=info.time_base), len(plan.scenes)
