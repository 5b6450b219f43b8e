import numpy as np
import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.m2svid import ViewNoise, encode_window, prepare_holes
from spatialdreamer_core.m2svid.inputs import mask_to_latents
from spatialdreamer_core.svd import embed_images, encode_frames

STILL = ViewNoise(strength=0)


def random_holes(frames=2, height=40, width=56, share=0.01):
    generator = torch.Generator().manual_seed(3)
    return (torch.rand(frames, 1, height, width, generator=generator) < share).float()


def test_masks_are_opencvs_as_in_the_authors_script():
    cv2 = pytest.importorskip("cv2")
    hole = random_holes()
    hole[1, :, :2], hole[1, :, 20:30, -1] = 1, 1  # at borders
    warped = torch.rand(2, 3, 40, 56)
    black, mask = prepare_holes(warped, hole)
    for frame in range(2):
        closed = cv2.morphologyEx(hole[frame, 0].numpy(), cv2.MORPH_CLOSE, np.ones((11, 11), np.uint8))
        assert torch.equal(black[frame], torch.where(torch.from_numpy(closed) > 0.5, 0, warped[frame]))
        assert torch.equal(mask[frame, 0], torch.from_numpy(cv2.dilate(closed, np.ones((3, 3), np.uint8))))


def test_a_hole_of_one_pixel_is_nine_in_the_mask_and_black_alone():
    hole = torch.zeros(1, 1, 20, 20)
    hole[..., 9, 9] = 1
    black, mask = prepare_holes(torch.ones(1, 3, 20, 20), hole)
    assert black.sum() == 3 * 399
    assert mask.sum() == mask[..., 8:11, 8:11].sum() == 9


def test_holes_ten_pixels_apart_grow_together_and_others_do_not():
    hole = torch.zeros(2, 1, 30, 40)
    hole[:, :, 12:18, 10] = 1
    hole[0, :, 12:18, 20], hole[1, :, 12:18, 22] = 1, 1
    black, _ = prepare_holes(torch.ones(2, 3, 30, 40), hole)
    assert black[0, 0, 14].sum() == 40 - 11
    assert black[1, 0, 14].sum() == 40 - 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_gives_the_same_mask(dtype):
    warped, hole = torch.rand(2, 3, 40, 56), random_holes()
    black, mask = prepare_holes(warped.to(dtype), hole.to(dtype))
    expected = prepare_holes(warped.to(dtype).float(), hole)
    assert black.dtype == dtype
    assert torch.equal(black.float(), expected[0].float())
    assert torch.equal(mask.float(), expected[1])


def test_the_mask_of_a_latent_is_that_of_its_four_middle_pixels():
    mask = random_holes(share=0.5)
    small = mask_to_latents(mask, size=(5, 7))
    middle = mask.unfold(2, 8, 8).unfold(3, 8, 8)[..., 3:5, 3:5].mean((-1, -2))
    torch.testing.assert_close(small, middle * 2 - 1)


def test_a_window_is_encoded_view_by_view(model, window):
    left, warped, hole = window
    encoded = encode_window(model, *window, noise=STILL)
    black, mask = prepare_holes(warped, hole)
    torch.testing.assert_close(encoded.left, encode_frames(model.svd.vae, left))
    torch.testing.assert_close(encoded.warped, encode_frames(model.svd.vae, black))
    torch.testing.assert_close(encoded.embeddings, embed_images(model.svd.image_encoder, left))
    assert torch.equal(encoded.mask, mask_to_latents(mask, size=(8, 8)))
    assert encoded.mask.unique().tolist() == [-1, 1]
    assert {tensor.dtype for tensor in encoded} == {torch.float32}


def test_finished_frames_are_all_known_and_bear_no_noise(model, window):
    left, warped, hole = window
    encoded = encode_window(model, *window, finished=2)
    still = encode_window(model, left, warped, hole, noise=STILL)
    assert (encoded.mask[:2] == -1).all()
    assert torch.equal(encoded.mask[2], still.mask[2])
    torch.testing.assert_close(encoded.warped[:2], encode_frames(model.svd.vae, warped[:2]))
    assert not torch.equal(encoded.warped[2], still.warped[2])
    assert not torch.equal(encoded.left[0], still.left[0])
    assert torch.equal(encoded.embeddings, still.embeddings)


def test_noise_has_the_published_strength(model, window, monkeypatch):
    seen = []
    monkeypatch.setattr(
        type(model.svd.codec), "encode", lambda self, frames: seen.append(frames) or torch.zeros(3, 4, 8, 8)
    )
    left, warped, hole = window
    encode_window(model, left, warped, hole)
    for noisy, view in zip(seen, (left, prepare_holes(warped, hole)[0]), strict=True):
        assert float((noisy - view).std()) * 2 == pytest.approx(0.02, rel=0.02)
    assert not torch.allclose(seen[0] - left, seen[1] - prepare_holes(warped, hole)[0], atol=1e-3)


def test_a_frame_has_its_noise_in_every_window_and_region(model, window):
    left, warped, hole = (torch.cat([view, view], dim=3)[:2] for view in window)
    whole = encode_window(model, left, warped, hole, noise=ViewNoise(seed=5, first_frame=8))
    later = encode_window(model, left[1:], warped[1:], hole[1:], noise=ViewNoise(seed=5, first_frame=9))
    torch.testing.assert_close(later.warped[0], whole.warped[1], rtol=0, atol=1e-4)
    seen = []

    def record(self, frames):
        seen.append(frames)
        return torch.zeros(len(frames), 4, 8, frames.shape[-1] // 8)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.svd.codec), "encode", record)
        encode_window(model, left, warped, hole)
        part = (view[..., 64:] for view in (left, warped, hole))
        encode_window(model, *part, noise=ViewNoise(corner=(0, 64)))
    assert torch.equal(seen[0][..., 64:], seen[2])


def test_given_embeddings_are_taken_without_the_image_tower(model, window):
    given, works = torch.rand(3, 1, 32), []
    model.on_work = works.append
    assert torch.equal(encode_window(model, *window, embeddings=given).embeddings, given)
    model.on_work = None
    assert [work.networks for work in works] == [(model.svd.vae,)]


def test_frames_are_told_as_they_are_done_and_networks_are_asked_for(model, window):
    done, works = [], []
    model.on_work = works.append
    encode_window(model, *(view.repeat(2, 1, 1, 1) for view in window), on_frame=done.append)
    model.on_work = None
    assert done == [4, 6]
    assert [(work.networks, work.frames, work.height, work.width) for work in works] == [
        ((model.svd.vae, model.svd.image_encoder), 6, 64, 64)
    ]


def test_what_does_not_belong_together_is_refused(model, window):
    left, warped, hole = window
    with pytest.raises(InputError, match=r"`warped` must have as many frames as `left` \(3\), got 2"):
        encode_window(model, left, warped[:2], hole)
    with pytest.raises(InputError, match=r"`hole` must have the size of `left` \(64x64\), got 32x64"):
        encode_window(model, left, warped, hole[..., :32])
    with pytest.raises(InputError, match=r"multiples of 64 px, got 32x64; pad the frames with"):
        encode_window(model, left[..., :32], warped[..., :32], hole[..., :32])
    with pytest.raises(InputError, match=r"finished must be between 0 and 3 \(frames\), got 4"):
        encode_window(model, *window, finished=4)
    bad = warped.clone()
    bad[1, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match=r"`frames` must be finite, got 1 NaN"):
        encode_window(model, left, bad, hole)
    with pytest.raises(InputError, match=r"`hole` must have 1 channel"):
        prepare_holes(warped, warped)
