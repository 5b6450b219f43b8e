import pytest
import torch
from torch.nn import functional as F

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.svd.padding import crop_to, pad_to_multiple, pool_mask


def test_padding_repeats_the_last_column_and_row():
    frames = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert pad_to_multiple(frames, 3).tolist() == [[[[1, 2, 2], [3, 4, 4], [3, 4, 4]]]]


@pytest.mark.parametrize("size", [(1, 1), (64, 128), (65, 63), (5, 200), (129, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_padding_equals_replication_and_is_undone_by_cropping(size, dtype):
    frames = torch.rand(2, 3, *size).to(dtype)
    padded = pad_to_multiple(frames)
    height, width = padded.shape[-2:]
    assert height % 64 == width % 64 == 0
    assert height - size[0] < 64
    assert width - size[1] < 64
    wanted = F.pad(frames.float(), (0, width - size[1], 0, height - size[0]), mode="replicate")
    torch.testing.assert_close(padded.float(), wanted, rtol=0, atol=0)
    assert torch.equal(crop_to(padded, height=size[0], width=size[1]), frames)


def test_padding_of_masks_and_of_nothing():
    mask = torch.tensor([[[[0.0, 1.0]]]])
    assert pad_to_multiple(mask, 4)[0, 0].tolist() == [[0, 1, 1, 1]] * 4
    whole = torch.rand(1, 1, 64, 64)
    assert pad_to_multiple(whole) is whole


def test_cropping_more_than_there_is_is_an_error():
    with pytest.raises(
        InputError, match=r"at least as large as what is cut out of them \(9x4\), got 8x4; give"
    ):
        crop_to(torch.zeros(1, 3, 4, 8), height=4, width=9)
    with pytest.raises(InputError, match="must be a video tensor"):
        pad_to_multiple(torch.zeros(3, 4, 8))


def test_mask_is_pooled_by_its_maximum():
    mask = torch.zeros(2, 1, 16, 20)
    mask[0, 0, 7, 8] = 1  # in the first row of latents, the second column
    mask[1, 0, 15, 19] = 1  # in the last, which is four pixels wide
    pooled = pool_mask(mask)
    assert pooled[0, 0].tolist() == [[0, 1, 0], [0, 0, 0]]
    assert pooled[1, 0].tolist() == [[0, 0, 0], [0, 0, 1]]
    with pytest.raises(InputError, match="`mask` must have 1 channel"):
        pool_mask(torch.zeros(1, 3, 8, 8))
