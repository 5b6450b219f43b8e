"""The names of `import spatialdreamer_core as sd`."""

import inspect
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import spatialdreamer_core as sd

ROOT = Path(__file__).parents[2]


def test_each_name_is_there_and_no_other():
    assert sorted(name for names in sd._HOMES.values() for name in names) == sd.__all__
    for name in sd.__all__:
        assert getattr(sd, name).__name__ == name
        assert name in dir(sd)
    with pytest.raises(AttributeError, match="no attribute 'convrt'"):
        sd.convrt  # noqa: B018 (reading it is the test)


@pytest.mark.parametrize("name", ["svd", "spatialdreamer", "frame_matrix"])
def test_the_packages_that_need_diffusers_have_their_names_too(name):
    pytest.importorskip("diffusers")
    package = import_module(f"spatialdreamer_core.{name}")
    assert {name for names in package._HOMES.values() for name in names} == set(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)


def test_importing_loads_nothing_and_using_no_diffusion():
    script = (
        "import sys, spatialdreamer_core as sd; assert 'torch' not in sys.modules;"
        "print(sd.convert, sd.convert_frames, sd.Filler, sd.Flow, sd.fill_holes);"
        "from spatialdreamer_core.spatialdreamer import SamplerConfig; SamplerConfig().check();"
        "from spatialdreamer_core.frame_matrix import FrameMatrixConfig; FrameMatrixConfig().check();"
        "assert not {'diffusers', 'transformers', 'torchvision', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


PACKAGES = [
    module.name for module in pkgutil.iter_modules(sd.__path__, "spatialdreamer_core.") if module.ispkg
]


@pytest.mark.parametrize("package", ["spatialdreamer_core", *PACKAGES])
def test_each_public_name_is_described_on_the_api_pages(package):
    pytest.importorskip("diffusers")
    module = import_module(package)
    assert module.__doc__
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            described = value.__doc__ or ""
            assert described.strip(), f"{package}.{name}"
            assert not described.startswith(f"{name}("), f"{package}.{name}: a dataclass's own words"


def test_types_are_marked_as_given():
    assert (Path(sd.__file__).parent / "py.typed").is_file()
