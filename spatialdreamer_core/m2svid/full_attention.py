"""Full attention of masked tokens (M2SVid): what is in a hole sees all frames of its window.

After each spatial transformer block, the masked tokens of all frames of a window go through the same block
once more: self-attention from them (after norm1) to the tokens that the block took in, of all frames and, as
in the authors' network, without norm1; cross-attention to the image embeddings of all frames; feed-forward.
Its results take the place of the first pass' at these tokens. A token is masked where the mask, brought to
the level's size bilinearly, is above 0.

The second pass runs on a chunk of the masked tokens at a time. Chunks do not see each other, so their size
changes nothing but memory: beside the keys and values of all tokens, which are made once a block and region,
it grows with the chunk alone. UNet and blocks stay diffusers' own; the pass comes in by forward hooks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_range
from ..memory import run_within_memory
from ..svd.hole_regions import varying_sizes

LEAST_CHUNK = 256  # tokens; fewer at once save no memory that counts beside the keys and values
_MOST_CHUNK = 1 << 24


@contextmanager
def full_attention(
    unet: Any,
    mask: Tensor,  # [B, F, 1, h, w] in [-1, 1], above 0: hole
    *,
    query_chunk: int,
) -> Iterator[None]:
    """Let the masked tokens of each region see all its frames while the UNet runs in the `with` block.

    Where memory runs out, the chunk is halved, down to 256, for this and the blocks after it.

    Args:
        unet: SVD's UNet, on its device; its transformers are given each frame's own embedding.
        mask: The mask of each region of the batch.
        query_chunk: Masked tokens that attend at once, at least 1.

    Raises:
        InputError: If `query_chunk` is out of range.
    """
    check_range("query_chunk", query_chunk, 1, _MOST_CHUNK, "tokens", whole=True)
    tokens = masked_tokens(mask, levels=len(unet.config.block_out_channels))
    device = next(unet.parameters()).device
    on_device = {size: [part.to(device) for part in parts] for size, parts in tokens.items()}
    second_pass = _SecondPass(on_device, query_chunk)
    hooks = [
        block.register_forward_hook(second_pass, with_kwargs=True)
        for module in unet.modules()
        if isinstance(module, TransformerSpatioTemporalModel)
        for block in module.transformer_blocks
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def masked_tokens(
    mask: Tensor,  # [B, F, 1, h, w] in [-1, 1]
    *,
    levels: int = 4,
) -> dict[int, list[Tensor]]:  # by a frame's tokens: the masked ones [N] of each region, on the CPU
    """List the masked tokens of each region, counted through all its frames, at each level of the UNet.

    The one look at the values of the mask: no block has to wait for the device.

    Args:
        mask: The mask of each region, at the finest level.
        levels: Of the UNet, each half as high and wide as the one before.
    """
    batch, _, _, height, width = mask.shape
    flat = mask.detach().flatten(0, 1).float().cpu()
    found = {}
    for level in range(levels):
        size = (-(-height >> level), -(-width >> level))
        small = F.interpolate(flat, size=size, mode="bilinear", align_corners=False)
        found[size[0] * size[1]] = [(region > 0).flatten().nonzero()[:, 0] for region in small.chunk(batch)]
    return found


class _SecondPass:
    """A forward hook of spatial transformer blocks.

    Args:
        tokens: The masked tokens of each region by the number of a frame's tokens, on the UNet's device.
        query_chunk: Masked tokens at once, to begin with.
    """

    def __init__(self, tokens: dict[int, list[Tensor]], query_chunk: int) -> None:
        self._tokens = tokens
        self._chunk = query_chunk

    def __call__(
        self,
        block: Any,
        args: tuple[Tensor],
        kwargs: dict[str, Tensor],
        output: Tensor,  # [B·F, N, C]
    ) -> Tensor:  # [B·F, N, C]
        """Run the pass on what a block took in, and put its results into what the block gave."""
        regions = self._tokens[output.shape[1]]
        inputs, results, embeddings = (
            tensor.unflatten(0, (len(regions), -1)).flatten(1, 2)
            for tensor in (args[0], output, kwargs["encoder_hidden_states"])
        )
        with varying_sizes():
            for region, masked in enumerate(regions):
                if len(masked):
                    self._refine(block, inputs[region], embeddings[region], masked, results[region])
        return results.view_as(output)

    def _refine(
        self,
        block: Any,
        inputs: Tensor,  # [F·N, C]
        embeddings: Tensor,  # [F, D]
        masked: Tensor,  # [M]
        results: Tensor,  # [F·N, C], of which the masked ones are replaced
    ) -> None:
        """Refine the masked tokens of a region, in as large chunks as memory allows."""
        attention = block.attn1

        def run(chunk: int) -> None:
            key, value = (_heads(project(inputs), attention) for project in (attention.to_k, attention.to_v))
            for part in masked.split(chunk):
                tokens = inputs[part]
                tokens += _attend(attention, block.norm1(tokens), key, value)
                tokens += block.attn2(block.norm2(tokens)[None], encoder_hidden_states=embeddings[None])[0]
                tokens += block.ff(block.norm3(tokens))
                results[part] = tokens

        first = min(self._chunk, len(masked))
        _, chunk = run_within_memory(
            run,
            first,
            smaller=lambda size: max(LEAST_CHUNK, size // 2) if size > LEAST_CHUNK else None,
            task="full attention",
            describe="{} tokens at once".format,
            explain=None,
        )
        if chunk < first:
            self._chunk = chunk


def _attend(
    attention: Any,
    tokens: Tensor,  # [M, C]
    key: Tensor,  # [1, heads, F·N, C / heads]
    value: Tensor,  # [1, heads, F·N, C / heads]
) -> Tensor:  # [M, C]
    """Let some tokens attend to given keys and values."""
    query = _heads(attention.to_q(tokens), attention)
    mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)[0]
    for layer in attention.to_out:
        mixed = layer(mixed)
    return mixed


def _heads(tokens: Tensor, attention: Any) -> Tensor:  # [M, C] -> [1, heads, M, C / heads]
    """Split tokens for the heads of an attention."""
    return tokens.unflatten(-1, (attention.heads, -1)).transpose(0, 1)[None]
