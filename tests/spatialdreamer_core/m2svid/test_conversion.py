"""One safetensors file of M2SVid's release: what is in it, what it costs, and what is refused."""

import shutil
import threading
import zipfile

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.cli import main
from spatialdreamer_core.m2svid import conversion, convert_m2svid
from spatialdreamer_core.m2svid.variant import METADATA, read_variant
from spatialdreamer_core.svd.checkpoint.sgm_keys import (
    IMAGE_ENCODER,
    UNET,
    image_encoder_table,
    to_stored,
    unet_table,
    vae_table,
)
from spatialdreamer_core.weights.files import read_header
from spatialdreamer_core.weights.torch_archive import read_archive

FULL, NO_FULL = "m2svid_weights.pt", "m2svid_no_full_atten_weights.pt"
CHANGED = f"{UNET}input_blocks.0.0.bias"  # in which the two differ here


@pytest.fixture(scope="module")
def networks(model):
    """A model's tensors by the names that they have in the converted file."""
    unet, vae, tower = (network.state_dict() for network in model.modules)
    return (
        to_stored(unet_table(unet), unet)
        | to_stored(vae_table(vae), vae)
        | to_stored(image_encoder_table(tower), tower)
    )


@pytest.fixture(scope="module")
def other(networks):
    """Those of the model without full attention."""
    return networks | {CHANGED: networks[CHANGED] + 1}


@pytest.fixture(scope="module")
def release(tmp_path_factory, tiny_m2svid, model, other):
    """Both variants as published: a zip archive, in half precision, here with a folder in it."""
    folder = tmp_path_factory.mktemp("release")
    state = tiny_m2svid.official_state(model)
    for name, changed in ((FULL, {}), (NO_FULL, {CHANGED: other[CHANGED]})):
        halves = {f"module.{key}": value.half().contiguous() for key, value in (state | changed).items()}
        torch.save({"module": halves}, folder / name)
    file = folder / "m2svid_weights.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for name, packing in ((FULL, zipfile.ZIP_DEFLATED), (NO_FULL, zipfile.ZIP_STORED)):
            archive.write(folder / name, f"m2svid/{name}", packing, compresslevel=1)
    return file


def assert_whole(file, networks, dtype):
    """Check that a file holds these tensors, and nothing else."""
    expected = {name: value.half().to(dtype) for name, value in networks.items()}
    torch.testing.assert_close(load_file(file), expected, rtol=0, atol=0)


def test_the_release_becomes_one_file_in_half_precision(release, networks, tmp_path):
    target, told = tmp_path / "made" / "m2svid.safetensors", []
    assert convert_m2svid(release, target, on_progress=lambda *step: told.append(step)) == target
    assert_whole(target, networks, torch.float16)
    assert [path.name for path in target.parent.iterdir()] == [target.name], "nothing else is left"
    assert target.stat().st_size < (release.parent / FULL).stat().st_size
    for what in ("unpacking", "converting"):
        steps = [(done, total) for name, done, total in told if name == what]
        assert sorted(steps) == steps
        assert 0.99 * steps[-1][1] < steps[-1][0] <= steps[-1][1]
    assert read_header(target).metadata == {METADATA: "full_attention"}


def test_the_command_takes_the_other_variant_and_says_so_in_the_file(release, other, tmp_path, capsys):
    target = tmp_path / "m2svid_weights.safetensors"  # a name that says the wrong thing
    arguments = ["m2svid", "convert", str(release), str(target), "--variant", "no_full_attention", "--quiet"]
    assert main([*arguments, "--precision", "bfloat16"]) == 0
    assert f"{target} (0.0" in capsys.readouterr().out
    assert_whole(target, other, torch.bfloat16)
    assert read_variant(target, read_header(target)) == "no_full_attention"
    assert main(arguments) == 2
    assert "the target must be a new file" in capsys.readouterr().err


def test_a_converted_file_is_converted_again_and_replaced_when_asked(release, other, tmp_path):
    source, target = tmp_path / "wide.safetensors", tmp_path / "m2svid.safetensors"
    target.write_text("before")
    save_file(
        {name: value.half().float().contiguous() for name, value in other.items()},
        source,
        {METADATA: "full_attention"},
    )
    convert_m2svid(source, target, overwrite=True)
    assert_whole(target, other, torch.float16)
    assert read_header(target).metadata == {METADATA: "full_attention"}


def test_an_interrupt_and_weights_that_half_precision_cannot_hold_leave_what_was_there(release, tmp_path):
    target = tmp_path / "m2svid.safetensors"
    target.write_text("before")

    def stop(what, done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_m2svid(release, target, overwrite=True, on_progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    state = torch.load(release.parent / FULL)["module"]
    last = f"module.{IMAGE_ENCODER}ln_post.bias"
    state[last] = torch.full_like(state[last], 1e5, dtype=torch.float32)
    torch.save({"module": state}, tmp_path / FULL)
    match = rf"must be finite in torch\.float16, but {IMAGE_ENCODER}ln_post\.bias of .*; choose another prec"
    with pytest.raises(InputError, match=match):
        convert_m2svid(tmp_path / FULL, target, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [target.name, FULL]
    assert target.read_text() == "before"


def test_targets_that_must_not_be_written_are_refused(release, tmp_path):
    with pytest.raises(InputError, match=r"target must be a \.safetensors file, got .*; let its name end so"):
        convert_m2svid(release, tmp_path / "m2svid.pt")
    target = tmp_path / "m2svid.safetensors"
    target.touch()
    with pytest.raises(InputError, match=r"must be a new file, got .*; choose another name, or say that"):
        convert_m2svid(release, target)
    with pytest.raises(InputError, match="must not be the source"):
        convert_m2svid(target, target, overwrite=True)
    with pytest.raises(InputError, match=r"dtype must be one of torch\.float16, .*, got torch\.int8"):
        convert_m2svid(release, tmp_path / "new.safetensors", dtype=torch.int8)
    with pytest.raises(InputError, match="target must be writable, got"):
        convert_m2svid(release, target / "m2svid.safetensors")


def test_a_full_drive_is_said_before_anything_is_unpacked(release, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000_000)
    monkeypatch.setattr(conversion.shutil, "disk_usage", lambda path: usage)
    match = r"folder must have room for 0\.[12] GB, got 0\.0 GB free in .*; free space, or choose another"
    with pytest.raises(InputError, match=match):
        convert_m2svid(release, tmp_path / "m2svid.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_sources_that_are_no_release_are_refused(release, tmp_path):
    target = tmp_path / "m2svid.safetensors"
    half = tmp_path / "m2svid_weights.zip"
    half.write_bytes(release.read_bytes()[:1_000_000])
    with pytest.raises(
        InputError, match=r"must be whole, but the end of .* is missing .*; download it again"
    ):
        convert_m2svid(half, target)
    with zipfile.ZipFile(half, "w") as archive:
        archive.writestr(FULL, b"something")
    with pytest.raises(InputError, match=r"must hold the variant no_full_attention, got .* with m2svid_weig"):
        convert_m2svid(half, target, variant="no_full_attention")
    content = half.read_bytes()
    half.write_bytes(content.replace(b"something", b"sumething"))
    with pytest.raises(InputError, match=r"must be a whole zip archive, got .*CRC.*; download it again"):
        convert_m2svid(half, target)
    half.write_bytes(content.replace(b"PK\x03\x04", b"PK\x03\x05"))  # in front of the member
    with pytest.raises(InputError, match=r"must be a whole zip archive, got .*magic"):
        convert_m2svid(half, target)
    half.write_bytes(b"PK\x03\x04" + content[4:].replace(FULL.encode(), b"x" + FULL[1:].encode(), 1))
    with pytest.raises(InputError, match=r"must be a whole zip archive, got .*differ"):
        convert_m2svid(half, target)
    with pytest.raises(InputError, match="there is no file"):
        convert_m2svid(tmp_path / "absent.zip", target)
    assert not target.exists()


class PeakMemory:
    """Measures by how much this process grows in a `with` block, in bytes."""

    def __enter__(self):
        self._process, self._is_over = psutil.Process(), threading.Event()
        self._before = self._process.memory_info().rss
        self.growth = 0
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()

    def _watch(self):
        while not self._is_over.wait(0.002):
            self.growth = max(self.growth, self._process.memory_info().rss - self._before)


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "_PORTION", 4 << 20)
    file = tmp_path / "weights.pt"
    torch.save({f"a{index}": torch.ones(1 << 18) for index in range(64)}, file)  # 64 MB
    header = read_archive(file, again="")
    with PeakMemory() as memory:
        for _, tensor in conversion._read(header, list(header.shapes), torch.float16):
            assert bool(tensor.isfinite().all())
    assert memory.growth < 24 << 20


@pytest.mark.slow
def test_the_memory_of_a_whole_conversion_is_bounded(tmp_path, tiny_m2svid, model):
    from spatialdreamer_core.m2svid.model import assemble
    from spatialdreamer_core.svd import SVDModel, build_unet

    config = {**model.svd.unet.config, "block_out_channels": (192, 192, 384, 384)}
    unet = build_unet(**config | {"num_attention_heads": (3, 3, 6, 6)})
    wide = assemble(SVDModel(unet, *model.modules[1:]), full_attention=True)
    tiny_m2svid.save_official(wide, tmp_path / FULL)
    size = (tmp_path / FULL).stat().st_size
    assert size > 400e6
    with PeakMemory() as memory:
        convert_m2svid(tmp_path / FULL, tmp_path / "m2svid.safetensors")
    print(f"{memory.growth / 1e6:.0f} MB for a file of {size / 1e6:.0f} MB")
    assert memory.growth < 250e6
