"""Training SpatialDreamer (arXiv 2411.11934): latents, the loop of both stages, validation, export."""

__all__: list[str] = []
