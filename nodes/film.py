"""Film Settings: what only whole films have, settings for single scenes and parts that are kept."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ..spatialdreamer_core.checks import InputError
from ..spatialdreamer_core.options import options_of
from ..spatialdreamer_core.pipeline import ConvertConfig
from ..spatialdreamer_core.pipeline.film.sidecar import parse_sidecar
from .presentation import found_by
from .sockets import FilmType
from .widgets import check_each, widget

_RESUME = options_of(ConvertConfig)["resume"]
_SUFFIXES = (".csv", ".json")


@dataclass(frozen=True)
class FilmSettings:
    """What a film is converted with beside the settings of each frame.

    Attributes:
        sidecar: The text of a sidecar, empty for none.
        resume: One of the choices of `ConvertConfig.resume`.
    """

    sidecar: str = ""
    resume: str = _RESUME.default

    @contextmanager
    def applied_to(self, config: ConvertConfig) -> Iterator[ConvertConfig]:
        """Give a conversion these settings in the `with` block, as long as the file of its sidecar lives.

        Raises:
            InputError: If they do not go together.
        """
        config = replace(config, resume=self.resume)
        if not self.sidecar:
            yield config
            return
        folder = folder_paths.get_temp_directory()
        os.makedirs(folder, exist_ok=True)
        handle, path = tempfile.mkstemp(prefix="spatialdreamer_", suffix=".csv", dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(self.sidecar)
            yield replace(config, sidecar=path)
        finally:
            os.remove(path)


class SpatialDreamerFilmSettings(io.ComfyNode):
    """Node around `FilmSettings`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SpatialDreamerFilmSettings",
            display_name="Stereo 3D: Film Settings",
            category="SpatialDreamer",
            **found_by("film", "movie", "scene", "sidecar", "resume", "long video"),
            description="Settings for single scenes of a film, and whether its finished parts are kept, so "
            "that an interrupted conversion goes on where it was.",
            inputs=[
                io.String.Input(
                    "sidecar",
                    default="",
                    multiline=True,
                    tooltip="Settings for scenes or times as CSV or JSON, or the name of such a file in the "
                    "input folder. Columns: scene, start, end, divergence, convergence, foreground_scale, "
                    "skip, ease. Empty: all scenes alike.",
                ),
                widget(_RESUME, advanced=False),
            ],
            outputs=[FilmType.Output("film", display_name="film", tooltip="For Video to Stereo 3D.")],
        )

    @classmethod
    def validate_inputs(cls, sidecar: str | None = None, resume: str | None = None) -> bool:
        """Refuse when it is queued what cannot run."""
        check_each([_RESUME], {"resume": resume})
        if sidecar is not None:
            parse_sidecar(_text_of(sidecar))
        return True

    @classmethod
    def fingerprint_inputs(cls, sidecar: str | None = None, **_: object) -> str:
        """Tell when a sidecar in the input folder was changed."""
        return "" if sidecar is None else _text_of(sidecar)

    @classmethod
    def execute(cls, sidecar: str, resume: str = _RESUME.default) -> io.NodeOutput:
        """Read the sidecar."""
        return io.NodeOutput(FilmSettings(_text_of(sidecar), resume))


def film_input() -> io.Input:
    """Describe the socket for the settings of a whole film."""
    return FilmType.Input(
        "film",
        optional=True,
        tooltip="From Film Settings: settings for single scenes, and whether finished parts are kept.",
    )


def _text_of(sidecar: str) -> str:
    """Return the text of a sidecar, which may be that of a file in the input folder.

    Raises:
        InputError: If that file is not there.
    """
    name = sidecar.strip()
    if not name.lower().endswith(_SUFFIXES) or len(name.splitlines()) != 1:
        return sidecar if name else ""
    folder = Path(folder_paths.get_input_directory()).resolve()
    path = (folder / name).resolve()
    if folder not in path.parents or not path.is_file():
        raise InputError(
            f"sidecar must be a file in ComfyUI's input folder, or its text, got {name!r:.200}; put it there"
        )
    try:
        return path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(
            f"sidecar must be a readable text, got {name} ({error}); save it as UTF-8"
        ) from error


def graph_digest(prompt: Mapping[str, Any] | None, node_id: str | None) -> str:
    """Return a checksum of all that a node's result depends on: widgets of it and of all nodes before it.

    By it a film that was interrupted is found again.
    """
    found: dict[str, Any] = {}
    waiting = [node_id]
    while waiting:
        current = waiting.pop()
        node = None if prompt is None or current is None else prompt.get(current)
        if node is None or current in found:
            continue
        found[str(current)] = {"class": node.get("class_type"), "inputs": node.get("inputs", {})}
        waiting += [
            str(value[0])
            for value in node.get("inputs", {}).values()
            if isinstance(value, (list, tuple)) and len(value) == 2
        ]
    return hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()
