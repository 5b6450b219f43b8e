"""The guided filter with a colour guide (He, Sun and Tang, PAMI 2013), and edges made steep after it.

In each window the result is an affine function of the guide's colour, `q = a . I + b`, so that edges of the
result lie on the guide's edges. Coefficients found at a small size and applied to the full-size guide are the
"fast guided filter" (He and Sun, arXiv 1505.00996).
"""

from __future__ import annotations

import cv2
import numpy as np


class ColourGuide:
    """A guide image, prepared once for filtering any number of maps with the same window.

    Args:
        image: Guide, [h, w, 3] float32 in [0, 1].
        radius: The window is 2 * radius + 1 pixels wide.
        epsilon: Variance of colour below which detail of the guide counts as texture and is smoothed over.
        shrink: The coefficients are found at a size smaller by this factor.
    """

    def __init__(self, image: np.ndarray, *, radius: int, epsilon: float, shrink: int = 1) -> None:
        self._full = image
        if shrink > 1:
            size = max(1, image.shape[1] // shrink), max(1, image.shape[0] // shrink)
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            radius = max(1, round(radius / shrink))
        self._window = (2 * radius + 1, 2 * radius + 1)
        self._planes = r, g, b = cv2.split(image)
        self._means = mean_r, mean_g, mean_b = cv2.split(self._box(image))
        rr, rg, rb, gg = cv2.split(self._box(cv2.merge([r * r, r * g, r * b, g * g])))
        gb, bb = cv2.split(self._box(cv2.merge([g * b, b * b])))
        rr, gg, bb = (square - m * m + epsilon for square, m in ((rr, mean_r), (gg, mean_g), (bb, mean_b)))
        rg, rb, gb = rg - mean_r * mean_g, rb - mean_r * mean_b, gb - mean_g * mean_b
        # Inverse of the symmetric 3x3 covariance by cofactors.
        c_rr, c_rg, c_rb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
        scale = 1 / (rr * c_rr + rg * c_rg + rb * c_rb)
        self._inverse = (
            (c_rr * scale, c_rg * scale, c_rb * scale),
            (c_rg * scale, (rr * bb - rb * rb) * scale, (rb * rg - rr * gb) * scale),
            (c_rb * scale, (rb * rg - rr * gb) * scale, (rr * gg - rg * rg) * scale),
        )

    def coefficients(self, values: np.ndarray) -> np.ndarray:
        """Return the averaged coefficients (a_r, a_g, a_b, b), [h, w, 4], for a map of the guide's size."""
        size = self._planes[0].shape
        if values.shape != size:
            values = cv2.resize(values, size[::-1], interpolation=cv2.INTER_AREA)
        products = [plane * values for plane in self._planes]
        *products, mean = cv2.split(self._box(cv2.merge([*products, values])))
        cov = [product - channel * mean for product, channel in zip(products, self._means, strict=True)]
        slopes = [sum(row[k] * cov[k] for k in range(3)) for row in self._inverse]
        offset = mean - sum(slope * channel for slope, channel in zip(slopes, self._means, strict=True))
        return self._box(cv2.merge([*slopes, offset]))

    def filter(self, values: np.ndarray) -> np.ndarray:
        """Filter a map [h, w] float32."""
        return apply_coefficients(self.coefficients(values), self._full)

    def _box(self, values: np.ndarray) -> np.ndarray:
        """Average over the window."""
        return cv2.boxFilter(values, -1, self._window, borderType=cv2.BORDER_REFLECT)


def apply_coefficients(coefficients: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Evaluate `a . I + b` at the guide's size; the coefficients [h, w, 4] may be of a smaller size.

    Channel by channel: it takes the memory of three planes of the guide's size.
    """
    height, width = image.shape[:2]
    same = coefficients.shape[:2] == (height, width)
    result = np.zeros((height, width), np.float32)
    for channel in (3, 0, 1, 2):
        plane = cv2.extractChannel(coefficients, channel)
        if not same:
            plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        result += plane * cv2.extractChannel(image, channel) if channel < 3 else plane
    return result


def guided_upsample(
    values: np.ndarray,  # [h, w] float32
    image: np.ndarray,  # [H, W, 3] uint8
    *,
    size: tuple[int, int],  # (height, width) at which the coefficients are found
    radius: int,
    epsilon: float,
) -> np.ndarray:  # [H, W]
    """Bring a map to an image's size with its edges on the image's edges: the fast guided filter.

    Args:
        values: The map, of any size.
        image: The guide, of the result's size.
        size: A size not larger than the image; it bounds the work.
        radius: The window is 2 * radius + 1 pixels of `size` wide.
        epsilon: See `ColourGuide`.
    """
    small = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    coefficients = ColourGuide(small, radius=radius, epsilon=epsilon).coefficients(values)
    coefficients[..., :3] /= 255
    return apply_coefficients(coefficients, image)
