import pytest

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.evaluation import find_pairs
from spatialdreamer_core.evaluation.views import split_name


@pytest.fixture
def folders(tmp_path):
    for name in (
        "ours/a_LR.mp4",
        "ours/b.mkv",
        "ours/notes.txt",
        "theirs/a.mp4",
        "truth/A.mp4",
        "truth/b.mov",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "clip").mkdir()
    for name in ("1.png", "2.png", "times.csv"):
        (tmp_path / "clip" / name).write_bytes(b"")
    return tmp_path


def test_folders_are_matched_by_name(folders):
    pairs = find_pairs([folders / "ours", folders / "theirs"], truth=folders / "truth", left=folders / "clip")
    assert [(pair.name, pair.result.name, pair.truth.name) for pair in pairs] == [
        ("a_LR", "a_LR.mp4", "A.mp4"),
        ("b", "b.mkv", "b.mov"),
        ("a", "a.mp4", "A.mp4"),
    ]
    assert {pair.left for pair in pairs} == {folders / "clip"}


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("film_LRF_Full_SBS", ("full_sbs", "film")),
        ("film_LR", ("half_sbs", "film")),
        ("film_TBF_fulltb", ("full_tb", "film")),
        ("film_TB", ("half_tb", "film")),
        ("film_RLF_cross", ("cross_eyed", "film")),
        ("film_redcyan", ("anaglyph", "film")),
        ("film_row_interlaced", ("row_interlaced", "film")),
        ("film_180x180_LR", ("vr180", "film")),
        ("film_RGBD", ("rgbd", "film")),
        ("film_qs2x1a1.78", ("quilt", "film")),
        ("film_qs8x6a0.75", ("quilt", "film")),
        ("film_full_tb", ("full_tb", "film")),
        ("My.Film.2019.Half-SBS", ("half_sbs", "My.Film.2019")),
        ("立体_half_sbs", ("half_sbs", "立体")),
        ("film sbs", ("full_sbs", "film")),
        ("SBS", (None, "SBS")),
        ("color", (None, "color")),
        ("the_cross", (None, "the_cross")),
        ("film", (None, "film")),
    ],
)
def test_a_name_tells_how_views_share_a_frame(stem, expected):
    assert split_name(stem) == expected


def test_a_folder_of_pictures_is_a_clip(folders):
    (pair,) = find_pairs([folders / "clip"], truth=None, left=None)
    assert pair == ("clip", folders / "clip", None, None)


def test_each_result_has_a_name_of_its_own(folders):
    file = folders / "theirs" / "a.mp4"
    other = folders / "ours" / "b.mkv"
    pairs = find_pairs([file, file, file, other], truth=None, left=None)
    assert [pair.name for pair in pairs] == ["theirs_a", "theirs_a-2", "theirs_a-3", "b"]


def test_results_without_a_counterpart_are_refused(folders):
    (folders / "truth" / "a.mkv").write_bytes(b"")
    with pytest.raises(InputError, match=r"truth must hold one file for each result, got 2 in .* for a\.mp4"):
        find_pairs([folders / "theirs"], truth=folders / "truth", left=None)
