"""One page on any folder of images: copies, leaks between splits, two labels, odd pictures.

    python -m helpers audit FOLDER [--page PAGE.html]

The label of an image is the name of its folder; its split is a folder above it that is called
train, validation or test. Nothing is written into the folder. Exit status 1 says that something
was found.
"""

import argparse
import base64
import html
import io
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from helpers import course
from helpers.changes import shifts
from helpers.course import CourseError
from helpers.data import cleaning, reading
from helpers.data.downloads import progress_bar
from helpers.files import kind, replaced

MARK = "<!-- written by python -m helpers audit -->"
SPLITS = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
SPLITS |= {"validation": "validation", "test": "test", "testing": "test"}
MOST_SHOWN = 40
MOST_BESIDE = 8
# A picture is dark or blurred if it has less than this fraction of the folder's median.
DARK, BLURRED = 0.4, 0.2
STYLE = "body{font:15px sans-serif;max-width:70em;margin:2em auto}figure{display:inline-block;"
STYLE += "margin:4px;font-size:11px;width:112px;overflow-wrap:anywhere;vertical-align:top}"
STYLE += "section>div{border-top:1px solid #ddd;padding:6px 0}img{width:96px;height:96px}"


@dataclass(frozen=True)
class Images:
    """What was read: names (below the folder), pixels, labels and splits ("" for none), sizes."""

    names: list[str]
    pixels: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    sizes: list[tuple[int, int]]


def read(folder: Path) -> tuple[Images, dict[str, str]]:
    """Return the images below a folder, and by name why others cannot be read."""
    files = {
        parts: path
        for parts, path in sorted(reading.list_folder(folder)[0].items())
        if path.suffix.lower() in reading.SUFFIXES
    }
    names, pixels, labels, splits, sizes, unreadable = [], [], [], [], [], {}
    with progress_bar(total=len(files), desc="Reading", unit="image") as bar:
        for parts, path in files.items():
            name = "/".join(parts)
            try:
                image = reading.decode(reading.read_file(path), name)
            except CourseError as error:
                unreadable[name] = str(error)
            else:
                pixels.append(reading.resized_square(image, *reading.central_square(image)))
                sizes.append(image.size)
                above = [SPLITS[part.lower()] for part in parts[:-1] if part.lower() in SPLITS]
                labelled = len(parts) > 1 and parts[-2].lower() not in SPLITS
                names.append(name)
                labels.append(parts[-2] if labelled else "")
                splits.append(above[0] if above else "")
            bar.update()
    if not files:
        raise CourseError(f"{folder} holds no image files: name a folder that does.")
    shape = (len(names), reading.IMAGE_SIZE, reading.IMAGE_SIZE, 3)
    stacked = np.reshape(np.array(pixels, np.uint8), shape)
    return Images(names, stacked, np.array(labels, str), np.array(splits, str), sizes), unreadable


def findings(images: Images) -> dict[str, list[np.ndarray]]:
    """Return the groups of rows under each heading; an odd picture is a group of one."""
    exact = cleaning.duplicate_group_ids(images.pixels)
    once = np.flatnonzero(cleaning.keep_first(exact))
    pairs, kinds = cleaning.alike_pairs(images.pixels[once])
    pairs = once[pairs]
    all_pairs = [pairs, *(np.stack([g[:-1], g[1:]], 1) for g in cleaning.duplicate_groups(exact))]
    groups = cleaning.duplicate_groups(
        cleaning.connected_groups(np.concatenate(all_pairs), len(images.names))
    )
    return {
        "In more than one split": [g for g in groups if _differ(images.splits[g])],
        "Under more than one label": [g for g in groups if _differ(images.labels[g])],
        "Equal copies": cleaning.duplicate_groups(exact),
        "Near copies (saved again, resized)": list(pairs[kinds == "near"]),
        "Turned or mirrored copies": list(pairs[kinds == "turned"]),
        "Moved (cut out or photographed again), or very much alike": list(pairs[kinds == "moved"]),
        **_odd(images),
    }


def _differ(names: np.ndarray) -> bool:
    """Return whether there is more than one name, "" for none not counted."""
    return len(set(names) - {""}) > 1


def _odd(images: Images) -> dict[str, list[np.ndarray]]:
    grey = cleaning.thumbnails(images.pixels, 48) @ shifts.LUMA
    brightness = grey.mean(axis=(1, 2))
    detail = np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2)) / np.maximum(brightness, 1)
    sizes, of_size, counts = np.unique(
        images.sizes, axis=0, return_inverse=True, return_counts=True
    )
    # Where most have one size, any other is odd; else one four times as large or small as usual.
    area = sizes.prod(axis=1)[of_size.ravel()]
    far = np.abs(np.log2(area / np.median(area))) > 4
    odd = of_size.ravel() != counts.argmax() if 2 * counts.max() >= len(of_size) else far
    marks = {
        "Odd sizes": odd,
        "Dark": brightness < DARK * np.median(brightness),
        "Blurred or empty": detail < BLURRED * np.median(detail),
    }
    return {heading: [np.array([row]) for row in np.flatnonzero(m)] for heading, m in marks.items()}


def page(folder: Path, images: Images, unreadable: dict, found: dict, took: str) -> str:
    """Return the page, which needs nothing but itself."""
    title = f"Audit of {html.escape(folder.name)}"
    lines = ["<!doctype html>", MARK, f'<meta charset="utf-8"><title>{title}</title>']
    lines += [f"<style>{STYLE}</style><h1>{title}</h1><p>{len(images.names):,} images. {took}</p>"]
    lines += ["<p>Images are compared by their central square at 96 pixels.</p>"]
    for heading, groups in found.items():
        lines.append(f"<section><h2>{heading}: {len(groups):,}</h2>")
        for rows in groups[:MOST_SHOWN]:
            shown = "".join(_figure(images, row) for row in rows[:MOST_BESIDE])
            more = f" and {len(rows) - MOST_BESIDE:,} more" if len(rows) > MOST_BESIDE else ""
            lines.append(f"<div>{shown}{more}</div>")
        if len(groups) > MOST_SHOWN:
            lines.append(f"<p>… and {len(groups) - MOST_SHOWN:,} more.</p>")
        lines.append("</section>")
    lines.append(f"<section><h2>Unreadable: {len(unreadable):,}</h2>")
    lines += [f"<p>{html.escape(reason)}</p>" for reason in unreadable.values()]
    return "\n".join([*lines, "</section>"])


def _figure(images: Images, row: int) -> str:
    file = io.BytesIO()
    Image.fromarray(images.pixels[row]).save(file, "JPEG", quality=80)
    picture = base64.b64encode(file.getvalue()).decode()
    width, height = images.sizes[row]
    name = html.escape(images.names[row])
    return f'<figure><img src="data:image/jpeg;base64,{picture}">{name} {width} × {height}</figure>'


def main(arguments: list[str] | None = None) -> int:
    """Write the page, print the counts, and return 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="images, in folders or not")
    parser.add_argument("--page", help="where to write (build/audit-<folder>.html)")
    options = parser.parse_args(arguments)
    folder = Path(options.folder).expanduser().resolve()
    if kind(folder) != "folder":
        raise CourseError(f"{folder} is no folder: name one that holds images.")
    default = course.build_folder() / f"audit-{folder.name}.html"
    target = Path(options.page or default).expanduser().resolve()
    if target.is_relative_to(folder):
        raise CourseError(f"{target} lies in the folder under audit: name a page elsewhere.")
    there = kind(target)
    if there == "folder" or (there and MARK not in target.read_text(errors="replace")[:200]):
        raise CourseError(f"{target} was not written by an audit: name another page.")
    started = time.perf_counter()
    images, unreadable = read(folder)
    found = findings(images) if images.names else {}
    seconds = time.perf_counter() - started
    minutes = seconds / 60 * 10_000 / max(len(images.names), 1)
    took = f"It took {seconds:.0f} s; at this pace 10,000 images take about {minutes:.0f} min."
    with replaced(target) as temporary:
        text = page(folder, images, unreadable, found, took)
        temporary.write_text(text, encoding="utf-8", errors="replace")
    counts = [(len(groups), heading) for heading, groups in found.items()]
    counts.append((len(unreadable), "Unreadable"))
    print("\n".join(f"{count:6,}  {heading}" for count, heading in counts))
    print(f"{len(images.names):,} images. {took}\n{target}")
    return int(any(count for count, _ in counts))
