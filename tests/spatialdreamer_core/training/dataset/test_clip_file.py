import subprocess
import sys

import pytest
import torch

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.training.dataset.clip_file import DamagedClip, DVGClip, encode_clip, frame_checksums
from spatialdreamer_core.training.dataset.clip_file import decode_clip as decode


def make_clip(frames=5, size=(20, 31), seed=0):
    drawn = torch.Generator().manual_seed(seed)
    views = [torch.randint(0, 256, (frames, 3, *size), generator=drawn) / 255 for _ in range(3)]
    return DVGClip(*views, (torch.rand(frames, 1, *size, generator=drawn) > 0.8).float())


CHECKSUMS = frame_checksums(encode_clip(make_clip(), fps=24))


def decode_clip(path, frames, *, size):
    return decode(path, frames, size=size, checksums=CHECKSUMS)


@pytest.fixture
def stored(tmp_path):
    clip, path = make_clip(), tmp_path / "clip.mkv"
    path.write_bytes(encode_clip(clip, fps=24))
    return clip, path


@pytest.mark.parametrize("frames", [range(5), range(2, 3), range(1, 5, 2)])
def test_any_frames_come_back_bit_for_bit(stored, frames):
    clip, path = stored
    got = decode_clip(path, frames, size=(20, 31))
    for part, was in zip(got, clip, strict=True):
        assert part.dtype == torch.float32
        assert part.is_contiguous()
        assert torch.equal(part, was[frames.start : frames.stop : frames.step])


def test_colours_are_rounded_to_8_bits(tmp_path):
    clip = make_clip()
    between = clip._replace(target=(clip.target * 255 + 0.4).clamp(0, 255) / 255)
    assert encode_clip(between, fps=24) == encode_clip(clip, fps=24)


@pytest.mark.slow
def test_the_bytes_are_the_same_in_another_process():
    program = (
        "import hashlib, sys, torch; torch.set_num_threads(2)\n"
        "from spatialdreamer_core.training.dataset.clip_file import DVGClip, encode_clip\n"
        "x = (torch.arange(4 * 3 * 40 * 60).view(4, 3, 40, 60) % 251) / 255\n"
        "print(hashlib.sha256(encode_clip(DVGClip(x, x, x, x[:, :1]), fps=30)).hexdigest())"
    )
    first, second = (subprocess.check_output([sys.executable, "-c", program]) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("fps", [23.976, 0.5, 120])
def test_players_get_the_frame_rate(tmp_path, fps):
    import av

    (tmp_path / "clip.mkv").write_bytes(encode_clip(make_clip(frames=2), fps=fps))
    with av.open(str(tmp_path / "clip.mkv")) as container:
        assert [stream.metadata["title"] for stream in container.streams] == [*DVGClip._fields]
        assert float(container.streams[0].average_rate) == pytest.approx(fps, rel=1e-3)


def damage(path, kind):
    data = bytearray(path.read_bytes())
    if kind == "changed":
        data[len(data) // 2] ^= 0x10
    path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "other": b"RIFF" * 99}.get(kind, data))


@pytest.mark.parametrize("kind", ["changed", "cut", "empty", "other"])
def test_damage_is_an_error_and_not_a_patched_picture(stored, kind):
    _, path = stored
    damage(path, kind)
    with pytest.raises(DamagedClip, match=r"clip must be as it was written, got .*; delete it and run"):
        decode_clip(path, range(5), size=(20, 31))


def test_each_frame_has_a_checksum_of_its_own(stored):
    _, path = stored
    damage(path, "changed")
    with pytest.raises(DamagedClip, match="frame 2 was changed"):
        decode_clip(path, range(2, 3), size=(20, 31))
    for number in (0, 1, 3, 4):
        decode_clip(path, range(number, number + 1), size=(20, 31))


def test_another_size_or_length_is_damage(stored):
    _, path = stored
    for frames, size in ((range(6), (20, 31)), (range(5), (20, 30))):
        with pytest.raises(DamagedClip, match="other frames than were written"):
            decode_clip(path, frames, size=size)
    with pytest.raises(DamagedClip, match="No such file"):
        decode_clip(path.with_name("none.mkv"), range(5), size=(20, 31))


def test_parts_of_different_clips_are_refused():
    clip = make_clip()
    for changed in (clip._replace(hole=clip.hole[1:]), clip._replace(warped=clip.warped[..., 1:])):
        with pytest.raises(InputError, match="`target`"):
            encode_clip(changed, fps=24)
