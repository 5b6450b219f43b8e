"""Batch to Stereo 3D: all videos and photos of a subfolder of ComfyUI's input folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folder_paths
from comfy.model_management import InterruptProcessingException
from comfy_api.latest import io

from ..spatialdreamer_core.atomic import replacing
from ..spatialdreamer_core.checks import InputError, one_line
from ..spatialdreamer_core.evaluation.views import list_files
from ..spatialdreamer_core.fill import Filler
from ..spatialdreamer_core.pipeline import convert
from ..spatialdreamer_core.pipeline.film.folder import identify
from ..spatialdreamer_core.video import is_photo, output_path_for
from .convert import film_inputs, load_named_filler, telling_of_full_memory
from .depth_models import depth_fingerprint, prepare_model
from .film import FilmSettings, graph_digest
from .flow_models import flow_fingerprint, prepare_flow_model
from .output_name import check_prefix
from .presentation import found_by, show_text
from .progress import FilmProgress, first_pass_progress
from .saved_video import GRAPH, workflow_tags
from .shaping import check_values, settings_of
from .viewer import Packing, shown_photo, shown_video, stereo_output

_OF_ONE_VIDEO = ("video", "depth_video", "depth_kind", "start", "end", "filename_prefix")
_RECORDS = ".spatialdreamer_batch.json"  # by what each file of the output folder was made


class SpatialDreamerBatchConvert(io.ComfyNode):
    """Node around `spatialdreamer_core.pipeline.convert`, file by file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        settings = [entry for entry in film_inputs() if entry.id not in _OF_ONE_VIDEO]
        return io.Schema(
            node_id="SpatialDreamerBatchConvert",
            display_name="Batch to Stereo 3D",
            category="SpatialDreamer",
            **found_by("batch", "folder", "many videos", "convert video"),
            description="Converts all videos and photos of a subfolder of the input folder. A file that "
            "cannot be converted gets a line, and the others go on; what is finished is not done again when "
            "the batch is interrupted and queued once more.",
            inputs=[
                io.String.Input(
                    "folder",
                    default="",
                    tooltip="Subfolder of ComfyUI's input folder, whose files are converted by name.",
                ),
                io.String.Input(
                    "output_folder",
                    default="SpatialDreamer/batch",
                    tooltip="Subfolder of ComfyUI's output folder for the results, which keep the names of "
                    "their files.",
                ),
                *settings,
            ],
            outputs=[
                io.String.Output(
                    "paths", display_name="paths", tooltip="The paths of the results, one a line."
                )
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls, folder: str | None = None, output_folder: str | None = None, **widgets: Any
    ) -> bool:
        """Refuse when it is queued what cannot run."""
        check_values(**widgets)
        if folder is not None:
            _input_folder(folder)
        if output_folder is not None:
            check_prefix(output_folder)
        return True

    @classmethod
    def fingerprint_inputs(
        cls,
        folder: str | None = None,
        depth: str | None = None,
        flow: str | None = None,
        download: bool = False,
        **_: object,
    ) -> str:
        """Tell when the folder's files or the models behind the choices changed."""
        files = [] if folder is None else list_files(_input_folder(folder), name="folder")
        states = [f"{file.name} {file.stat().st_mtime_ns}" for file in files]
        return f"{states} {depth_fingerprint(depth, download)} {flow_fingerprint(flow)}"

    @classmethod
    def execute(
        cls,
        folder: str,
        output_folder: str,
        download: bool = False,
        filler: Filler | None = None,
        film: FilmSettings | None = None,
        **widgets: Any,
    ) -> io.NodeOutput:
        """Convert the files."""
        config = settings_of(**widgets)
        config.check()
        files = list_files(_input_folder(folder), name="folder")
        target = _output_folder(output_folder)
        records, digest = _Records(target), graph_digest(cls.hidden.prompt, cls.hidden.unique_id)
        prepared = prepare_model(config.depth, download=download, node_id=cls.hidden.unique_id)
        flow = prepare_flow_model(config.flow, download=download)
        paths, failures = [], []
        with (film or FilmSettings()).applied_to(config) as config:
            for number, file in enumerate(files, start=1):
                path = output_path_for(file, format=config.format, folder=target)
                made_of = {GRAPH: digest, **identify(file)}
                if path.exists() and records.holds(path.name, made_of):
                    paths.append(path)
                    continue
                progress = FilmProgress(
                    cls.hidden.unique_id, title=f"{file.name} ({number} of {len(files)}): "
                )
                try:
                    with telling_of_full_memory():
                        convert(
                            file,
                            path,
                            config,
                            filler=filler,
                            depth_model=prepared.model,
                            flow_model=None if flow is None else flow.model,
                            on_progress=progress.on_progress,
                            on_scene=progress.on_scene,
                            on_first_pass=first_pass_progress(cls.hidden.unique_id),
                            metadata=workflow_tags(cls),
                            identity={GRAPH: digest},
                            load_filler=load_named_filler,
                        )
                except InterruptProcessingException:
                    raise
                except InputError as error:
                    failures.append(f"{file.name}: {one_line(error)}")
                    continue
                records.add(path.name, made_of)
                paths.append(path)
        text = f"{len(paths)} of {len(files)} files are in {output_folder}"
        packing = Packing(config.format, config.swap_eyes)
        shows = show_text(cls.hidden.unique_id, text, *failures, prepared.text)
        viewed = stereo_output(*(_shown(path, packing) for path in paths))
        return io.NodeOutput("\n".join(map(str, paths)), ui={**shows, **viewed})


def _shown(path: Path, packing: Packing) -> dict[str, Any] | None:
    """Describe a finished file for the viewer."""
    outputs = Path(folder_paths.get_output_directory()).resolve()
    subfolder = path.parent.relative_to(outputs).as_posix().removeprefix(".")
    if is_photo(path):
        return shown_photo(path, subfolder, packing)
    return shown_video(path, subfolder, packing)


class _Records:
    """By what each file of an output folder was made, so that it is not made again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _RECORDS
        try:
            content = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            content = {}
        self._content: dict[str, Any] = content if isinstance(content, dict) else {}

    def holds(self, name: str, made_of: Mapping[str, Any]) -> bool:
        """Tell whether a file was made by these."""
        return self._content.get(name) == dict(made_of)

    def add(self, name: str, made_of: Mapping[str, Any]) -> None:
        """Note that a file is finished."""
        self._content[name] = dict(made_of)
        with replacing(self._path) as partial:
            partial.write_text(json.dumps(self._content, indent=1), encoding="utf-8")


def _input_folder(folder: str) -> Path:
    """Return the path of a subfolder of the input folder.

    Raises:
        InputError: If it is none.
    """
    inputs = Path(folder_paths.get_input_directory()).resolve()
    path = (inputs / folder.strip()).resolve()
    if inputs not in path.parents or not path.is_dir():
        raise InputError(
            f"folder must be a subfolder of ComfyUI's input folder, got {folder!r:.200}; put the files "
            "into one"
        )
    return path


def _output_folder(folder: str) -> Path:
    """Return the path of a subfolder of the output folder, which is made.

    Raises:
        InputError: If it lies outside.
    """
    outputs = Path(folder_paths.get_output_directory()).resolve()
    path = (outputs / folder.strip()).resolve()
    if path != outputs and outputs not in path.parents:
        raise InputError(
            f"output_folder must lie in ComfyUI's output folder, got {folder!r:.200}; name a subfolder"
        )
    path.mkdir(parents=True, exist_ok=True)
    return path
