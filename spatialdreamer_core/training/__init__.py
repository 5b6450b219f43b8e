"""Learn SpatialDreamer from monocular videos."""
