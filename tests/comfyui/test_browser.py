"""The templates in ComfyUI's own page, as a person opens and runs them."""

from __future__ import annotations

from datetime import datetime

import pytest

from .clips import write_clip
from .frontend import Frontend
from .server import NODE_IDS, PAGE_VERSION, REPOSITORY, WORKFLOWS

pytestmark = pytest.mark.browser
QUICK = REPOSITORY / "workflows" / "quick_stereo.json"
SPATIALDREAMER = REPOSITORY / "workflows" / "spatialdreamer.json"
QUICKER = {
    SPATIALDREAMER.stem: (
        ("ImageFromBatch", "length", 3),
        ("SpatialDreamerRefinerNetEncode", "max_side", 128),
        ("SpatialDreamerTILSVDSampler", "steps", 5),
    ),
    "frame_matrix": (
        ("ImageFromBatch", "length", 2),
        ("SpatialDreamerFrameMatrixSampler", "max_side", 128),
        ("SpatialDreamerFrameMatrixSampler", "steps", 2),
        ("SpatialDreamerDVGForwardWarp", "convergence", 0.4),  # else m2svid's warp came from the cache
    ),
    "m2svid": (("ImageFromBatch", "length", 2), ("SpatialDreamerM2SVidRefiner", "max_side", 128)),
    "training_pair": (("ImageFromBatch", "length", 3),),
}
SHOWN_BY_THE_BLUEPRINT = (
    "format device_profile divergence convergence auto_convergence comfort depth filename_prefix"
).split()
LIKE_OTHERS = {"photo", "film", "training_pair"}  # of these nodes alone, so one renderer suffices in haste


@pytest.fixture
def frontend(reused_frontend):
    return reused_frontend


@pytest.fixture(params=["litegraph", "vue"])
def renderer(frontend, request):
    """The page with one of its two renderers; the choice is the server's, so it is taken back."""
    frontend.set_renderer(request.param)
    yield request.param
    frontend.set_renderer("litegraph")


def in_haste(one_suffices: bool) -> list:
    """Return the cases of `renderer`, where one suffices the other one as a slow test."""
    slow = [pytest.mark.slow] if one_suffices else []
    return [pytest.param("vue"), pytest.param("litegraph", marks=slow)]


def test_a_missing_checkpoint_is_offered_for_download(frontend):
    frontend.open_workflow(SPATIALDREAMER)
    frontend.list_missing_models()
    frontend.page.get_by_role("button", name="Download").first.wait_for(timeout=5_000)
    assert "huggingface.co/stabilityai/stable-video-diffusion-img2vid-xt/" in frontend.copied_url()


def test_missing_weights_that_the_page_does_not_fetch_are_named_with_their_address(frontend):
    frontend.open_workflow(REPOSITORY / "workflows" / "m2svid.json")
    frontend.list_missing_models()
    listed = frontend.page.get_by_text("m2svid / m2svid_weights.pt")
    assert listed.or_(frontend.page.get_by_role("button", name="m2svid_weights.pt")).is_visible()


@pytest.mark.parametrize("renderer", in_haste(True), indirect=True)
def test_the_blueprint_is_found_added_and_run(frontend, renderer, comfy_server, uploaded_clip):
    blueprint = frontend.add_from_search("2d to 3d", "2D to 3D video")
    frontend.give_clip(blueprint, uploaded_clip)
    assert frontend.missing_nodes() == []
    shown = frontend.widgets(blueprint)
    assert shown[: len(SHOWN_BY_THE_BLUEPRINT)] == SHOWN_BY_THE_BLUEPRINT
    frontend.set_widget(blueprint, "format", "half_sbs")
    frontend.set_widget(blueprint, "filename_prefix", f"blueprint/{renderer}")
    assert frontend.queue() is None
    assert frontend.overlapping_nodes() == []
    assert (comfy_server.base / "output" / "blueprint" / f"{renderer}_00001_LR.mp4").is_file()
    if not PAGE_VERSION:  # newer pages show no such widget of a node in a subgraph: open it there
        assert shown[-1].endswith("spatialdreamer_viewer")
        result = frontend.page.locator(f"video[src*='{renderer}_00001_LR.mp4']")
        result.wait_for(state="attached", timeout=15_000)


@pytest.mark.parametrize(
    ("workflow", "renderer"),
    [
        pytest.param(path, *case.values, marks=case.marks, id=f"{path.stem}-{case.values[0]}")
        for path in WORKFLOWS
        for case in in_haste(path.stem in LIKE_OTHERS)
    ],
    indirect=["renderer"],
)
def test_open_a_template_run_it_and_see_the_result(
    svd_checkpoint, m2svid_checkpoint, frontend, renderer, uploaded_clip, workflow
):
    frontend.page.evaluate("() => app.refreshComboInNodes()")  # the checkpoints may be newer than the page
    frontend.open_workflow(workflow)
    assert frontend.missing_nodes() == []
    assert frontend.overlapping_nodes() == []
    frontend.use_clip(uploaded_clip)
    # A result from the cache shows no live pictures and no texts.
    frontend.set_widget("SpatialDreamerConvertVideo", "crf", {"litegraph": 18, "vue": 19}[renderer])
    divergence = {"litegraph": 2.5, "vue": 2.6}[renderer]
    frontend.set_widget("SpatialDreamerDVGForwardWarp", "divergence", divergence)
    for node_type, widget, value in QUICKER.get(workflow.stem, ()):
        frontend.set_widget(node_type, widget, value)
    assert frontend.queue() is None
    frontend.wait_for_results()
    assert frontend.overlapping_nodes() == []
    if "SpatialDreamerDVGForwardWarp" in workflow.read_text():
        frontend.page.get_by_text("nearest: ").first.wait_for(timeout=5_000)
    if workflow == QUICK:
        assert not frontend.shows_live_picture("SpatialDreamerConvertVideo")
        frontend.set_widget("SpatialDreamerConvertVideo", "crf", {"litegraph": 28, "vue": 29}[renderer])
        assert frontend.queue() is None  # live pictures take the video's place, and it theirs
        frontend.wait_for_results()
        assert not frontend.shows_live_picture("SpatialDreamerConvertVideo")


def test_a_browser_without_webgl_opens_and_runs_a_template(browser, comfy_server, uploaded_clip):
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    page.add_init_script(
        """const original = HTMLCanvasElement.prototype.getContext
        HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
          return /webgl|webgpu/.test(kind) ? null : original.call(this, kind, ...rest)
        }"""
    )
    frontend = Frontend(page, comfy_server.url)
    frontend.open_workflow(QUICK)
    frontend.use_clip(uploaded_clip)
    frontend.set_widget("SpatialDreamerConvertVideo", "crf", 27)  # a result of its own
    assert frontend.queue() is None
    frontend.wait_for_results()
    page.close()
    assert frontend.errors == []


def test_the_search_for_nodes_finds_ours(frontend):
    """ComfyUI 0.3.75 searches the names alone, so these hold what people type."""
    names = ("Video to Stereo 3D", "Image to Stereo 3D", "Save Stereo 3D Video")
    whole = {f"{name} (SBS, VR)" for name in names}
    for words, wanted in (
        ("stereo", whole | {"Stereo 3D: SBS Packer", "Stereo 3D: Depth Estimator"}),
        ("sbs", whole | {"Stereo 3D: SBS Packer"}),
        ("vr", whole),
        ("depth", {"Stereo 3D: Depth Estimator", "Stereo 3D: Load Depth"}),
    ):
        assert wanted <= set(frontend.search_nodes(words)), words


def test_every_node_can_be_added_by_hand(frontend):
    for node_id in NODE_IDS:
        assert frontend.add_node(node_id), node_id
    assert frontend.missing_nodes() == []


def test_the_name_of_the_file_takes_dates_and_values_of_widgets(frontend, uploaded_clip):
    frontend.open_workflow(QUICK)
    frontend.use_clip(uploaded_clip)
    prefix = "%date:yyyy%/%LoadVideo.file%-%Video to Stereo 3D (SBS, VR).crf%"
    frontend.set_widget("SpatialDreamerConvertVideo", "filename_prefix", prefix)
    prompt = frontend.page.evaluate("async () => (await app.graphToPrompt()).output")
    (node,) = (node for node in prompt.values() if node["class_type"] == "SpatialDreamerConvertVideo")
    assert node["inputs"]["filename_prefix"] == f"{datetime.now().year}/{uploaded_clip}-18"


def test_a_preview_is_shown_of_what_the_browser_cannot_play(frontend, renderer, comfy_server, tmp_path):
    file = comfy_server.upload(write_clip(tmp_path / f"{renderer}.mp4", frames=3, width=160, height=96))
    frontend.open_workflow(QUICK)
    frontend.use_clip(file)
    frontend.set_widget("SpatialDreamerConvertVideo", "codec", "libx265")
    frontend.set_widget("SpatialDreamerConvertVideo", "filename_prefix", "shown/<b>film")
    assert frontend.queue() is None
    frontend.wait_for_results()
    frontend.page.get_by_text("saved as shown/<b>film_").wait_for(timeout=5_000)
    assert frontend.overlapping_nodes() == []
    prompt = frontend.page.evaluate("async () => (await app.graphToPrompt()).output")
    assert not any("spatialdreamer_text" in node["inputs"] for node in prompt.values())
