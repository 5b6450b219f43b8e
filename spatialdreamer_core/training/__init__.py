"""Training SpatialDreamer (arXiv 2411.11934): dataset, latents, the loop of both stages, validation, export."""
