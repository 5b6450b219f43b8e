"""Networks that somebody else's config describes: built without memory, never larger than their weights.

A config may be damaged or hostile. Nothing that it names is loaded from elsewhere, no code but that of the
installed packages runs, and a network that the weights beside it cannot fill is refused while it is built,
before it takes memory: a config of a kilobyte can ask for terabytes, or for layers without end.
"""

from __future__ import annotations

import inspect
import math
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ..checks import InputError
from ..parsing import parsing
from .files import Header, read_tensors

_LARGEST = 1 << 20  # number in a config; vocabularies have 50,000 words
_LONGEST = 4096  # list
_MOST_LAYERS = 512  # of any kind; for each one lists grow before the first parameter is made
_DEEPEST = 8  # level of objects
_SLACK = 1.25  # times the weights' tensors and numbers; files may lack layers that are built but never used
_RUNNING = {  # how a network runs, not what it is; some of it makes transformers fetch and run code
    *("auto_map", "custom_pipelines", "quantization_config", "_name_or_path", "torch_dtype", "dtype"),
    *("attn_implementation", "_attn_implementation", "_attn_implementation_internal", "use_kernels"),
    *("experts_implementation", "_experts_implementation"),
}
_FETCHING = ("backbone", "use_timm_backbone", "use_pretrained_backbone")  # what loads a network by name
_BACKBONES = ("beit", "bit", "dinov2", "dinov2_with_registers", "dpt", "swin", "swinv2", "vit")
_INTEGERS = ("position_ids", "position_index", "num_batches_tracked")  # ends of names that hold no weights


def check_config(config: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Check a network's config, and leave out what says how the network is run.

    Args:
        config: The file's content.
        file: The file, for messages.

    Raises:
        InputError: If it would load another network, or holds a number that no network has.
    """

    def check(name: str, value: Any, depth: int) -> Any:
        if depth > _DEEPEST or (isinstance(value, (list, tuple, dict)) and len(value) > _LONGEST):
            raise InputError(
                f"a network's config must be plain, got {name[:60]!r} nested deeper than {_DEEPEST} or "
                f"longer than {_LONGEST} in {file}; download that folder again"
            )
        if isinstance(value, dict):
            _check_fetching(value, file, inner=depth > 0)
            kept = {key: item for key, item in value.items() if key not in _RUNNING}
            return {key: check(str(key), item, depth + 1) for key, item in kept.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(check(name, item, depth + 1) for item in value)
        largest = _MOST_LAYERS if any(part in name for part in ("layers", "depths")) else _LARGEST
        if isinstance(value, (int, float)) and not abs(value) <= largest:
            raise InputError(
                f"the numbers of a network's config must be between -{largest} and {largest}, got "
                f"{name[:60]!r} of {str(value)[:20]} in {file}; download that folder again"
            )
        return value

    return check("config", dict(config), 0)


def _check_fetching(config: Mapping[str, Any], file: Path, *, inner: bool) -> None:
    """Refuse a config that makes transformers load another network by its name."""
    named = [name for name in _FETCHING if config.get(name)]
    if named:
        raise InputError(
            f"a model must come with all of its networks, got a config that loads another one by "
            f"`{named[0]}` ({str(config[named[0]])[:60]}) in {file}; use a model whose `backbone_config` "
            "describes it"
        )
    if inner and "model_type" in config and config["model_type"] not in _BACKBONES:
        raise InputError(
            f"a network within a model must be one of {', '.join(_BACKBONES)}, got "
            f"{str(config['model_type'])[:60]} in {file}; use another model"
        )


@contextmanager
def limited(header: Header) -> Iterator[None]:
    """Stop the building of networks in this thread as soon as they are larger than a file's weights.

    Raises:
        InputError: At the first parameter that is too much.
    """
    tensors, numbers = _SLACK * len(header.shapes) + 16, _SLACK * header.elements + 4096
    thread, seen, count = threading.get_ident(), set(), 0

    def register(module: nn.Module, name: str, parameter: Tensor) -> None:
        nonlocal count
        if threading.get_ident() != thread or (id(module), name) in seen:
            return  # filling registers a parameter again
        seen.add((id(module), name))
        count += math.prod(parameter.shape)
        if len(seen) > tensors or count > numbers:
            raise InputError(
                f"a model's weights must fill its network, but {header.file} has {len(header.shapes)} "
                f"tensors with {header.elements} numbers, less than its config asks for; download that "
                "folder again"
            )

    handle = register_module_parameter_registration_hook(register)
    try:
        yield
    finally:
        handle.remove()


def build_network(
    build: Callable[[dict[str, Any]], Any],
    config: Mapping[str, Any],
    header: Header,
    *,
    file: Path,
    what: str,
    trial: Callable[[Any], object] | None = None,
) -> Any:
    """Build a network without memory from somebody else's config.

    Args:
        build: Builds the network.
        config: The config, which is checked first.
        header: The file with the weights that are to fill it.
        file: Where the config is from, for messages.
        what: What the network is, for messages.
        trial: Runs the network once, without memory: a config whose parts do not fit shows here.

    Raises:
        InputError: If the config is damaged, does not fit the weights, or would load another network.
    """
    config = check_config(config, file)
    with (
        limited(header),
        parsing(file, rule=f"a config must be that of a {what}", remedy="download that folder again"),
        torch.device("meta"),
        torch.no_grad(),
    ):
        network = build(config).to("meta")  # some parameters are made from numbers in memory
        if trial is not None:
            trial(network)
    return network


def check_types(network_class: Any, config: Mapping[str, Any]) -> None:
    """Check that a config's values have the types that a class of diffusers declares.

    Raises:
        TypeError: If one has another type.
    """
    hints = get_type_hints(network_class.__init__)
    for name, parameter in inspect.signature(network_class.__init__).parameters.items():
        value = config.get(name, parameter.default)
        if not (value is parameter.default or name not in hints or _fits(value, hints[name])):
            raise TypeError(f"{name} must be of type {hints[name]}, got {str(value)[:60]!r}")


def load_transformers_network(
    network_class: Any, config_class: Any, config: Mapping[str, Any], header: Header, *, file: Path
) -> tuple[Any, list[str]]:
    """Load a network of transformers, which brings older names of tensors up to date, from this folder alone.

    Args:
        network_class: Its class.
        config_class: The class of its config.
        config: The config, which is checked first.
        header: The file with its weights.
        file: Where the config is from, for messages.

    Returns:
        The network in evaluation mode, and the names of the tensors that the file lacks.

    Raises:
        InputError: If config or weights are damaged or do not fit, or another network would be loaded.
    """
    config = check_config(config, file)
    header.check_floats({name for name in header.shapes if not name.endswith(_INTEGERS)})
    state = read_tensors(header)
    with (
        limited(header),
        parsing(
            file.parent,
            rule=f"a folder must hold config and weights of a {network_class.__name__}",
            remedy="delete it and download it again",
        ),
    ):
        # Given no folder, it loads only what it is given: no adapters, no shards, no other names.
        network, report = network_class.from_pretrained(
            None, config=config_class.from_dict(config), state_dict=state, output_loading_info=True
        )
    return network.eval().requires_grad_(False), sorted(report["missing_keys"])


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether a value of a JSON file may stand for a type as signatures declare it."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, str):
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, arg) for arg in args)
    if origin is Literal:
        return value in args
    if origin in (tuple, list) or hint in (tuple, list):
        kinds = [arg for arg in args if arg is not Ellipsis]
        return isinstance(value, (tuple, list)) and (
            not kinds or all(any(_fits(item, kind) for kind in kinds) for item in value)
        )
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, origin or hint)
