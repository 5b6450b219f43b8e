"""The widgets of TIL SVD Sampler, which are the library's `SamplerConfig`, named as its fields."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..spatialdreamer_core.dvg import MAX_DILATION, MAX_FEATHER
from ..spatialdreamer_core.spatialdreamer.sampler_config import (
    DEFAULT_MAX_SIDE,
    FAST_STEPS,
    MAX_DEVIATION,
    MAX_FPS,
    MAX_GUIDANCE,
    MAX_MOTION,
    MAX_SEED,
    MAX_TILE,
    MIN_STRENGTH,
    READING,
    WINDOW_ORDERS,
    SamplerConfig,
)
from ..spatialdreamer_core.svd.canvas import MAX_SIDE, MIN_SIDE
from ..spatialdreamer_core.svd.schedule import MAX_STEPS
from ..spatialdreamer_core.svd.windows import MAX_WINDOW
from .presentation import ADVANCED

_DEFAULT = SamplerConfig()
_AS_TRAINED = -1  # on a widget, which cannot hold None
_TRAINED = ("noise_augmentation", "fps", "motion_bucket")


def sampler_inputs() -> list[io.Float.Input | io.Int.Input | io.Boolean.Input | io.Combo.Input]:
    """Describe the widgets; those that most users leave alone are optional."""
    return [
        io.Float.Input(
            "deviation",
            default=_DEFAULT.deviation,
            min=0.0,
            max=MAX_DEVIATION,
            step=0.05,
            display_mode=io.NumberDisplay.slider,
            tooltip="Stereo deviation strength (Eq. 4 of SpatialDreamer), 0 to 3, as a multiple of what the "
            "warped view has in each window: above 1 the views differ more, below 1 less. It shows all over "
            "`whole_view`, but in `image` inside the holes alone. Changes nothing in an untrained model.",
        ),
        io.Int.Input(
            "steps",
            default=_DEFAULT.steps,
            min=1,
            max=MAX_STEPS,
            tooltip=f"Sampling steps, 1 to {MAX_STEPS}. {FAST_STEPS} is the fast preset.",
        ),
        io.Int.Input(
            "seed",
            default=_DEFAULT.seed,
            min=0,
            max=MAX_SEED,
            control_after_generate=True,
            tooltip="Seed of the noise. The same seed gives the same result.",
        ),
        io.Float.Input(
            "strength",
            default=_DEFAULT.strength,
            min=MIN_STRENGTH,
            max=1.0,
            step=0.05,
            optional=True,
            tooltip="How much noise it starts from, 0.05 to 1, whatever the number of steps, of which this "
            "share is done. 1 starts from nothing but noise; below, from what `warped` shows in the holes, "
            "under noise: fill them first then. 0.2 to 0.5 suits an untrained model.",
        ),
        _guidance_input("guidance_min", _DEFAULT.guidance_min, "first"),
        _guidance_input("guidance_max", _DEFAULT.guidance_max, "last"),
        io.Boolean.Input(
            "reinject",
            default=_DEFAULT.reinject,
            optional=True,
            tooltip="Puts the known pixels into the picture at each step, so that the filling fits them "
            "better. Two passes of the VAE more a step: slow.",
            **ADVANCED,
        ),
        io.Combo.Input(
            "read_reference",
            options=list(READING),
            default="auto",
            optional=True,
            tooltip="Whether the model looks at the left view. auto: not if its UNet came without "
            "RefinerNet, as one chosen by `unet` of the loader does, such as StereoCrafter's.",
            **ADVANCED,
        ),
        io.Int.Input(
            "window",
            default=_DEFAULT.window,
            min=0,
            max=MAX_WINDOW,
            optional=True,
            tooltip=f"Frames diffused at a time, 1 to {MAX_WINDOW}. 0: as many as the model was trained on, "
            "14 with SVD, 25 with SVD-XT. Fewer take less memory; when that runs out, they are halved.",
            **ADVANCED,
        ),
        io.Int.Input(
            "overlap",
            default=_DEFAULT.overlap,
            min=0,
            max=MAX_WINDOW - 1,
            optional=True,
            tooltip="Frames that neighbouring windows share, less than `window`. More hide their seams "
            "better and take longer.",
            **ADVANCED,
        ),
        io.Combo.Input(
            "windows",
            options=list(WINDOW_ORDERS),
            default=_DEFAULT.windows,
            optional=True,
            tooltip="How windows meet. together: all of them go through each step and are averaged where "
            "they overlap; if memory is short of room for all their features, in_turn runs instead. in_turn: "
            "one after the other, each carrying on the frames that are finished.",
            **ADVANCED,
        ),
        io.Int.Input(
            "tile",
            default=_DEFAULT.tile,
            min=0,
            max=MAX_TILE,
            step=64,
            optional=True,
            tooltip="Side in pixels of the tiles that are diffused at a time, 256 to 4096, for less memory "
            "at large sizes. 0: whole pictures.",
            **ADVANCED,
        ),
        io.Int.Input(
            "dilate",
            default=_DEFAULT.dilate,
            min=0,
            max=MAX_DILATION,
            optional=True,
            tooltip=f"Pixels by which the holes grow in the result, 0 to {MAX_DILATION}, to hide halos at "
            "object edges.",
            **ADVANCED,
        ),
        io.Int.Input(
            "feather",
            default=_DEFAULT.feather,
            min=0,
            max=MAX_FEATHER,
            optional=True,
            tooltip="Pixels around the holes over which the filling is blended into the warped view, 0 "
            f"(hard edge) to {MAX_FEATHER}.",
            **ADVANCED,
        ),
        io.Float.Input(
            "noise_augmentation",
            default=_AS_TRAINED,
            min=_AS_TRAINED,
            max=1.0,
            step=0.01,
            optional=True,
            tooltip="Noise on the warped view that the model is shown, 0 to 1: more frees it from what it "
            "sees. -1: as it was trained, 0.02 with SVD, 0 with StereoCrafter's UNet.",
            **ADVANCED,
        ),
        io.Float.Input(
            "fps",
            default=_AS_TRAINED,
            min=_AS_TRAINED,
            max=MAX_FPS,
            step=0.01,
            optional=True,
            tooltip=f"Frames per second that the model is told, 1 to {MAX_FPS:g}: link fps of Get Video "
            "Components. -1: as it was trained, 7 with SVD, which knows up to 30.",
            **ADVANCED,
        ),
        io.Int.Input(
            "motion_bucket",
            default=_AS_TRAINED,
            min=_AS_TRAINED,
            max=MAX_MOTION,
            optional=True,
            tooltip=f"How much motion the model is told to expect, 0 (none) to {MAX_MOTION}. -1: as it was "
            "trained, 127 with SVD.",
            **ADVANCED,
        ),
    ]


def max_side_input() -> io.Int.Input:
    """Describe the widget for the size at which frames are diffused."""
    return io.Int.Input(
        "max_side",
        default=DEFAULT_MAX_SIDE,
        min=MIN_SIDE,
        max=MAX_SIDE,
        step=64,
        tooltip="Longest side in pixels at which the clip is diffused, 64 to 4096: larger frames are scaled "
        "down, smaller ones enlarged to what the model knows, 1024x576 with SVD. Known pixels of the result "
        "stay as they are.",
    )


def make_sampler_config(**options: Any) -> SamplerConfig:
    """Make the library's options of the widgets' values."""
    as_trained = {name: None for name in _TRAINED if options.get(name) == _AS_TRAINED}
    return SamplerConfig(**(options | as_trained))


def check_sampler_values(*, window: int | None, overlap: int | None, **values: float | str | None) -> None:
    """Check widgets by the rules of `SamplerConfig`, as `validate_inputs` does before anything runs.

    Args:
        window: The widget's value; None if it is linked, so that its value is not known yet.
        overlap: As `window`.
        values: The other widgets' values.

    Raises:
        InputError: For the first value that is out of range, NaN, or at odds with another one.
    """
    known = {name: value for name, value in values.items() if value is not None}
    make_sampler_config(
        window=MAX_WINDOW if window is None else window, overlap=0 if overlap is None else overlap, **known
    ).check()


def _guidance_input(name: str, default: float, frame: str) -> io.Float.Input:
    """Describe one end of the guidance over a window."""
    return io.Float.Input(
        name,
        default=default,
        min=0.0,
        max=MAX_GUIDANCE,
        step=0.1,
        optional=True,
        tooltip=f"Guidance scale of a window's {frame} frame, 0 to {MAX_GUIDANCE:g}; linear between first "
        "and last. 1 at both ends: none. Any other value doubles the time.",
        **ADVANCED,
    )
