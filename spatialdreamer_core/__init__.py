"""SpatialDreamer: monocular video to stereoscopic video, as a torch library.

The sub-packages are the pipeline's stages, in the order in which data passes them: `flow`, `depth`, `dvg`,
`fill`, `stereo`, `video`; `svd` and `spatialdreamer` are a filler by video diffusion, and need diffusers and
transformers. Nothing here imports ComfyUI. Conventions: docs/conventions.md.
"""

__version__ = "0.1.0"
