import json

import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.depth.preprocess import prepare, read_preprocessing, restore


@pytest.fixture
def read(tmp_path):
    def read_config(family, config):
        path = tmp_path / "preprocessor_config.json"
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return read_preprocessing(path, family)

    return read_config


@pytest.mark.parametrize(
    ("family", "module", "name"),
    [
        ("dpt", "dpt.image_processing_pil_dpt", "DPTImageProcessorPil"),
        ("depth_anything", "dpt.image_processing_pil_dpt", "DPTImageProcessorPil"),
        ("zoedepth", "zoedepth.image_processing_pil_zoedepth", "ZoeDepthImageProcessorPil"),
    ],
)
@pytest.mark.parametrize("size", [(60, 100), (100, 60), (30, 52)])
def test_it_does_as_the_processors_of_transformers(tiny_models, read, family, module, name, size):
    processors = pytest.importorskip(f"transformers.models.{module}", exc_type=ImportError)
    config = tiny_models.PREPROCESSORS[family]
    coarse = torch.rand(3, 6, 10, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.interpolate(coarse[None], size, mode="bicubic").clamp(0, 1)
    image = (image * 255).round() / 255
    expected = getattr(processors, name)(**config)(
        np.ascontiguousarray((image[0] * 255).byte().permute(1, 2, 0).numpy()), return_tensors="pt"
    )["pixel_values"]
    ours = prepare(image, read(family, config))
    assert ours.shape == expected.shape
    tolerance = 1e-4 if family == "zoedepth" else 0.04  # PIL rounds to 8 bits on its way
    assert (ours - expected).abs().max() < tolerance


def test_sizes_keep_the_shape_in_multiples(read):
    config = {"size": {"height": 518, "width": 518}, "keep_aspect_ratio": True, "ensure_multiple_of": 14}
    preprocessing = read("depth_anything", config)
    assert preprocessing.input_size(720, 1280) == (518, 924)
    assert preprocessing.input_size(1920, 1080) == (924, 518)
    assert read("dpt", {"size": 384}).input_size(720, 1280) == (384, 384)
    assert read("depth_pro", {}).input_size(10, 10) == (1536, 1536)


@pytest.mark.parametrize("family", ["dpt", "depth_anything", "zoedepth", "depth_pro"])
def test_the_output_comes_back_to_its_place(tiny_models, read, family):
    preprocessing = read(family, tiny_models.PREPROCESSORS[family])
    ramp = torch.linspace(0, 1, 100).expand(1, 3, 60, 100)
    seen = prepare(ramp, preprocessing)[:, 0] * preprocessing.std[0] + preprocessing.mean[0]
    back = restore(seen, preprocessing, (60, 100))
    assert back.shape == (1, 1, 60, 100)
    assert (back[0, 0, :, 5:-5] - ramp[0, 0, :, 5:-5]).abs().max() < 0.04


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"size": "large"}', '{"image_mean": [0.5]}'])
def test_a_file_without_such_content_is_named(read, text):
    with pytest.raises(InputError, match=r"preprocessor_config\.json must be the .* of a dpt model"):
        read("dpt", text)
