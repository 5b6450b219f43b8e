"""Measures of rendered views, and the synthetic clips with exact depth on which they are taken."""

from .clips import CLIPS, MOTION_CLIPS, SUBJECTS, make_clip
from .comparison import ComparedFrame, Comparison
from .measures import MEASURES, Measure
from .perceptual import (
    ClipFeatures,
    FeatureStatistics,
    PerceptualDistance,
    frechet_distance,
    load_clip_features,
    load_lpips,
    lpips,
)
from .round_trip import RoundTrip, round_trip, round_trip_psnr
from .similarity import ssim
from .stereo_views import (
    Matchability,
    ViewMatches,
    consistency,
    disparity_error,
    match_rate,
    match_views,
    matchability,
    siou,
    vertical_disparity,
)
from .surfaces import Layer, Sphere
from .synthetic import Camera, Scene, SceneClip, render_scene
from .temporal import ColourShift, colour_shift, mask_flicker, temporal_error, warping_error
from .views import ViewRegions, gradient_ratio, hole_regions, masked_psnr, sharpness, view_regions

__all__ = [
    "CLIPS",
    "MEASURES",
    "MOTION_CLIPS",
    "SUBJECTS",
    "Camera",
    "ClipFeatures",
    "ColourShift",
    "ComparedFrame",
    "Comparison",
    "FeatureStatistics",
    "Layer",
    "Matchability",
    "Measure",
    "PerceptualDistance",
    "RoundTrip",
    "Scene",
    "SceneClip",
    "Sphere",
    "ViewMatches",
    "ViewRegions",
    "colour_shift",
    "consistency",
    "disparity_error",
    "frechet_distance",
    "gradient_ratio",
    "hole_regions",
    "load_clip_features",
    "load_lpips",
    "lpips",
    "make_clip",
    "mask_flicker",
    "masked_psnr",
    "match_rate",
    "match_views",
    "matchability",
    "render_scene",
    "round_trip",
    "round_trip_psnr",
    "sharpness",
    "siou",
    "ssim",
    "temporal_error",
    "vertical_disparity",
    "view_regions",
    "warping_error",
]
