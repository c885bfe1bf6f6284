"""First measurements of a set of images: small versions, mean colours, stretches of equals."""

import numpy as np
import pandas as pd

CHUNK = 512


def thumbnails(images: np.ndarray, side: int) -> np.ndarray:
    """Return each image shrunk to side x side, every pixel the mean of the block it replaces.

    Args:
        images: uint8 (N, H, W, 3), H and W multiples of side; read in chunks, so it may be
            memory-mapped.
        side: pixels along each edge of the result.

    Returns:
        float32 (N, side, side, 3), 0-255.

    Raises:
        ValueError: if side does not divide the height and the width.
    """
    count, height, width = images.shape[:3]
    if height % side or width % side:
        raise ValueError(f"side {side} does not divide images of {height} x {width} pixels")
    small = np.empty((count, side, side, 3), np.float32)
    blocks = (-1, side, height // side, side, width // side, 3)
    for start in range(0, count, CHUNK):
        chunk = images[start : start + CHUNK].reshape(blocks)
        small[start : start + CHUNK] = chunk.mean(axis=(2, 4), dtype=np.float32)
    return small


def mean_colours(images: np.ndarray) -> np.ndarray:
    """Return the mean red, green and blue of each image: float32 (N, 3), 0-255.

    Args:
        images: uint8 (N, H, W, 3).
    """
    return thumbnails(images, 1)[:, 0, 0]


def stretches(values: np.ndarray, shortest: int = 2) -> pd.DataFrame:
    """Return where neighbouring rows hold the same value.

    Args:
        values: (N,) of anything that can be compared, one value a row.
        shortest: leave out stretches of fewer rows.

    Returns:
        One row a stretch, in order: "first" and "last" row (inclusive) and "rows", their number.
    """
    if len(values) == 0:
        return pd.DataFrame({"first": [], "last": [], "rows": []}, dtype=np.int64)
    first = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    last = np.r_[first[1:], len(values)] - 1
    found = pd.DataFrame({"first": first, "last": last, "rows": last - first + 1})
    return found[found["rows"] >= shortest].reset_index(drop=True)


def changes(small: np.ndarray) -> np.ndarray:
    """Return how much each image differs from the row before it, float32 (N,), grey levels.

    It is the mean absolute difference of all pixels and colours, 0-255; the first row, which has
    none before it, gets infinity.

    Args:
        small: float (N, side, side, 3), 0-255: `thumbnails`, or a part of them.
    """
    differences = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3))
    return np.append(np.float32(np.inf), differences)
