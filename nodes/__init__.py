"""The ComfyUI nodes, one module a stage; `layout`, `sockets`, `models` and `progress` serve them all."""

from comfy_api.latest import ComfyExtension, io

from ..spatialdreamer_core.checks import InputError
from .batch import SpatialDreamerBatchConvert
from .compare import SpatialDreamerCompareStereo
from .convert import SpatialDreamerConvertVideo
from .demo import SpatialDreamerLoadDemoClip
from .depth import SpatialDreamerDepthEstimator
from .depth_file import SpatialDreamerLoadDepth
from .dvg import SpatialDreamerDVGForwardWarp, SpatialDreamerRefineHoleMask
from .dvg_clip import SpatialDreamerBuildDVGClip
from .fill import SpatialDreamerComposite, SpatialDreamerFastFill
from .film import SpatialDreamerFilmSettings
from .film_filler import (
    SpatialDreamerFiller,
    SpatialDreamerFrameMatrixFiller,
    SpatialDreamerM2SVidFiller,
)
from .flags import read_flags_of
from .flow import SpatialDreamerOpticalFlow
from .frame_matrix import SpatialDreamerFrameMatrixSampler
from .image import SpatialDreamerImageToStereo
from .m2svid import SpatialDreamerM2SVidLoader, SpatialDreamerM2SVidRefiner
from .quilt import SpatialDreamerQuiltPacker
from .save import SpatialDreamerSaveStereoVideo
from .save_photo import SpatialDreamerSaveStereoPhoto
from .spatialdreamer import (
    SpatialDreamerModelLoader,
    SpatialDreamerRefinerNetEncode,
    SpatialDreamerTILSVDSampler,
)
from .stereo import SpatialDreamerSBSPacker

for _error in (InputError, *InputError.__subclasses__()):
    _error.__module__ = "builtins"  # shown by ComfyUI beside the class; a custom node's is a whole path


class SpatialDreamerExtension(ComfyExtension):
    """What the pack brings to ComfyUI."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """List the node classes."""
        nodes = [
            SpatialDreamerLoadDemoClip,
            SpatialDreamerConvertVideo,
            SpatialDreamerFilmSettings,
            SpatialDreamerBatchConvert,
            SpatialDreamerImageToStereo,
            SpatialDreamerDepthEstimator,
            SpatialDreamerLoadDepth,
            SpatialDreamerOpticalFlow,
            SpatialDreamerDVGForwardWarp,
            SpatialDreamerRefineHoleMask,
            SpatialDreamerFastFill,
            SpatialDreamerBuildDVGClip,
            SpatialDreamerModelLoader,
            SpatialDreamerRefinerNetEncode,
            SpatialDreamerTILSVDSampler,
            SpatialDreamerFiller,
            SpatialDreamerM2SVidLoader,
            SpatialDreamerM2SVidRefiner,
            SpatialDreamerM2SVidFiller,
            SpatialDreamerFrameMatrixSampler,
            SpatialDreamerFrameMatrixFiller,
            SpatialDreamerComposite,
            SpatialDreamerSBSPacker,
            SpatialDreamerQuiltPacker,
            SpatialDreamerSaveStereoVideo,
            SpatialDreamerSaveStereoPhoto,
            SpatialDreamerCompareStereo,
        ]
        read_flags_of(nodes)
        return nodes
