"""The two variants of M2SVid that were released, which nothing in their weights tells apart.

They have the same tensors: the full attention of masked tokens uses the weights of the ordinary one. So a
file must say by its metadata or its name which of the two it is, or the user must.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ..checks import InputError, check_choice
from ..options import check_options, option
from ..weights.files import Header

_LOGGER = logging.getLogger(__name__)

Variant = Literal["full_attention", "no_full_attention"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
FULL_ATTENTION = VARIANTS[0]
ADDRESS = "https://storage.googleapis.com/gresearch/m2svid/m2svid_weights.zip"  # of the release, 8.5 GB
AGAIN = f"download it again from {ADDRESS}"
METADATA = "m2svid.variant"  # what the variant is called in a file's metadata
_NAMES: dict[Variant, str] = {  # of the authors' files and of those that others made of them, in lower case
    "no_full_attention": r"(?<![a-z])(no|without|wo)[-_ ]?full",
    "full_attention": r"m2svid[-_ ](weights|combined)|full[-_ ]?att",
}


@dataclass(frozen=True)
class FileConfig:
    """What must be said of a file that does not say it itself."""

    variant: Literal["auto", "full_attention", "no_full_attention"] = option(
        "auto",
        advanced=True,
        help="Which of M2SVid's two variants the weights are: with full attention of the tokens in holes, as "
        "in m2svid_weights.pt, or without it, as in m2svid_no_full_atten_weights.pt. auto goes by the file's "
        "metadata or name.",
    )
    svd: str | os.PathLike[str] | None = option(
        None,
        metavar="FILE",
        advanced=True,
        help="Stable Video Diffusion, such as svd_xt.safetensors, for a file without autoencoder or image "
        "encoder; the published ones have both.",
    )

    @property
    def given_variant(self) -> Variant | None:
        """The variant, if it is said."""
        return None if self.variant == "auto" else self.variant

    def check(self) -> None:
        """Check every option.

        Raises:
            InputError: For the first one that breaks its rule.
        """
        check_options(self)


def name_variant(name: str) -> Variant | None:
    """Tell a variant by the name of its file; None if it says nothing."""
    return next((variant for variant, text in _NAMES.items() if re.search(text, name.lower())), None)


def read_variant(file: Path, header: Header, given: Variant | None = None) -> Variant:
    """Find out which variant a file holds: by what its own metadata says, or else by its name.

    Args:
        file: The file.
        header: Its header.
        given: What the user says it is; needed if nothing else does, and must not contradict it.

    Raises:
        InputError: If it cannot be told, or contradicts what is given.
    """
    if given is not None:
        check_choice("variant", given, VARIANTS)
    said = header.metadata.get(METADATA)
    if said is not None:
        check_choice(f"{METADATA} in the metadata of {file}", said, VARIANTS)
    found = next((each for each in VARIANTS if each == said), name_variant(file.name))
    why = "its metadata says so" if said is not None else "its name says so"
    if found is None and given is None:
        raise InputError(
            f"the variant of {file} must be known, but neither its metadata nor its name tells it, got "
            f"{file.name!r}; give `variant`: {FULL_ATTENTION} for what was made of m2svid_weights.pt, "
            f"{VARIANTS[1]} for what was made of m2svid_no_full_atten_weights.pt"
        )
    if found is not None and given not in (None, found):
        raise InputError(
            f"`variant` must be that of the weights, {found} ({why}) of {file}, got {given}; choose the "
            "other file, or leave `variant` out"
        )
    variant = given if found is None else found
    assert variant is not None, file
    _LOGGER.info("%s: M2SVid, %s, as %s", file.name, variant, "was given" if found is None else why)
    return variant
