"""Fast fill: holes filled without any weights, from the background beside them and from other frames.

A hole shows background. Where this background was visible in an earlier frame (earlier fills are carried
along, so what was seen once is kept while it stays in a hole), or will be in one of the next few, its true
pixels are taken, found by the motion of the background beside the hole (`motion.py`). The rest is estimated
from the background side of the hole (`spatial.py`), gets the background's texture (`texture.py`), and is
blended with what was estimated there before, so that it does not flicker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..checks import InputError, check_type
from ..contracts import check_call
from ..dvg.eyes import Eye, eye_sign
from ..flow import Flow, Motion
from ..flow.motion import check_motion
from ..options import check_options, option, option_of
from .clip import fill_holes
from .filler import RenderedFrame
from .frame import fill_frame
from .search import SeenFrame
from .texture import TEXTURE

LOOK_AHEAD = 3  # frames in which a hole's background is looked for


@dataclass(frozen=True)
class FastFillConfig:
    """How fast fill fills."""

    texture: float = option(
        TEXTURE,
        0.0,
        1.0,
        step=0.05,
        advanced=True,
        metavar="SHARE",
        help="How much of the background's texture is continued into holes that no other frame shows: 0 is "
        "smooth, 1 as sharp as the background, but often with false detail.",
    )

    def check(self) -> None:
        """Check every option.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)


class FastFill:
    """The filler without weights.

    Args:
        texture: How much of the background's texture estimates take on, 0 (smooth) to 1.
        overwrite: Whether the frames' own tensors are filled, which saves the time and memory of copies.
        check: Whether frames are checked; whoever has made them may leave that out.

    Raises:
        InputError: If `texture` is out of range.
    """

    refines_holes = False  # what was seen is better than any estimate of it
    takes_bytes = True
    reach = 0

    def __init__(self, *, texture: float = TEXTURE, overwrite: bool = False, check: bool = True) -> None:
        option_of(FastFillConfig, "texture").check(texture)
        self._texture = texture
        self._overwrite = overwrite
        self._checks = check

    def open(self, *, eye: Eye, size: tuple[int, int]) -> FastFillStream:
        """Begin a film, or an eye of it.

        Raises:
            InputError: If the eye is unknown.
        """
        return FastFillStream(eye=eye, texture=self._texture, overwrite=self._overwrite, check=self._checks)


class FastFillStream:
    """Fills a stream of rendered frames, each when the next three are there.

    Args:
        eye: The eye that the views were rendered for.
        texture: How much of the background's texture estimates take on, 0 (smooth) to 1.
        overwrite: See `FastFill`.
        check: See `FastFill`.

    Raises:
        InputError: If the eye is unknown, or `texture` is out of range.
    """

    def __init__(
        self, *, eye: Eye = "right", texture: float = TEXTURE, overwrite: bool = False, check: bool = True
    ) -> None:
        eye_sign(eye)
        option_of(FastFillConfig, "texture").check(texture)
        self._eye: Eye = eye
        self._texture = texture
        self._overwrite = overwrite
        self._checks = check
        self._waiting: list[RenderedFrame] = []
        self._finished: list[Tensor] = []  # by a `finish` that failed at a later frame
        self._memory: SeenFrame | None = None

    def push(self, frame: RenderedFrame) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Take a scene's next frame; return the one that is finished by it, if there is one.

        After an error, lack of memory say, the frame has not been taken and can be pushed again.

        Raises:
            InputError: If a tensor breaks its rule (`contracts.TABLE`), or the size changes within a scene.
        """
        if self._checks:
            self._check(frame)
        frames = [*self._waiting, frame]
        filled = [self._fill(frames.pop(0), frames)] if len(frames) > LOOK_AHEAD else []
        self._waiting = frames
        return filled

    def finish(self) -> list[Tensor]:  # of [3, H, W] in [0, 1]
        """Return the scene's other frames; the next frame begins a new scene.

        After an error it can be called again, and returns what it had finished too.
        """
        while self._waiting:
            self._finished.append(self._fill(self._waiting[0], self._waiting[1:]))
            del self._waiting[0]
        frames, self._finished = self._finished, []
        self._memory = None
        return frames

    def _check(self, frame: RenderedFrame) -> None:
        """Check what `push` is given."""
        check_type("frame", frame, RenderedFrame)
        check_call("FastFill.push", warped=frame.warped, hole=frame.hole, disparity=frame.disparity)
        for name in ("to_previous", "to_next"):
            if getattr(frame, name) is not None:
                check_motion(name, getattr(frame, name))
        sizes = {tuple(given.warped.shape[-2:]) for given in (frame, *self._waiting)}
        if self._memory is not None:
            sizes.add(tuple(self._memory.colour.shape[-2:]))
        if len(sizes) > 1:
            raise InputError(
                f"frames of a scene must have one size, got heights and widths {sorted(sizes)}; resize them, "
                "or call finish() where another video begins"
            )

    def _fill(self, frame: RenderedFrame, later: Sequence[RenderedFrame]) -> Tensor:  # [3, H, W] in [0, 1]
        """Fill a frame, looking into later ones, and remember it."""
        following = _following(frame, later)
        filled, seen = fill_frame(
            frame,
            following,
            self._memory,
            eye=self._eye,
            texture=self._texture,
            overwrite=self._overwrite,
        )
        self._memory = seen or self._memory
        return filled


def _following(frame: RenderedFrame, later: Sequence[RenderedFrame]) -> list[tuple[Motion, RenderedFrame]]:
    """Pair each of the later frames with the flow towards it, up to where the flow ends."""
    following = []
    towards = frame.to_next
    for other in later:
        if towards is None:
            break
        following.append((towards, other))
        towards = other.to_next
    return following


def fast_fill(
    warped: Tensor,  # [F, 3, H, W] in [0, 1]
    hole: Tensor,  # [F, 1, H, W], 1 = hole
    *,
    left: Tensor | None = None,  # [F, 3, H, W] in [0, 1]
    disparity: Tensor | None = None,  # [F, 1, H, W] px
    flow: Flow | None = None,  # of the source view's F frames
    eye: Eye = "right",
    texture: float = TEXTURE,
    on_frame: Callable[[int], None] | None = None,
) -> Tensor:  # [F, 3, H, W] in [0, 1]
    """Fill the holes of rendered views without any weights.

    Args:
        warped: The rendered view.
        hole: Its hole mask; values above 0.5 are holes.
        left: The source view. Every filler takes it; this one needs only its shape to be right.
        disparity: The disparity that rendered the view. Without it the background is assumed on the side that
            the eye looks behind, and no foreground is kept from colouring the holes.
        flow: The source view's flow. With it, and with `disparity`, holes take true pixels from neighbouring
            frames and do not flicker.
        eye: The rendered eye.
        texture: How much of the background's texture takes part in what no frame shows: 0 (smooth, most like
            the truth on average) to 1 (as sharp as the background, and often elsewhere than the truth's).
        on_frame: Called with the number of finished frames; may raise to interrupt.

    Returns:
        The filled view, of the type of `warped`; outside of holes it equals `warped`.

    Raises:
        InputError: If an argument breaks its rule (`contracts.TABLE`), the eye is unknown, or `texture` is
            out of range.
    """
    return fill_holes(
        FastFill(texture=texture, check=False),  # `fill_holes` has done so
        left=warped if left is None else left,
        warped=warped,
        hole=hole,
        disparity=disparity,
        flow=flow,
        eye=eye,
        on_frame=on_frame,
    )
