import numpy as np

from spatialdreamer_core.depth.edges import clean_edges, steepen_edges


def test_steps_are_made_and_slopes_kept():
    ramp = np.tile(np.clip((np.arange(40, dtype=np.float32) - 17) / 6, 0, 1), (10, 1))
    steep = steepen_edges(ramp, radius=3)
    assert np.abs(np.diff(steep, axis=1)).max() > 1.7 * np.abs(np.diff(ramp, axis=1)).max()
    assert np.array_equal(steep[:, :14], ramp[:, :14])
    slope = np.tile(np.linspace(0, 0.4, 100, dtype=np.float32), (10, 1))
    assert np.array_equal(steepen_edges(slope, radius=3), slope)


def test_specks_and_gaps_go_and_things_stay():
    depth = np.full((60, 80), 0.2, np.float32)
    depth[20:50, 30:60] = 0.8
    depth[30:33, 40:43] = 0.2  # a shadow inside the near thing
    depth[5:7, 5:7] = 0.8  # a speck on the far one
    cleaned = clean_edges(depth)
    assert (cleaned[21:49, 31:59] > 0.79).all()
    assert (cleaned[:15, :20] < 0.21).all()
    assert set(np.unique(cleaned)) <= set(np.unique(depth)), "rank filters make no new values"


def test_the_foreground_covers_one_pixel_more():
    depth = np.full((60, 80), 0.2, np.float32)
    depth[20:50, 30:60] = 0.8
    cleaned = clean_edges(depth)
    assert (cleaned[34, 29:61] > 0.79).all()
    assert cleaned[34, 28] < 0.21
    assert cleaned[34, 61] < 0.21
