import numpy as np
import pytest
import torch
from PIL import Image

from spatialdreamer_core.checks import InputError
from spatialdreamer_core.training.dataset.realestate import (
    RealEstate,
    find_camera_pairs,
    pair_cameras,
    read_cameras,
)


def pose_at(x, y=0.0, z=0.0, *, turn=0.0):
    """Return the world-to-camera matrix of a camera at a place, turned about the vertical by degrees."""
    angle = np.radians(turn)
    rotation = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    return np.column_stack([rotation, -rotation @ [x, y, z]])


def line(time, pose, intrinsics=(0.5, 0.9, 0.5, 0.5)):
    return " ".join([str(time), *(f"{n:.9f}" for n in (*intrinsics, 0, 0, *pose.ravel()))])


def write_cameras(path, poses):
    lines = ["https://www.youtube.com/watch?v=x", *(line(40000 * i, pose) for i, pose in enumerate(poses))]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def folders(tmp_path):
    cameras, frames = tmp_path / "cameras", tmp_path / "frames"
    for folder in (cameras, frames / "walk"):
        folder.mkdir(parents=True)
    write_cameras(cameras / "walk.txt", [pose_at(0.1 * i) for i in range(8)])
    for i in range(8):
        Image.new("RGB", (40, 20), (10 * i, 0, 255)).save(frames / "walk" / f"{40000 * i}.png")
    return cameras, frames


def test_cameras_are_read_as_the_format_says(tmp_path):
    (camera,) = read_cameras(write_cameras(tmp_path / "one.txt", [pose_at(1, 2, 3, turn=30)]))
    assert camera.time == 0
    assert camera.intrinsics.tolist() == [0.5, 0.9, 0.5, 0.5]
    assert np.allclose(camera.pose @ [1, 2, 3, 1], 0), "the camera's own place is its origin"


def test_the_relative_pose_takes_points_from_left_to_right(tmp_path):
    left, right = read_cameras(
        write_cameras(tmp_path / "two.txt", [pose_at(1, 0, 2, turn=10), pose_at(1.5, 0.1, 2, turn=12)])
    )
    pair = pair_cameras(left, right)
    point = np.array([0.3, -0.2, 5.0, 1.0])
    seen_left, seen_right = left.pose @ point, right.pose @ point
    assert np.allclose(pair.pose @ [*seen_left, 1], seen_right, atol=1e-6)
    centre = left.pose @ [1.5, 0.1, 2, 1]
    assert pair.baseline == pytest.approx(centre[0], abs=1e-6)
    assert pair_cameras(right, left).baseline < 0


def test_pairs_stand_side_by_side(tmp_path):
    def pairs(*poses, **settings):
        return find_camera_pairs(read_cameras(write_cameras(tmp_path / "c.txt", poses)), gap=1, **settings)

    (pair,) = pairs(pose_at(0), pose_at(0.4))
    assert (pair.left.time, pair.right.time) == (0, 40000)
    assert pair.baseline == pytest.approx(0.4)
    (pair,) = pairs(pose_at(0), pose_at(-0.4))
    assert (pair.left.time, pair.right.time) == (40000, 0), "who moves to the left ends up as the left eye"
    assert pair.baseline == pytest.approx(0.4)
    assert pairs(pose_at(0), pose_at(0, 0, 1)) == [], "ahead"
    assert pairs(pose_at(0), pose_at(0.4, turn=9)) == [], "turned"
    assert len(pairs(pose_at(0), pose_at(0.4, turn=9), most_turn=10)) == 1
    assert pairs(pose_at(0), pose_at(0)) == [], "still"
    with pytest.raises(InputError, match="most_turn must be between 0 and 180"):
        pairs(pose_at(0), pose_at(1), most_turn=200)


def test_views_come_with_their_cameras(folders):
    estate = RealEstate(*folders)
    (pair,) = estate.pairs(gap=5)
    assert pair.clip == "walk"
    assert pair.left.shape == pair.right.shape == (3, 20, 40)
    assert torch.allclose((pair.right - pair.left)[0].mean(), torch.tensor(50 / 255))
    assert pair.intrinsics.tolist() == [[20, 0, 20], [0, 18, 10], [0, 0, 1]]
    assert pair.baseline == pytest.approx(0.5)
    assert torch.allclose(pair.pose[:, 3], torch.tensor([-0.5, 0, 0]), atol=1e-6)
    assert len(list(estate.pairs(gap=2, most=3))) == 3
    assert estate.skipped == {}


def test_clips_that_cannot_be_used_are_counted(folders, caplog):
    cameras, frames = folders
    write_cameras(cameras / "ahead.txt", [pose_at(0, 0, i) for i in range(8)])
    write_cameras(cameras / "lost.txt", [pose_at(0.1 * i) for i in range(8)])
    (cameras / "broken.txt").write_text("https://x\n1 2 3\n")
    estate = RealEstate(*folders)
    assert [pair.clip for pair in estate.pairs()] == ["walk"]
    assert estate.skipped.keys() == {"ahead", "lost", "broken"}
    assert "no two of its cameras" in estate.skipped["ahead"]
    assert "frame must be there, got no" in estate.skipped["lost"]
    assert "clip broken is left out" in caplog.text
    (frames / "walk" / "200000.png").write_bytes(b"no picture")
    assert list(RealEstate(*folders).pairs(most=9)) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://x\n", "at least one camera, got none"),
        ("https://x\n1 2 3\n", "must have 19 numbers, got 3 in line 2 of"),
        ("https://x\n" + line(0, pose_at(0)).replace("0.5", "half"), "must be numbers"),
        ("https://x\n" + line(0, pose_at(0)).replace("0.900000000", "nan"), "all numbers finite"),
        ("https://x\n" + line(0, pose_at(0), (0.5, -0.9, 0.5, 0.5)), "must be above 0"),
        ("https://x\n" + line(0, 2 * pose_at(0)), "a rotation and a shift, got another matrix in line 2"),
        ("https://x\n" + line(0, pose_at(0) * [[-1], [1], [1]]), "a rotation and a shift"),
    ],
)
def test_damaged_camera_files(tmp_path, text, message):
    (tmp_path / "cameras.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_cameras(tmp_path / "cameras.txt")


def test_folders_must_be_there(folders, tmp_path):
    with pytest.raises(InputError, match=r"must be two folders, got .*nowhere"):
        RealEstate(tmp_path / "nowhere", folders[1])
    with pytest.raises(InputError, match="a folder of camera files"):
        RealEstate(folders[1], folders[1])
    with pytest.raises(InputError, match="a readable text, got"):
        read_cameras(tmp_path / "none.txt")
