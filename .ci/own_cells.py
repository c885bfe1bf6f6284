"""Writes a folder of class folders, as a reader's own: `python .ci/own_cells.py FOLDER`."""

import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("alpha", "beta", "gamma", "delta")
EACH = 40


def main(folder: Path) -> None:
    """Write EACH noisy discs a class, larger from class to class, the same in every run."""
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(EACH):
            rng = np.random.default_rng([label, number])
            image = Image.new("RGB", (120, 110), tuple(rng.integers(200, 240, 3).tolist()))
            x, y, radius = rng.integers([40, 40, 10 + 5 * label], [80, 70, 15 + 5 * label]).tolist()
            box = [x - radius, y - radius, x + radius, y + radius]
            ImageDraw.Draw(image).ellipse(box, tuple(rng.integers(60, 180, 3).tolist()))
            noisy = np.asarray(image) + rng.integers(-9, 9, (110, 120, 3))
            path = folder / name / f"{number:03}.png"
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
            os.utime(path, (0, 0))  # decoded once: a folder is known by sizes and times


if __name__ == "__main__":
    main(Path(sys.argv[1]))
