"""The page on which two released networks can be broken, in the browser: build/break/.

    python -m helpers browser

The networks become ONNX files, checked against Keras; the page runs them by ONNX Runtime Web, which
npm fetches once. The folder works from any file server, without a network. Sample pictures are
test photographs where BLOODCELLS_MIRROR is set, else synthetic cells.
"""

import argparse
import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from commands import onnx_file
from helpers import course
from helpers.course import CourseError
from helpers.data import synthetic
from helpers.data.photographs import CLASS_NAMES, ImageSet
from helpers.data.sets import load_course_data
from helpers.files import kind, replaced, write_json
from helpers.models import released

# What is shown beside what: the released models of the homework report's fine-tuning and of the
# course's final model.
NETWORKS = {"fine_tuned": "The homework's network", "final": "The course's network"}

PAGE = Path(__file__).with_name("break_page")
RUNTIME = "onnxruntime-web"
RUNTIME_VERSION = "1.30.0"
# As npm's registry gives it, base64.
RUNTIME_SHA512 = (
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
# What the page needs of it, and what it is called there: some servers do not know .mjs.
RUNTIME_FILES = {
    "ort.wasm.bundle.min.mjs": "ort.js",
    "ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
}

# The runtime adds in another order than Keras: 0.00002 was measured.
MOST_DIFFERENCE = 1e-3

# Of each class so many pictures are looked at for one that both networks name correctly.
CANDIDATES = 48
SYNTHETIC_SEED = 5

ABOUT_NETWORKS = (
    "The homework's network repeats the homework report's fine-tuning as it was before images were "
    "augmented; the report's final network, with RandAugment, is not among the released models. "
    "The course's network is its final model."
)
PHOTOGRAPHS = (
    "Photographs of the Barcelona peripheral-blood-cell set (A. Acevedo et al. 2020, Data in Brief "
    "30:105474, CC BY 4.0), cropped and resized. "
)
NOT_TRAINED_ON = "No network was trained on any of them."
PERHAPS_TRAINED_ON = "The networks' training had another split and may have used some of them."
SYNTHETIC = (
    "Synthetic cells, drawn by program: both networks were trained on photographs, so what they "
    "make of these says nothing about photographs."
)


def build(folder: Path) -> float:
    """Write the page and everything that it loads into a folder.

    Returns:
        The largest difference between a logit of an ONNX file and of Keras, on the candidates for
        sample pictures and on random pictures.

    Raises:
        CourseError: if a package or npm is missing, the runtime is not the one that was tested, or
            an ONNX file and Keras do not agree.
    """
    onnx_file.check_packages()
    runtime = _runtime(course.build_folder() / "cache" / "npm")
    candidates, about_samples = _candidates()
    noise = np.random.default_rng(0).integers(0, 256, (16, 96, 96, 3), np.uint8)
    images = np.concatenate([candidates.images, noise])
    networks, correct, largest = [], np.ones(len(candidates), bool), 0.0
    for name, title in NETWORKS.items():
        card, model = released.card(name), released.load(name)
        file = onnx_file.onnx_file(model)
        logits = model.predict(images.astype(np.float32), verbose=0)
        largest = max(largest, _difference(name, onnx_file.run(file, images), logits))
        correct &= logits[: len(candidates)].argmax(axis=1) == candidates.labels
        with replaced(folder / f"{name}.onnx") as temporary:
            temporary.write_bytes(file)
        networks.append(_network(name, title, card, len(file)))
    samples = []
    for label, name in enumerate(CLASS_NAMES):
        rows = np.flatnonzero(candidates.labels == label)
        row = rows[correct[rows].argmax()]  # the first, if there is none
        path = f"samples/{name.replace(' ', '-')}.png"
        with replaced(folder / path) as temporary:
            Image.fromarray(candidates.images[row]).save(temporary, "PNG")
        samples.append({"file": path, "label": label, "named_correctly": bool(correct[row])})
    for name, content in runtime.items():
        with replaced(folder / name) as temporary:
            temporary.write_bytes(content)
    content = {
        "classes": list(CLASS_NAMES),
        "networks": networks,
        "samples": samples,
        "about_networks": ABOUT_NETWORKS,
        "samples_title": "A synthetic cell" if about_samples == SYNTHETIC else "A photograph",
        "about_samples": about_samples,
        "runtime": f"{RUNTIME} {RUNTIME_VERSION}",
        "runtime_bytes": sum(map(len, runtime.values())),
    }
    write_json(folder / "page.json", content)
    for source in sorted(PAGE.iterdir()):
        with replaced(folder / source.name) as temporary:
            temporary.write_bytes(source.read_bytes())
    return largest


def _network(name: str, title: str, card: dict, size: int) -> dict:
    """Return what the page says of a network, and needs to run it."""
    settings, metrics = card["experiment"], card["metrics"]
    augmentation = settings["augmentation"]
    trained = "without augmentation" if augmentation == "none" else f"{augmentation} augmentation"
    title_of_backbone = card["backbone"]["title"]
    return {
        "title": title,
        "about": f"{title_of_backbone} at {settings['image_size']} px, {trained}",
        "file": f"{name}.onnx",
        "bytes": size,
        "temperature": card["temperature"],
        "accuracy": {
            key: {"value": metrics[key]["value"], "n": metrics[key]["n"]}
            for key in ("test", "shifted_test")
        },
    }


def _difference(name: str, found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference between two networks' logits, (N, classes).

    Raises:
        CourseError: if it is large or they name any image otherwise.
    """
    largest = float(np.abs(found - expected).max())
    others = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
    if not largest <= MOST_DIFFERENCE or others:
        raise CourseError(
            f"The ONNX file of {name} and Keras differ by {largest:.2g} in a logit and in {others} "
            f"of {len(found)} classes: mend commands/onnx_file.py, or take the tested versions of "
            "onnx and onnxruntime."
        )
    return largest


def _candidates() -> tuple[ImageSet, str]:
    """Return up to CANDIDATES pictures of each class to choose samples from, and what they are."""
    asked = os.environ.get("BLOODCELLS_SOURCE", "").strip()
    if asked == "synthetic" or not (asked or course.mirror()):
        labels = np.tile(np.arange(len(CLASS_NAMES)), CANDIDATES)
        return ImageSet(synthetic.draw_cells(labels, SYNTHETIC_SEED), labels), SYNTHETIC
    data = load_course_data()
    if not data.source.is_published:
        raise CourseError(
            "Images of your own would be published with the page: unset BLOODCELLS_SOURCE, or set "
            "it to mirror, bloodmnist or synthetic; on the page, your images can be dropped in."
        )
    test = data["test"]
    rows = [np.flatnonzero(test.labels == label)[:CANDIDATES] for label in range(len(CLASS_NAMES))]
    trained_on = {released.card(name)["training"]["source_checksum"] for name in NETWORKS}
    used = NOT_TRAINED_ON if trained_on == {data.source.checksum} else PERHAPS_TRAINED_ON
    return test.rows(np.concatenate(rows)), PHOTOGRAPHS + used


def _runtime(cache: Path) -> dict[str, bytes]:
    """Return the runtime's files, by their names on the page; npm fetches them if need be.

    Raises:
        CourseError: if npm is missing or fails, or what it fetched is not what was tested.
    """
    archive = cache / f"{RUNTIME}-{RUNTIME_VERSION}.tgz"
    if kind(archive) is None:
        _pack(cache)
    if hashlib.sha512(archive.read_bytes()).digest() != base64.b64decode(RUNTIME_SHA512):
        raise CourseError(
            f"{archive} is not the release of {RUNTIME} that the course was tested with (another "
            "SHA-512): remove it and run again."
        )
    with tarfile.open(archive) as opened:
        return {
            name: opened.extractfile(f"package/dist/{member}").read()
            for member, name in RUNTIME_FILES.items()
        }


def _pack(cache: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise CourseError(
            f"npm is missing, which fetches {RUNTIME}: install Node.js, which brings it."
        )
    cache.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", f"{RUNTIME}@{RUNTIME_VERSION}", "--pack-destination", str(cache)]
    done = subprocess.run(
        [*command, "--ignore-scripts"], capture_output=True, text=True, cwd=cache, check=False
    )
    if done.returncode:
        reason = course.printable(" ".join(done.stderr.split()))[-300:]
        raise CourseError(
            f"npm could not fetch {RUNTIME} {RUNTIME_VERSION} ({reason}): look after the network "
            "or npm's settings, and run again."
        )


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, build the page, and say how to look at it."""
    parser = argparse.ArgumentParser(
        description="Build the page on which two released networks can be broken in the browser."
    )
    parser.add_argument("--folder", type=Path, help="where to write (build/break)")
    options = parser.parse_args(arguments)
    folder = (options.folder or course.build_folder() / "break").expanduser().resolve()
    largest = build(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    print(
        f"{folder} written, {size:.0f} MB. Logits of the ONNX files and of Keras differ by at most "
        f"{largest:.1g}.\nLook at it: python -m http.server --directory {folder}"
    )
    return 0
