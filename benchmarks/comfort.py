"""Where subjects lie and how far scenes reach: `python -m benchmarks.comfort`.

Synthetic clips with one clear subject, a layer that is known, with exact depth and with the builtin
estimator's. Subject: how far from the screen it is in the worst frame, its median in % of the width, at the
default divergence. Reach: p99 and p1 of the scene's disparity at divergence 5 %, without limits and with 1 %
to either side.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.report import format_table, write_result
from spatialdreamer_core.depth import estimate_depth, measure_scenes, measure_statistics
from spatialdreamer_core.dvg import CONVERGENCE, DIVERGENCE, Placement, depth_to_disparity
from spatialdreamer_core.metrics import SUBJECTS, SceneClip, make_clip
from spatialdreamer_core.stereo import Comfort, StrengthConfig, measure_comfort

SIZE = (180, 320)
LIMIT, STRONG = 1.0, 5.0  # % of the width
WANTED = Placement(DIVERGENCE.default, CONVERGENCE.default, 0.0)
FIXED = StrengthConfig()
AUTO = StrengthConfig(auto_convergence=True)
LIMITED = StrengthConfig(comfort=True, max_crossed=LIMIT, max_uncrossed=LIMIT)
BOTH = StrengthConfig(auto_convergence=True, comfort=True, max_crossed=LIMIT, max_uncrossed=LIMIT)


def main() -> None:
    """Measure, print the tables, write the result file."""
    torch.set_grad_enabled(False)
    metrics: dict[str, float] = {}
    subjects, reaches = [], []
    for source in ("exact", "builtin"):
        offsets, ends = [], []
        for name, layer in SUBJECTS.items():
            clip = make_clip(name, size=SIZE)
            depth = depth_of(clip, source)
            (scene,) = measure_statistics(clip.frames, depth)
            row = [
                offset(depth, config.choose(scene, WANTED), clip.layer == layer) for config in (FIXED, AUTO)
            ]
            offsets.append(row)
            strong = WANTED._replace(divergence=STRONG)
            ends.append([reach(depth, config.choose(scene, strong)) for config in (FIXED, LIMITED, BOTH)])
            subjects.append([source, name, *row])
        worst = [max(column) for column in zip(*offsets, strict=True)]
        subjects.append([source, "worst", *worst])
        metrics |= {f"{source}/subject_{kind}": worst[i] for i, kind in enumerate(("fixed", "auto"))}
        for index, kind in enumerate(("unlimited", "limited", "limited_auto")):
            nearest = max(row[index].p99 for row in ends)
            farthest = min(row[index].p1 for row in ends)
            reaches.append([source, kind, nearest, farthest])
            metrics |= {f"{source}/{kind}_p99": nearest, f"{source}/{kind}_p1": farthest}
    print(format_table(("depth", "clip", "convergence 0.5", "auto"), subjects))
    print(format_table(("depth", "limits", "worst p99", "worst p1"), reaches))
    print(write_result("comfort", metrics, "% of the width; the worst of 15 clips of 320x180"))


def depth_of(clip: SceneClip, source: str) -> Tensor:  # [F, 1, H, W] in [0, 1]
    """Return a clip's depth: exact and normalised as that of models is, or the builtin estimator's."""
    if source == "builtin":
        return estimate_depth(clip.frames, estimator="builtin")
    (scene,) = measure_scenes(clip.inverse_depth.split(1))
    return scene.normalise(clip.inverse_depth)


def offset(depth: Tensor, placement: Placement, subject: Tensor) -> float:
    """Return how far the subject is from the screen in the worst frame, % of the width."""
    frames = zip(disparity_of(depth, placement), subject, strict=True)
    return max(100 * abs(float(frame[mask].median())) / SIZE[1] for frame, mask in frames)


def reach(depth: Tensor, placement: Placement) -> Comfort:
    """Return how far the scene reaches."""
    return measure_comfort(disparity_of(depth, placement))


def disparity_of(depth: Tensor, placement: Placement) -> Tensor:
    """Return the disparity that the scene is rendered with."""
    return depth_to_disparity(depth, divergence=placement.divergence, convergence=placement.convergence)


if __name__ == "__main__":
    main()
