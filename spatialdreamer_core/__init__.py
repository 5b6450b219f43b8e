"""SpatialDreamer: monocular video to stereoscopic video, as a torch library.

The sub-packages are the pipeline's stages, in the order in which data passes them: `flow`, `depth`, `dvg`,
`fill`, `stereo`, `video`. Nothing here imports ComfyUI. Conventions: docs/conventions.md.
"""

__version__ = "0.1.0"
