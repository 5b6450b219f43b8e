"""Quilts: many views in a grid, as Looking Glass displays take them, and how their files are named."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..checks import InputError
from ..contracts import check_call
from ..options import check_options, option

_MOST = 32


@dataclass(frozen=True)
class QuiltGrid:
    """How views lie in a quilt."""

    columns: int = option(2, 1, _MOST, "views", help="Views side by side.")
    rows: int = option(
        2, 1, _MOST, "views", help="Views one above the other; `columns` x `rows` is the number of views."
    )

    def check(self) -> None:
        """Check every setting.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)

    @property
    def views(self) -> int:
        """How many views there are."""
        return self.columns * self.rows

    def check_size(self, height: int, width: int, *, name: str = "images") -> None:
        """Check that pictures can be quilts of this grid.

        Args:
            height: Their height.
            width: Their width.
            name: What they are called in messages.

        Raises:
            InputError: If they cannot.
        """
        if width % self.columns or height % self.rows:
            raise InputError(
                f"`{name}` must be quilts of {self.columns}x{self.rows} views, so of a size that these "
                f"divide, got {width}x{height}; save the quilts as Quilt Packer (`pack_quilt`) made them"
            )

    def suffix(self, height: int, width: int) -> str:
        """Return the end of the file name of quilts of a size, see `quilt_suffix`."""
        aspect = (width / self.columns) / (height / self.rows)
        return quilt_suffix(columns=self.columns, rows=self.rows, aspect=aspect)


def pack_quilt(
    views: Tensor,  # [V, F, 3, H, W] in [0, 1], or uint8; from the leftmost camera to the rightmost
    *,
    columns: int,
    rows: int,
) -> Tensor:  # [F, 3, rows * H, columns * W], of the views' type
    """Lay views out in a grid, as Looking Glass displays take it: the first one at the bottom left.

    Views go from left to right and row by row upwards
    (https://docs.lookingglassfactory.com/keyconcepts/quilts).

    Args:
        views: The views, from the leftmost camera's to the rightmost one's.
        columns: Views beside each other.
        rows: Views above each other.

    Raises:
        InputError: If the views break their rule (`contracts.TABLE`), or are not as many as the grid holds.
    """
    check_call("pack_quilt", views=views)
    if columns < 1 or rows < 1 or columns * rows != len(views):
        raise InputError(
            f"`columns` x `rows` must be the number of `views` ({len(views)}), got {columns}x{rows}; choose "
            "a grid that they fill"
        )
    grid = views.unflatten(0, (rows, columns)).flip(0)  # [rows, columns, F, 3, H, W], the topmost first
    return grid.permute(2, 3, 0, 4, 1, 5).flatten(4, 5).flatten(2, 3)


def quilt_suffix(*, columns: int, rows: int, aspect: float) -> str:
    """Return the end of a quilt's file name, from which Looking Glass software knows its grid.

    Args:
        columns: Views beside each other.
        rows: Views above each other.
        aspect: Width over height of a view as it is shown.
    """
    return f"_qs{columns}x{rows}a{aspect:.2f}"
