"""Training SpatialDreamer (arXiv 2411.11934): data, latents, the loop of both stages, validation, export."""
