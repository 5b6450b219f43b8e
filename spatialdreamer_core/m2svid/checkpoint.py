"""M2SVid's files: as its authors publish them, as others re-host them, and as `convert_m2svid` writes them.

All have sgm's names. The authors' `.pt` is what DeepSpeed saved in training: the whole network, under
`module` and with `module.` before each name. It conditions on what two more copies of SVD's autoencoder make
of the views (`conditioner.embedders.3` and `.5`, frozen, both begun from the same weights of SVD), while
`first_stage_model` decodes. We have one autoencoder: the encoder of the former and the decoder of the latter.
`convert_m2svid` writes it in that form, under `first_stage_model`.
"""

from __future__ import annotations

import logging
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ..checks import InputError
from ..parsing import parsing
from ..svd.checkpoint.identify import M2SVID, identify
from ..svd.checkpoint.networks import ADDRESS as SVD_ADDRESS
from ..svd.checkpoint.sgm_keys import IMAGE_ENCODER, UNET, VAE
from ..svd.checkpoint.single_file import (
    Part,
    check_parts,
    find_image_encoder,
    find_unet,
    find_vae,
    read_svd_header,
)
from ..svd.unet import XT_FRAMES
from ..weights.files import Header, read_header
from ..weights.torch_archive import is_archive, read_archive
from .model import VIEWS
from .variant import ADDRESS, AGAIN, Variant, read_variant

_LOGGER = logging.getLogger(__name__)

_TRAINED = "module."  # before each name in DeepSpeed's files
_CONDITIONER = "conditioner.embedders.3.encoder."  # of the left view, an autoencoder
_ENCODER = ("encoder.", "quant_conv.")  # of an autoencoder
_UNUSED = re.escape(f"{VAE}loss.")
_QUANTISED = r".*\.(_data|_scale|weight_scale|scale_weight|qweight|qzeros|absmax)$"
_PARTS = {"autoencoder": f"{VAE}decoder.", "image encoder": IMAGE_ENCODER}  # by the start of some names


@dataclass(frozen=True)
class Checkpoint:
    """The networks of a file, on the meta device, and where their weights are."""

    file: Path
    variant: Variant
    unet: Part
    vae: Part
    image_encoder: Part

    @property
    def parts(self) -> tuple[Part, ...]:
        """All three."""
        return self.unet, self.vae, self.image_encoder


def read_checkpoint(
    file: Path | str, *, variant: Variant | None = None, svd: str | os.PathLike[str] | None = None
) -> Checkpoint:
    """Read what a file holds, and check all that can be checked without reading weights.

    Args:
        file: The authors' `.pt`, or safetensors.
        variant: Which one it is; None: see `read_variant`.
        svd: A single safetensors file of Stable Video Diffusion, for networks that the file lacks.

    Raises:
        InputError: If it is damaged, unsafe, quantised, incomplete or of another model or variant.
    """
    file = Path(file)
    header = _read_names(file)
    variant = read_variant(file, header, variant)
    lacking = [
        what for what, prefix in _PARTS.items() if not any(name.startswith(prefix) for name in header.shapes)
    ]
    other = header
    if lacking and svd is None:
        raise InputError(
            f"{file} must hold M2SVid's three networks, but it lacks the {' and the '.join(lacking)}; name "
            f"svd_xt.safetensors from {SVD_ADDRESS}, which has the same, as `svd`, or choose "
            f"m2svid_weights.pt from {ADDRESS}"
        )
    if lacking and svd is not None:
        other = read_svd_header(Path(svd))
        _LOGGER.info("%s lacks the %s: taken from %s", file.name, " and the ".join(lacking), svd)
    unet = find_unet(header, frames=XT_FRAMES, views=VIEWS)
    vae = find_vae(other if "autoencoder" in lacking else header)
    image_encoder = find_image_encoder(other if "image encoder" in lacking else header)
    parts = (unet, vae, image_encoder)
    own = [part for part in parts if part.header is header]
    check_parts(header, own, unused=_UNUSED, what="M2SVid", address=ADDRESS)
    if other is not header:
        check_parts(other, [part for part in parts if part.header is other], unused=".*")
    return Checkpoint(file, variant, *parts)


def _read_names(file: Path) -> Header:
    """Read a file's header, with the names that its tensors have as SVD's."""
    header = _read_header(file)
    quantised = [name for name in header.shapes if re.match(_QUANTISED, name)]
    if quantised:
        raise InputError(
            f"{file} must hold M2SVid's weights as floats, got quantised ones (such as {quantised[0]}), "
            "which need the program that made them; choose a re-host in fp16, or m2svid_weights.pt from "
            f"{ADDRESS}"
        )
    names = {name.removeprefix(_TRAINED): name for name in header.shapes}
    kind = identify({short: header.shapes[name] for short, name in names.items()})
    if kind != M2SVID:
        raise InputError(
            f"{file} must be a checkpoint of M2SVid, whose UNet has 13 input channels, got what looks like "
            f"{kind}; choose m2svid_weights.pt from {ADDRESS}, or what `spatialdreamer m2svid convert` made "
            "of it"
        )
    own = {
        VAE + part: name
        for short, name in names.items()
        if (part := short.removeprefix(_CONDITIONER)) != short and part.startswith(_ENCODER)
    }
    decoder = _PARTS["autoencoder"]
    if not any(short.startswith(decoder) for short in names):
        own = {}  # half an autoencoder
    starts = (UNET, IMAGE_ENCODER, decoder if own else VAE)
    return header.renamed(own | {short: name for short, name in names.items() if short.startswith(starts)})


def _read_header(file: Path) -> Header:
    """Read the header of a file in either form."""
    if file.is_dir():
        raise InputError(f"M2SVid must be a single file, got the folder {file}; choose a file in it")
    if not file.is_file():
        raise InputError(
            f"M2SVid must be a .pt or safetensors file, but there is no file {file}; check the path"
        )
    if not file.stat().st_size:
        raise InputError(f"M2SVid must be a .pt or safetensors file, got the empty file {file}; {AGAIN}")
    if not is_archive(file):
        return read_header(file)
    inside = list_release(file)
    if inside:
        raise InputError(
            f"M2SVid must be a .pt or safetensors file, got {file}, the release that holds "
            f"{' and '.join(inside)}; unpack it, or run: spatialdreamer m2svid convert {file.name} "
            "m2svid_fp16.safetensors"
        )
    return read_archive(file, again=AGAIN)


def list_release(file: Path) -> list[str]:
    """List the weights in a zip archive of the release; none if it is another archive or not whole."""
    with parsing(file, rule="a release must be a readable zip archive", remedy=AGAIN):
        if not zipfile.is_zipfile(file):
            return []
        with zipfile.ZipFile(file) as archive:
            return [name for name in archive.namelist() if name.endswith(".pt") and "__MACOSX" not in name]
