"""The command `m2svid convert`: its arguments, and what it does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .arguments import add_common, add_options, given_options
from .m2svid.variant import ADDRESS, FileConfig
from .options import options_of
from .process import Signals
from .progress_bar import ProgressBar


def add_m2svid_commands(subparsers: Any) -> None:
    """Describe the command to the command line's parser.

    Args:
        subparsers: What `add_subparsers` returned.
    """
    m2svid = subparsers.add_parser(
        "m2svid",
        help="convert the published weights of M2SVid",
        description="Convert the published weights of M2SVid.",
    )
    commands = m2svid.add_subparsers(required=True, metavar="COMMAND")
    convert = commands.add_parser(
        "convert",
        help="make one safetensors file of M2SVid's release",
        description="Make one safetensors file of M2SVid's release, for the filler m2svid and for ComfyUI, "
        f"which looks in models/m2svid. The release is at {ADDRESS} (8.5 GB, Apache-2.0) and holds both "
        "variants, of which the one with full attention is taken unless --variant names the other. Nothing "
        "is downloaded here.",
    )
    convert.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="The release (m2svid_weights.zip), a .pt file of it, or safetensors in the same names.",
    )
    convert.add_argument("target", type=Path, metavar="TARGET", help="The .safetensors file to write.")
    add_options(convert, options_of(FileConfig).values())
    convert.add_argument(
        "--precision",
        choices=("float16", "bfloat16", "float32"),
        default="float16",
        help="Of the converted weights; M2SVid was published in float16. (default: %(default)s)",
    )
    convert.add_argument("--overwrite", action="store_true", help="Replace a target that exists.")
    add_common(convert, run_convert)


def run_convert(options: argparse.Namespace, signals: Signals) -> int:
    """Run `spatialdreamer m2svid convert`; returns the exit code."""
    import torch

    from .m2svid import convert_m2svid

    config = FileConfig(**given_options(options, FileConfig))
    config.check()
    with ProgressBar(quiet=options.quiet, unit="B", unit_scale=True) as bar:

        def on_progress(what: str, done: int, total: int) -> None:
            signals.check()
            bar.show(what, done, total)

        target = convert_m2svid(
            options.source,
            options.target,
            variant=config.given_variant,
            svd=config.svd,
            dtype=getattr(torch, options.precision),
            overwrite=options.overwrite,
            on_progress=on_progress,
        )
    print(f"{target} ({target.stat().st_size / 1e9:.2f} GB)")
    return 0
