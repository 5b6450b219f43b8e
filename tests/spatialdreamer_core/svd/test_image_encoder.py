import pytest
import torch
from diffusers.pipelines.stable_video_diffusion import pipeline_stable_video_diffusion
from transformers import CLIPImageProcessor

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.svd import embed_images

from ..tiny_svd import CONTEXT, make_image_encoder


@pytest.fixture(scope="module")
def tower():
    return make_image_encoder()


@pytest.mark.parametrize("size", [(300, 512), (224, 224), (97, 450), (576, 200), (1, 1)])
def test_frames_are_prepared_as_diffusers_pipeline_does(tower, size):
    torch.manual_seed(0)
    frames = torch.rand(2, 3, *size)
    resize = pipeline_stable_video_diffusion._resize_with_antialiasing
    pictures = (
        (resize(frames * 2 - 1, (224, 224)) + 1) / 2 if min(size) > 1 else frames.expand(2, 3, 224, 224)
    )
    pixels = CLIPImageProcessor()(
        images=pictures,
        do_resize=False,
        do_center_crop=False,
        do_rescale=False,
        return_tensors="pt",
    ).pixel_values
    with torch.no_grad():
        expected = tower(pixels).image_embeds[:, None]
    torch.testing.assert_close(embed_images(tower, frames), expected, atol=1e-5, rtol=0)


def test_the_autocast_of_a_training_changes_nothing(tower):
    frames = torch.rand(2, 3, 40, 60)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = embed_images(tower, frames)
    assert torch.equal(embeddings, embed_images(tower, frames))


def test_a_token_a_frame_in_chunks_as_in_one(tower):
    frames = torch.rand(5, 3, 40, 60)
    whole = embed_images(tower, frames)
    assert whole.shape == (5, 1, CONTEXT)
    assert not whole.requires_grad
    torch.testing.assert_close(embed_images(tower, frames, chunk=2), whole, atol=1e-6, rtol=0)


def test_the_encoders_precision_is_kept():
    tower = make_image_encoder()
    frames = torch.rand(1, 3, 64, 64)
    expected = embed_images(tower, frames)
    half = embed_images(tower.to(torch.bfloat16), frames.half())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, atol=0.05, rtol=0.05)


def test_bad_input(tower):
    with pytest.raises(InputError, match=r"`frames` must have 3 channel\(s\), got 4"):
        embed_images(tower, torch.zeros(1, 4, 8, 8))
    with pytest.raises(InputError, match="`chunk` must be at least 1 frame, got 0"):
        embed_images(tower, torch.zeros(1, 3, 8, 8), chunk=0)
