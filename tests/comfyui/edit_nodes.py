"""Nodes for the tests alone: videos with edits that are not saved yet, as newer ComfyUI keeps them.

ComfyUI 0.3.75's own class lacks the methods by which newer ones tell of edits; here they are added to it.
"""

from __future__ import annotations

from comfy_api.latest import InputImpl, Types


class Edited(InputImpl.VideoFromFile):
    """A video file with a trim, and with frames turned upside down if it is flipped."""

    def __init__(self, file: str, start: float, duration: float, flipped: bool):
        super().__init__(file)
        self.start, self.duration, self.flipped = start, duration, flipped

    def has_pending_frame_edits(self) -> bool:
        return self.flipped

    def get_active_trim_window(self) -> tuple[float, float]:
        return self.start, self.duration

    def get_duration(self) -> float:
        return self.duration or super().get_duration() - self.start

    def get_components(self) -> Types.VideoComponents:
        parts = super().get_components()
        first = round(self.start * parts.frame_rate)
        count = round(self.duration * parts.frame_rate) or None
        images = parts.images[first:][:count]
        audio = parts.audio
        if audio is not None:
            first_sample = round(self.start * audio["sample_rate"])
            audio = {**audio, "waveform": audio["waveform"][..., first_sample:]}
        return Types.VideoComponents(
            images=images.flip(1) if self.flipped else images,
            audio=audio,
            frame_rate=parts.frame_rate,
        )

    def save_to(self, path, format="auto", codec="auto", metadata=None, crf=None):
        assert crf == 0, "lossless where the version can"
        InputImpl.VideoFromComponents(self.get_components()).save_to(path)


class EditVideo:
    """Edit a video; nothing is saved yet."""

    CATEGORY, FUNCTION, RETURN_TYPES = "tests", "edit", ("VIDEO",)

    @classmethod
    def INPUT_TYPES(cls):
        floats = {name: ("FLOAT", {}) for name in ("start", "duration")}
        return {"required": {"video": ("VIDEO",), **floats, "flipped": ("BOOLEAN", {})}}

    def edit(self, video, start: float, duration: float, flipped: bool):
        return (Edited(video.get_stream_source(), start, duration, flipped),)


class VideoInMemory:
    """Put a video with 6 channels of sound and an odd size into memory: as frames, or as a file's bytes."""

    CATEGORY, FUNCTION, RETURN_TYPES = "tests", "make", ("VIDEO",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"video": ("VIDEO",), "as_bytes": ("BOOLEAN", {})}}

    def make(self, video, as_bytes: bool):
        import io
        from pathlib import Path

        if as_bytes:
            return (InputImpl.VideoFromFile(io.BytesIO(Path(video.get_stream_source()).read_bytes())),)
        parts = video.get_components()
        parts.images = parts.images[:, :-1, :-1]
        parts.audio["waveform"] = parts.audio["waveform"].repeat(1, 3, 1)
        return (InputImpl.VideoFromComponents(parts),)


NODE_CLASS_MAPPINGS = {"TestsEditVideo": EditVideo, "TestsVideoInMemory": VideoInMemory}
