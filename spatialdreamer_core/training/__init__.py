"""Training SpatialDreamer (arXiv 2411.11934): dataset, latents, both stages, validation, export."""

__all__: list[str] = []  # each module is imported by itself
