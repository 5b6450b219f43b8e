"""Safetensors headers and JSON that are damaged or hostile."""

import json
import struct
import time
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.weights.files import parse_json, read_header, read_json, read_state, read_tensors


def write(path, entries, data=b""):
    """Write a safetensors file with a header as it is given."""
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(shape=(2,), span=(0, 8), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(span)}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "a.safetensors"


def test_a_whole_file_is_read_and_its_metadata_too(file):
    tensors = {"a.x": torch.arange(6.0).view(2, 3), "b": torch.ones(3, dtype=torch.int8)}
    save_file(tensors, file, metadata={"note": "ours"})
    header = read_header(file)
    assert header.shapes == {"a.x": (2, 3), "b": (3,)}
    assert (header.types["b"], header.metadata, header.elements) == ("I8", {"note": "ours"}, 9)
    assert torch.equal(read_tensors(header, prefix="a.")["x"], tensors["a.x"])
    like = torch.zeros((), dtype=torch.float16)
    assert read_tensors(header, prefix="a.", like=like)["x"].dtype == torch.float16


def test_a_header_whose_length_looks_like_another_format_is_read(file):
    for magic in (b"\x80\x02", b"<!"):
        length = int.from_bytes(magic, "little")
        text = json.dumps({"a": entry()}).encode().ljust(length)
        assert read_header(write(file, text, bytes(8))).shapes == {"a": (2,)}


@pytest.mark.parametrize(
    "entries",
    [
        {"a": entry(span=(0, 4))},  # shorter than its shape
        {"a": entry(span=(4, 12))},  # a gap before it
        {"a": entry(), "b": entry()},  # overlap
        {"a": entry(shape=(2**62, 2**62), span=(0, 8))},
        {"a": entry(shape=(-2, -1))},
        {"a": entry(shape=(True, 2))},
        {"a": entry(shape=(2.0,))},
        {"a": entry(span=(8, 0))},
        {"a": entry(span=(0, 8, 9))},
        {"a": entry(span=("0", "8"))},
        {"a": entry(dtype="F1024")},
        {"a": entry(dtype=["F32"])},
        {"a": {"shape": [2]}},
        {"a": 5},
        {"a": entry(), "__metadata__": [1]},
        {},  # bytes are left over
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"\xff\xfe{}",
        b"1" * 5000,
    ],
)
def test_a_damaged_header_is_refused_in_one_line(file, entries):
    with pytest.raises(InputError, match=r"must be a (whole )?safetensors file.*download it again") as raised:
        read_header(write(file, entries, bytes(12)))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 700


def test_a_header_that_would_take_gigabytes_is_not_read(file):
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", 90_000_000))
        stream.truncate(90_000_100)
    start = time.monotonic()
    with pytest.raises(InputError, match="with a whole header"):
        read_header(file)
    assert time.monotonic() - start < 0.5


def test_a_file_cut_after_its_header_was_read_is_an_error(file):
    save_file({"a": torch.ones(1000)}, file)
    header = read_header(file)
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(InputError, match="must be a whole safetensors file"):
        read_tensors(header)


def test_weights_larger_than_memory_are_refused_before_they_are_read(file, monkeypatch):
    save_file({"a": torch.ones(1000)}, file)
    monkeypatch.setattr("spatialdreamer_core.memory.free_memory", lambda _: 100)
    with pytest.raises(InputError, match=r"a\.safetensors needs about .* GB of memory"):
        read_tensors(read_header(file))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "[" * 100_000, '{"a": Infinity}', '{"a": 1, "a": 2}', "1" * 5000, '{"a": "\\ud800'],
)
def test_json_that_is_no_object_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"must be a JSON object, got .*config\.json \(.*\); download that"):
        read_json(tmp_path / "config.json")


def test_json_of_other_encodings_and_missing_files(tmp_path):
    (tmp_path / "config.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')  # a mark that Windows' editors leave
    assert read_json(tmp_path / "config.json") == {"a": 1}
    assert parse_json('{"a": 1}') == {"a": 1}
    with pytest.raises(InputError, match="there is no such file"):
        read_json(tmp_path / "absent.json")
    with pytest.raises(InputError, match="there is no such file"):
        read_json(tmp_path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_state_is_read_up_to_a_size(tmp_path, suffix):
    state, path = {"weight": torch.arange(6.0).view(2, 3)}, tmp_path / f"state{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    assert torch.equal(read_state(path, limit=1 << 20)["weight"], state["weight"])
    with pytest.raises(ValueError, match=r"it has more than 0 MB"):
        read_state(path, limit=path.stat().st_size - 1)


def test_a_state_that_unpacks_to_more_is_not_unpacked(tmp_path):
    path = tmp_path / "state.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2 << 20))
    with pytest.raises(ValueError, match=r"it has more than 1 MB"):
        read_state(path, limit=1 << 20)
