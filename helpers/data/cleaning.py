"""What is wrong with a set of images: copies, near-copies, planted pictures, odd colours.

Images are uint8 (N, 96, 96, 3) and may be memory-mapped: they are read in chunks.
"""

import hashlib
import itertools
from collections.abc import Iterator

import numpy as np
import scipy.fft
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import DBSCAN
from sklearn.neighbors import NearestNeighbors

from helpers.changes.shifts import LUMA
from helpers.data.photographs import CHUNK, chunks

# The centre that two copies share when only their backgrounds differ.
CENTRE = 32
# Two images whose hashes of the centre differ in at most this many of 64 bits may be copies;
# they are copies if their centres also differ by less than MAX_DIFFERENCE grey levels.
MAX_DISTANCE = 4
MAX_DIFFERENCE = 5.0
# Once moved onto each other, photographs of one piece of a slide correlate by 0.949 and more, of
# cells that look alike by 0.934 at most.
MIN_SIMILARITY = 0.94
# A photograph may have a natural twin or two; a picture somebody planted comes in dozens.
SMALLEST_PLANTED_GROUP = 20

# Pixels of border, and grey levels of red minus blue.
BORDER = 8
SMALLEST_GAP = 10


def thumbnails(images: np.ndarray, side: int) -> np.ndarray:
    """Return each image shrunk to side x side, every pixel the mean of the block it replaces.

    Args:
        images: uint8 (N, H, W, C), H and W multiples of side; read in chunks, so it may be
            memory-mapped.
        side: pixels along each edge of the result.

    Returns:
        float32 (N, side, side, C), 0-255.

    Raises:
        ValueError: if side does not divide the height and the width.
    """
    count, height, width, channels = images.shape
    if height % side or width % side:
        raise ValueError(f"side {side} does not divide images of {height} x {width} pixels")
    small = np.empty((count, side, side, channels), np.float32)
    blocks = (-1, side, height // side, side, width // side, channels)
    for place, chunk in chunks(images):
        small[place] = chunk.reshape(blocks).mean(axis=(2, 4), dtype=np.float32)
    return small


def mean_colours(images: np.ndarray) -> np.ndarray:
    """Return the mean red, green and blue of each image: float32 (N, 3), 0-255.

    Args:
        images: uint8 (N, H, W, 3).
    """
    return thumbnails(images, 1)[:, 0, 0]


def image_hashes(images: np.ndarray) -> np.ndarray:
    """Return a hash of each image's bytes, uint64 (N,): equal images have equal hashes."""
    digests = b"".join(
        hashlib.sha1(np.ascontiguousarray(image).data, usedforsecurity=False).digest()[:8]
        for _, chunk in chunks(images)
        for image in chunk
    )
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def duplicate_group_ids(images: np.ndarray, hashes: np.ndarray | None = None) -> np.ndarray:
    """Return int64 (N,): two images have the same number exactly if every byte is equal.

    Args:
        images: uint8 (N, ...).
        hashes: their `image_hashes`, computed if not given. Images that share a hash are compared
            byte by byte, so that a collision of hashes joins nothing.
    """
    if hashes is None:
        hashes = image_hashes(images)
    _, ids = np.unique(hashes, return_inverse=True)
    ids = ids.astype(np.int64)
    next_id = len(images)
    for rows in duplicate_groups(ids):
        id_of_bytes = {images[rows[0]].tobytes(): ids[rows[0]]}
        for row in rows[1:]:
            ids[row] = id_of_bytes.setdefault(images[row].tobytes(), next_id)
            next_id += ids[row] == next_id
    return ids


def duplicate_groups(group_ids: np.ndarray, smallest: int = 2) -> list[np.ndarray]:
    """Return the rows of each group of at least `smallest` members, in the order of first rows."""
    order = np.argsort(group_ids, kind="stable")
    starts = np.flatnonzero(np.diff(group_ids[order])) + 1
    groups = [rows for rows in np.split(order, starts) if len(rows) >= smallest]
    return sorted(groups, key=lambda rows: rows[0])


def keep_first(group_ids: np.ndarray) -> np.ndarray:
    """Return bool (N,): True for the first row of every group."""
    keep = np.zeros(len(group_ids), bool)
    keep[np.unique(group_ids, return_index=True)[1]] = True
    return keep


def drop_every_copy(group_ids: np.ndarray) -> np.ndarray:
    """Return bool (N,): True for rows that are alone in their group."""
    return _group_sizes(group_ids) == 1


def conflicting_labels(group_ids: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return bool (N,): True for rows whose group appears under more than one label."""
    pairs = np.unique(np.stack([group_ids, labels], axis=1), axis=0)
    ids, labels_per_group = np.unique(pairs[:, 0], return_counts=True)
    return np.isin(group_ids, ids[labels_per_group > 1])


def perceptual_hashes(images: np.ndarray, crop: int = 96) -> np.ndarray:
    """Return a 64-bit perceptual hash of each image: similar images differ in few bits.

    The centre is made grey and reduced to 32 x 32 pixels; of its discrete cosine transform the
    8 x 8 lowest frequencies are compared with their median, the mean brightness left out of it.
    'pHash': Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010),
    section 3.2.1; Krawetz, 'Looks Like It' (hackerfactor.com, 2011).

    Args:
        images: uint8 (N, 96, 96, 3).
        crop: side in pixels of the centre that is hashed, 32, 64 or 96. A small one sees the cell
            and not its background.

    Returns:
        uint64 (N,).
    """
    return _hashes_of_grey(thumbnails(_centre(images, crop), 32) @ LUMA)


def _hashes_of_grey(grey: np.ndarray) -> np.ndarray:
    frequencies = scipy.fft.dctn(grey, axes=(1, 2), norm="ortho")[:, :8, :8].reshape(-1, 64)
    bits = frequencies > np.median(frequencies[:, 1:], axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def similar_hashes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return where two sets of perceptual hashes differ in at most MAX_DISTANCE bits.

    Args:
        first, second: uint64 (N,) and (M,), every one compared with every other.

    Returns:
        int64 (K, 2): the row in the first set and the row in the second, ascending.
    """
    pairs = [np.empty((0, 2), np.int64)]
    for start in range(0, len(first), CHUNK):
        distance = np.bitwise_count(first[start : start + CHUNK, None] ^ second[None])
        row, other = np.nonzero(distance <= MAX_DISTANCE)
        pairs.append(np.stack([start + row, other], axis=1))
    return np.concatenate(pairs)


def near_copies(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return bool (M,): which images of the second set look like one of the first.

    Recompressed, resized, turned and mirrored copies are found: their perceptual hashes in one of
    the eight orientations differ in at most MAX_DISTANCE bits, and their thumbnails by less than
    MAX_DIFFERENCE grey levels. Copies that were moved or cropped are not.

    Args:
        first, second: uint8 (N, 96, 96, 3) and (M, 96, 96, 3).
    """
    hashes, small = perceptual_hashes(first), thumbnails(first, 24)
    found = np.zeros(len(second), bool)
    turned = (
        _orientations(each) for each in (thumbnails(second, 32) @ LUMA, thumbnails(second, 24))
    )
    for (_, grey), (_, colours) in zip(*turned, strict=True):
        for row, (own_hash, own) in enumerate(zip(_hashes_of_grey(grey), colours, strict=True)):
            similar = np.bitwise_count(hashes ^ own_hash) <= MAX_DISTANCE
            difference = ((small[similar] - own) ** 2).mean(axis=(1, 2, 3))
            found[row] |= (difference < MAX_DIFFERENCE**2).any()
    return found


def alike_pairs(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which different images show the same thing.

    Near copies have perceptual hashes that differ in at most MAX_DISTANCE bits and thumbnails that
    differ by less than MAX_DIFFERENCE grey levels, as they are or turned and mirrored. Moved ones
    are each other's nearest neighbours by the amplitudes of their slow waves, and their
    `similarity` is at least MIN_SIMILARITY.

    Args:
        images: uint8 (N, 96, 96, 3), no two of them equal.

    Returns:
        pairs: int64 (M, 2), rows, the smaller one first; each pair once.
        kinds: str (M,), "near", "turned" or "moved".
    """
    grey = thumbnails(images, 32) @ LUMA
    hashes = _hashes_of_grey(grey)
    kind_of: dict[tuple[int, int], str] = {}
    for kind, seen in _orientations(grey):
        for row, other in similar_hashes(hashes, _hashes_of_grey(seen)).tolist():
            if row < other and np.square(grey[row] - seen[other]).mean() < MAX_DIFFERENCE**2:
                kind_of.setdefault((row, other), kind)
    for row, other in moved_pairs(thumbnails(images, 48) @ LUMA):
        kind_of.setdefault((row, other), "moved")
    pairs = np.array(sorted(kind_of), np.int64).reshape(-1, 2)
    return pairs, np.array([kind_of[pair] for pair in sorted(kind_of)], str)


def moved_pairs(grey: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of rows of which one shows the other moved, the smaller row first.

    Args:
        grey: float (N, 48, 48).
    """
    if len(grey) < 2:
        return []
    # Amplitudes hardly change when a picture is moved.
    waves = np.abs(np.fft.rfft2(grey - grey.mean(axis=(1, 2), keepdims=True)))
    slow = np.sqrt(waves[:, np.r_[0:8, -7:0], :8]).reshape(len(grey), -1).astype(np.float32)
    slow /= np.maximum(np.linalg.norm(slow, axis=1, keepdims=True), 1e-6)
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(slow)
    nearest, rows = search.kneighbors()[1][:, 0], np.arange(len(grey))
    first = np.flatnonzero((nearest[nearest] == rows) & (rows < nearest))
    return [
        (int(row), int(nearest[row]))
        for row in first
        if similarity(grey[row], grey[nearest[row]]) >= MIN_SIMILARITY
    ]


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Return the correlation of two grey pictures (48, 48), one moved onto the other; -1 to 1.

    The move is the largest value of their cross-correlation; see `02_clean`. Pictures without any
    contrast are like nothing.
    """
    first, second = first - first.mean(), second - second.mean()
    match = np.fft.irfft2(np.fft.rfft2(first) * np.conj(np.fft.rfft2(second)), s=first.shape)
    down, right = (np.array(np.unravel_index(match.argmax(), match.shape)) + 24) % 48 - 24
    aligned = np.roll(second, (down, right), axis=(0, 1))
    overlap = np.s_[max(down, 0) : 48 + min(down, 0), max(right, 0) : 48 + min(right, 0)]
    a, b = first[overlap].ravel(), aligned[overlap].ravel()
    if min(a.std(), b.std()) < 1:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _orientations(images: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield square images (N, S, S, ...) as they are ("near"), then "turned", in seven ways."""
    for turns, mirrored in itertools.product(range(4), (False, True)):
        seen = images[:, :, ::-1] if mirrored else images
        yield "turned" if turns or mirrored else "near", np.rot90(seen, turns, axes=(1, 2))


def connected_groups(pairs: np.ndarray, count: int) -> np.ndarray:
    """Return group numbers, int64 (count,): rows joined by a chain of pairs share a number.

    Args:
        pairs: int (M, 2), rows.
        count: number of rows.
    """
    edges = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (count, count))
    return connected_components(edges, directed=False)[1].astype(np.int64)


def planted_groups(images: np.ndarray) -> np.ndarray:
    """Return which planted picture each image is, int64 (N,): 0, 1, ..., or -1 for none.

    A planted picture is one that at least SMALLEST_PLANTED_GROUP images show in their centre,
    whatever is behind it. Perceptual hashes of the centre find candidates; of those, the ones whose
    centres are equal within MAX_DIFFERENCE grey levels are grouped by density (DBSCAN: Ester et
    al., KDD 1996).
    """
    distinct, hash_of_row = np.unique(perceptual_hashes(images, CENTRE), return_inverse=True)
    similar = connected_groups(similar_hashes(distinct, distinct), len(distinct))[hash_of_row]
    candidates = np.flatnonzero(_group_sizes(similar) >= SMALLEST_PLANTED_GROUP)
    groups = np.full(len(images), -1, np.int64)
    if len(candidates):
        # The centres, reduced four times each way.
        patches = thumbnails(_centre(images[candidates], CENTRE), CENTRE // 4)
        patches = patches.reshape(len(candidates), -1)
        density = DBSCAN(
            eps=MAX_DIFFERENCE * np.sqrt(patches.shape[1]), min_samples=SMALLEST_PLANTED_GROUP
        )
        groups[candidates] = density.fit_predict(patches)
    return groups


def find_planted(images: np.ndarray) -> np.ndarray:
    """Return bool (N,): True for images that belong to one of the `planted_groups`."""
    return planted_groups(images) >= 0


def background_colour(images: np.ndarray) -> np.ndarray:
    """Return each image's background colour, float32 (N, 3), RGB in 0-255.

    It is the median of the brightest tenth of the pixels in an 8-pixel border: cells are darker
    than the light behind them, so a few of them in the border change nothing.
    """
    in_border = np.ones(images.shape[1:3], bool)
    in_border[BORDER:-BORDER, BORDER:-BORDER] = False
    brightest = in_border.sum() // 10
    colours = np.empty((len(images), 3), np.float32)
    for place, chunk in chunks(images):
        pixels = chunk[:, in_border]
        brightness = pixels.sum(axis=2, dtype=np.int16)
        chosen = np.argpartition(brightness, -brightest, axis=1)[:, -brightest:, None]
        colours[place] = np.median(np.take_along_axis(pixels, chosen, axis=1), axis=1)
    return colours


def bluish(colours: np.ndarray) -> np.ndarray:
    """Return which backgrounds form a bluer minority that is clearly apart, bool (N,).

    Red minus blue is split in two groups by Otsu's method (IEEE Trans. SMC 9, 1979), and the border
    is moved to the middle of the widest gap between the groups' medians. All False where there is
    no such minority: the bluer group is not the smaller one, or the bulks of the two (their middle
    90 %) are less than SMALLEST_GAP grey levels or less than twice the wider bulk apart.

    Args:
        colours: float (N, 3), RGB in 0-255: `background_colour`.
    """
    warmth = colours[:, 0] - colours[:, 2]
    none = np.zeros(len(colours), bool)
    if len(np.unique(warmth)) < 2:
        return none
    ordered = np.sort(warmth).astype(np.float64)
    lower, upper = np.split(ordered, [_otsu_count(ordered)])
    between = np.unique(ordered[(ordered >= np.median(lower)) & (ordered <= np.median(upper))])
    before_gap = np.argmax(np.diff(between))
    is_bluish = warmth <= between[before_gap : before_gap + 2].mean()
    bulks = np.array([np.percentile(warmth[side], (5, 95)) for side in (is_bluish, ~is_bluish)])
    gap = bulks[1, 0] - bulks[0, 1]
    widest_bulk = np.diff(bulks).max()
    if 2 * is_bluish.sum() >= len(warmth) or gap < max(SMALLEST_GAP, 2 * widest_bulk):
        return none
    return is_bluish


def _otsu_count(ordered: np.ndarray) -> int:
    """Return how many of the ascending values form the lower group of greatest variance between."""
    count = np.arange(1, len(ordered))
    sums = np.cumsum(ordered)
    difference = sums[:-1] / count - (sums[-1] - sums[:-1]) / (len(ordered) - count)
    variance_between = count * (len(ordered) - count) * difference**2
    return int(np.argmax(variance_between)) + 1


def _group_sizes(group_ids: np.ndarray) -> np.ndarray:
    """Return for each row how many rows its group has."""
    _, group, sizes = np.unique(group_ids, return_inverse=True, return_counts=True)
    return sizes[group]


def _centre(images: np.ndarray, crop: int) -> np.ndarray:
    margin = (images.shape[1] - crop) // 2
    return images[:, margin : margin + crop, margin : margin + crop]
