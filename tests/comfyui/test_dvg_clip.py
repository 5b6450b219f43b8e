"""Build DVG Clip in a running ComfyUI."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from .server import ExecutionFailed, RequestRefused, texts_on
from .test_image import photo  # noqa: F401

NODE = "SpatialDreamerBuildDVGClip"


def prompt(photo, **inputs) -> dict:  # noqa: F811
    settings = {"image": ["1", 0], "depth": ["2", 0], "invert_depth": False, "divergence": 10.0}
    settings |= {"convergence": 0.0, "side": "right", "edge_width": 0}
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": photo[0]}},
        "2": {"class_type": "LoadImage", "inputs": {"image": photo[1]}},
        "3": {"class_type": NODE, "inputs": settings | inputs},
        "4": {"class_type": "MaskToImage", "inputs": {"mask": ["3", 3]}},
        **{
            str(number): {"class_type": "PreviewImage", "inputs": {"images": source}}
            for number, source in enumerate((["3", 0], ["3", 1], ["3", 2], ["4", 0]), start=5)
        },
    }


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_pair_comes_out_as_pictures_and_mask(comfy_server, photo, tmp_path, side):  # noqa: F811
    outputs, told = comfy_server.run_and_watch(prompt(photo, side=side))
    files = [outputs[str(number)]["images"][0] for number in range(5, 9)]
    pictures = [Image.open(comfy_server.fetch(file, tmp_path)).convert("RGB") for file in files]
    target, reference, warped, hole = (np.asarray(picture).astype(float) for picture in pictures)
    assert np.array_equal(target, photo[2])
    assert np.abs(reference - target).mean() > 5
    known = hole[..., 0] < 128
    assert np.abs(warped - target)[known].mean() < 0.3 * np.abs(reference - target)[known].mean()
    assert not warped[~known].any()
    inner = np.argwhere(~known[:, 20:140])[:, 1] + 20
    assert (inner < 60).all() if side == "right" else (inner > 99).all()
    assert len(inner) > 100
    assert texts_on(told, "3")[-1] == f"holes: {100 * (~known).mean():.1f} % of the pixels"


def test_what_cannot_be_rendered_is_told(comfy_server, photo):  # noqa: F811
    with pytest.raises(RequestRefused, match="divergence must be between 0 and 20"):
        comfy_server.queue(prompt(photo, divergence=99.0))
    with pytest.raises(RequestRefused, match="side"):
        comfy_server.queue(prompt(photo, side="both"))
    with pytest.raises(ExecutionFailed, match="`depth` must have as many frames as `image`"):
        comfy_server.run(
            prompt(photo, depth=["9", 0])
            | {"9": {"class_type": "RepeatImageBatch", "inputs": {"image": ["2", 0], "amount": 2}}}
        )
