"""From two views to the packed picture: eyes swapped and shifted, padded, resized, packed, in this order.

Sizes are known beforehand: `StereoLayout.size` gives that of the packed picture and `encoded_size` that of
the video, whose sides are even, after all the rest (nunif #605: padding, offset and encoder failed together).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from ..options import OptionConflict, check_options, option
from .anaglyph import ANAGLYPH
from .formats import FORMAT, even_size, packed_size, pictures_a_pair, pixel_aspect
from .half_sphere import FIELD_OF_VIEW
from .packing import join_views, resize

_LARGEST_OFFSET = 20.0  # % of width
_LARGEST_HEIGHT = 16384  # px, of libx264


@dataclass(frozen=True)
class StereoLayout:
    """How the two eyes' views become one picture."""

    format: str = FORMAT.as_field()
    anaglyph: str = ANAGLYPH.as_field()
    field_of_view: float = FIELD_OF_VIEW.as_field()
    swap_eyes: bool = option(
        False, advanced=True, help="Gives each eye the other one's view, for screens that have them swapped."
    )
    ipd_offset: float = option(
        0.0,
        -_LARGEST_OFFSET,
        _LARGEST_OFFSET,
        "% of width",
        step=0.1,
        advanced=True,
        help="Shifts the two views against each other: above 0 all comes nearer, below 0 all goes farther "
        "away, as for eyes that stand wider apart. What enters at the sides is `ipd_fill`.",
    )
    ipd_fill: str = option(
        "black",
        choices=("black", "edge"),
        advanced=True,
        help="What ipd_offset brings in at the sides. edge: the picture's last column repeated.",
    )
    pad: str = option(
        "none",
        choices=("none", "16:9"),
        advanced=True,
        help="16:9: black bars bring each view to that shape, as televisions with a 3D mode expect it.",
    )
    output_height: int | None = option(
        None,
        16,
        _LARGEST_HEIGHT,
        "px",
        none_as=0,
        none_means="as it comes",
        advanced=True,
        help="Height of each view before it is packed, to which it is resized; full_tb has twice as much, "
        "half_tb as much. With vr180, the side of each half sphere.",
    )

    def check(self) -> None:
        """Check every setting.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)
        if self.format == "rgbd":
            for name, value in (("swap_eyes", self.swap_eyes), ("ipd_offset", self.ipd_offset)):
                if value:
                    raise OptionConflict(
                        f"{name} must be left alone with the format rgbd, which has one view, got {value}; "
                        "choose another format",
                        *(name, "format"),
                    )
        if self.format == "vr180" and self.pad != "none":
            raise OptionConflict(
                f"pad must be none with the format vr180, which is black around the picture anyway, got "
                f"{self.pad}; set field_of_view instead",
                *("pad", "format"),
            )

    @property
    def is_plain(self) -> bool:
        """Whether views are packed as they are."""
        return not (self.swap_eyes or self.ipd_offset or self._pads or self.output_height)

    @property
    def resizes(self) -> bool:
        """Whether pixels are mixed before the views are packed."""
        return self.output_height is not None and self.format != "vr180"

    @property
    def pictures_a_pair(self) -> int:
        """How many pictures are made of a pair of views."""
        return pictures_a_pair(self.format)

    @property
    def _pads(self) -> bool:
        """Whether views get bars."""
        return self.pad != "none"

    def view_size(self, height: int, width: int, *, aspect: Fraction = Fraction(1)) -> tuple[int, int]:
        """Return (height, width) of a view as it is packed.

        Args:
            height: The view's height as it comes.
            width: Its width.
            aspect: Width over height of its pixels.
        """
        if self._pads:
            shape = Fraction(16, 9) / aspect
            height, width = max(height, round(width / shape)), max(width, round(height * shape))
        if self.output_height and self.format != "vr180":
            height, width = self.output_height, max(1, round(width * self.output_height / height))
        return height, width

    def size(self, height: int, width: int, *, aspect: Fraction = Fraction(1)) -> tuple[int, int]:
        """Return (height, width) of the packed picture, see `view_size`."""
        if self.format == "vr180" and self.output_height:
            side = self._side(height, width)
            return side, 2 * side
        size = self.view_size(height, width, aspect=aspect)
        return packed_size(*size, format=self.format, field_of_view=self.field_of_view)

    def encoded_size(self, height: int, width: int, *, aspect: Fraction = Fraction(1)) -> tuple[int, int]:
        """Return (height, width) of the packed video: as `size`, rounded up to what every encoder takes."""
        return even_size(*self.size(height, width, aspect=aspect))

    def pixel_aspect(self, aspect: Fraction = Fraction(1)) -> Fraction:
        """Return width over height of the packed picture's pixels, given that of the views' pixels."""
        return Fraction(1) if self.format == "vr180" else aspect * pixel_aspect(self.format)

    def view_shape(self, height: int, width: int, *, aspect: Fraction = Fraction(1)) -> Fraction:
        """Return width over height of a view as it is shown, given its size as it comes."""
        height, width = self.view_size(height, width, aspect=aspect)
        return Fraction(width, height) * aspect

    def pack(
        self,
        left: Tensor,  # [F, 3, H, W], floats, uint8 or, where nothing is mixed, int16
        right: Tensor,  # [F, 3, H, W], of the same type
        *,
        aspect: Fraction = Fraction(1),
        black: float = 0.0,
    ) -> Tensor:  # [F', 3, H', W']
        """Arrange and pack two views, which are not checked; `right` of rgbd is the picture of depth.

        Args:
            left: The left eye's view.
            right: The right eye's view.
            aspect: Width over height of their pixels.
            black: The value of black.
        """
        left, right = self.arrange(left, right, aspect=aspect, black=black)
        return join_views(
            left,
            right,
            format=self.format,
            anaglyph=self.anaglyph,
            field_of_view=self.field_of_view,
            aspect=float(aspect),
            side=self._side(*left.shape[-2:]) if self.format == "vr180" else None,
        )

    def arrange(
        self, left: Tensor, right: Tensor, *, aspect: Fraction = Fraction(1), black: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Do what comes before packing, see `pack`: swap, shift, pad and resize the views."""
        if self.swap_eyes:
            left, right = right, left
        height, width = left.shape[-2:]
        shift = round(self.ipd_offset / 100 * width)
        if shift:
            left = self._shift(left, shift - shift // 2, black)
            right = self._shift(right, -(shift // 2), black)
        if self._pads:
            size = StereoLayout(pad=self.pad).view_size(height, width, aspect=aspect)
            left, right = _pad(left, size, black), _pad(right, size, black)
        size = self.view_size(height, width, aspect=aspect)
        if size != tuple(left.shape[-2:]):
            left, right = resize(left, *size), resize(right, *size)
        return left, right

    def _side(self, height: int, width: int) -> int:
        """Return the side of a half sphere."""
        if self.output_height:
            return self.output_height + self.output_height % 2
        return packed_size(height, width, format="vr180", field_of_view=self.field_of_view)[0]

    def _shift(self, view: Tensor, columns: int, black: float) -> Tensor:
        """Move a view to the right, or to the left if columns are below 0, and fill what is left open."""
        if columns == 0:
            return view
        moved = torch.empty_like(view)
        kept = view.shape[-1] - abs(columns)
        if columns > 0:
            moved[..., columns:], opened, edge = view[..., :kept], moved[..., :columns], view[..., :1]
        else:
            moved[..., :kept], opened, edge = view[..., -kept:], moved[..., kept:], view[..., -1:]
        if self.ipd_fill == "edge":
            opened.copy_(edge.expand_as(opened))
        else:
            opened.fill_(black)
        return moved


def _pad(view: Tensor, size: tuple[int, int], black: float) -> Tensor:
    """Put a view into the middle of a larger one."""
    height, width = view.shape[-2:]
    padded = view.new_full((*view.shape[:-2], *size), black)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    padded[..., top : top + height, left : left + width] = view
    return padded
