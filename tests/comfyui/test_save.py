"""Save Stereo 3D Video in a running ComfyUI: packed frames and the sound of a clip."""

from __future__ import annotations

import av
import pytest

from .clips import psnr, read_video, write_clip
from .server import ExecutionFailed, RequestRefused, output_videos

WIDTH, HEIGHT, FRAMES = 160, 96, 12


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    return write_clip(folder / "packed.mp4", frames=FRAMES, width=WIDTH, height=HEIGHT)


@pytest.fixture(scope="module")
def packed(comfy_server, clip_file):
    return comfy_server.upload(clip_file)


def save_node(**inputs) -> dict:
    settings = {"images": ["2", 0], "fps": ["2", 2], "format": "full_sbs", "crf": 4}
    settings |= {"filename_prefix": "saved/clip"}
    return {"class_type": "SpatialDreamerSaveStereoVideo", "inputs": settings | inputs}


def prompt_of(packed: str, **saves: dict) -> dict:
    return {
        "1": {"class_type": "LoadVideo", "inputs": {"file": packed}},
        "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
        "3": {
            "class_type": "ImageFromBatch",
            "inputs": {"image": ["2", 0], "batch_index": 0, "length": 1},
        },
        "4": {"class_type": "PreviewAny", "inputs": {"source": ["full", 1]}},
    } | saves


def test_frames_and_sound_are_saved_under_the_players_names(comfy_server, packed, clip_file, tmp_path):
    prompt = prompt_of(
        packed,
        full=save_node(audio=["2", 1]),
        half=save_node(format="half_tb", codec="libx265"),
        one=save_node(format="anaglyph", images=["3", 0], audio=["2", 1], fps=0.5),
    )
    outputs = comfy_server.run(prompt)
    names = {node: output_videos({node: outputs[node]})[0] for node in ("full", "half", "one")}
    assert names["full"]["filename"].endswith("_LRF_Full_SBS.mp4")
    assert names["half"]["filename"].endswith("_TB.mp4")
    assert names["one"]["filename"].endswith("_redcyan.mp4")
    assert {file["subfolder"] for file in names.values()} == {"saved"}
    path = comfy_server.base / "output" / "saved" / names["full"]["filename"]
    assert outputs["4"]["text"] == [str(path)]

    source, _ = read_video(clip_file)
    frames, sound = read_video(path)
    assert psnr(frames, source) > 33
    assert sound == pytest.approx(0.5, abs=0.06)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 24
        assert "SpatialDreamerSaveStereoVideo" in container.metadata["prompt"]
    with av.open(str(path.with_name(names["half"]["filename"]))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.sample_aspect_ratio) == ("hevc", 0.5)
        assert not container.streams.audio
    with av.open(str(path.with_name(names["one"]["filename"]))) as container:
        assert container.streams.video[0].duration * container.streams.video[0].time_base == 2

    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).side_data.get("STEREO3D") is not None

    before = path.read_bytes()
    prompt = prompt_of(packed, full=save_node(audio=["2", 1], crf=40))
    (second,) = output_videos(comfy_server.run(prompt))
    assert second["filename"] != path.name
    assert path.read_bytes() == before


def test_other_kinds_of_files_are_saved_and_shown(comfy_server, packed):
    prompt = prompt_of(
        packed,
        full=save_node(container="webm", audio=["2", 1]),
        lossless=save_node(codec="ffv1", stereo_metadata="off", audio=["2", 1]),
    )
    outputs = comfy_server.run(prompt)
    nodes = ("full", "lossless")
    saved = {node: [file["filename"] for file in outputs[node]["images"]] for node in nodes}
    assert saved["full"][-1].endswith("_LRF_Full_SBS.webm")
    assert saved["lossless"][-1].endswith("_LRF_Full_SBS.mkv")
    assert len(saved["lossless"]) == 2, "a preview, since browsers do not play it"
    folder = comfy_server.base / "output" / "saved"
    expected = {"full": (("libdav1d", "opus"), "left_right"), "lossless": (("ffv1", "aac"), None)}
    for node, (codecs, mode) in expected.items():
        with av.open(str(folder / saved[node][-1])) as container:
            assert tuple(stream.codec_context.name for stream in container.streams) == codecs
            assert container.streams.video[0].metadata.get("stereo_mode") == mode


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"container": "avi"}, "container must be one of auto, mp4, mkv, mov, webm, got 'avi'"),
        ({"stereo_metadata": "sei"}, "stereo_metadata must be one of auto, no_sei, off, got 'sei'"),
        ({"fps": 0.0}, "fps must be between 0.01 and 1000 (frames per second), got 0"),
        ({"fps": float("nan")}, "fps must be between 0.01 and 1000"),
        ({"format": "sbs"}, "format must be one of full_sbs"),
        ({"codec": "theora"}, "codec must be one of auto"),
        ({"filename_prefix": ""}, "filename_prefix must be the start of a file name"),
        ({"audio": "sound.wav"}, "audio must come from another node, got 'sound.wav'"),
    ],
)
def test_what_cannot_run_is_refused_when_it_is_queued(comfy_server, packed, inputs, said):
    with pytest.raises(RequestRefused) as caught:
        comfy_server.queue(prompt_of(packed, full=save_node(**inputs)))
    assert said in str(caught.value)


def test_frames_that_are_not_packed_so_are_refused(comfy_server, packed):
    prompt = prompt_of(packed, full=save_node(images=["5", 0], fps=24.0))
    prompt["5"] = {
        "class_type": "EmptyImage",
        "inputs": {"width": 63, "height": 48, "batch_size": 2, "color": 0},
    }
    with pytest.raises(ExecutionFailed, match=r"`images` must be two views side by side .* got 63x48; pack"):
        comfy_server.run(prompt)
