"""Class folders: every kind of image becomes the same RGB, every bad input one clear sentence."""

import errno
import io
import os
import stat
import zipfile

import numpy as np
import pytest
from PIL import Image

from helpers.course import CourseError
from helpers.data import reading
from helpers.data.photographs import CLASS_NAMES
from helpers.data.reading import PBC_FOLDERS, read_class_folders, read_image_set

RED, WHITE = (200, 30, 60), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(colour=RED, size=(8, 8)) -> bytes:
    return encoded(Image.new("RGB", size, colour))


def folder_of(tmp_path, files: dict[str, bytes]):
    for name, data in files.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(data)
    return tmp_path / "set"


def zip_of(tmp_path, files: dict[str | zipfile.ZipInfo, bytes], kind=zipfile.ZIP_STORED):
    with zipfile.ZipFile(tmp_path / "set.zip", "w", kind) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return tmp_path / "set.zip"


NOISE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
JPEG = encoded(Image.fromarray(NOISE), "JPEG")
FILES = {
    "b/2.png": png((2, 2, 2)),
    "b/10.png": png((10, 10, 10)),
    "a/x.png": png((0, 0, 0)),
    "a/y.jpeg": encoded(Image.new("RGB", (20, 30), WHITE), "JPEG"),
}


@pytest.mark.parametrize("made", [folder_of, zip_of])
@pytest.mark.parametrize("root", ["", "root/", "root/dataset 1/"])
def test_folders_and_zips_are_read_in_order_whatever_lies_around(tmp_path, made, root):
    litter = [
        "__MACOSX/a/._x.png",
        ".DS_Store",
        f"{root}a/.hidden.jpg",
        f"{root}a/Thumbs.db",
        f"{root}.cache/a/x.png",
        f"{root}README.txt",
    ]
    files = {f"{root}{name}": data for name, data in FILES.items()}
    path = made(tmp_path, files | dict.fromkeys(litter, b"litter"))
    images, labels, class_names, file_names = read_class_folders(path)
    assert images.dtype == np.uint8
    assert images.shape == (4, 96, 96, 3)
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 0, 1, 1]
    assert class_names == ("a", "b")
    assert file_names == ["a/x.png", "a/y.jpeg", "b/10.png", "b/2.png"]
    assert images[:, 50, 50, 0].tolist() == [0, 255, 10, 2]


def decoded(tmp_path, data: bytes) -> np.ndarray:
    path = zip_of(tmp_path, {"a/image": data, "b/other.png": png()})
    return read_class_folders(path)[0][0]


def deep_grey() -> Image.Image:
    return Image.fromarray(np.full((8, 8), 0x6410, np.uint16))


def test_deep_pixels_that_would_come_out_black_are_named(tmp_path):
    twelve_bits = Image.fromarray(np.full((8, 8), 0x0FFF, np.uint16))
    with pytest.raises(CourseError, match="would come out black: save it as 8-bit"):
        decoded(tmp_path, encoded(twelve_bits))


def see_through() -> Image.Image:
    image = Image.new("RGBA", (8, 8), (*RED, 0))
    image.paste((*RED, 255), (0, 0, 4, 8))
    return image


@pytest.mark.parametrize(
    ("data", "left", "right"),
    [
        (png(), RED, RED),
        (encoded(Image.new("L", (8, 8), 100)), (100,) * 3, (100,) * 3),
        (encoded(Image.new("1", (8, 8), 1)), WHITE, WHITE),
        (encoded(deep_grey()), (100,) * 3, (100,) * 3),
        (encoded(deep_grey(), "TIFF"), (100,) * 3, (100,) * 3),
        (encoded(see_through()), RED, WHITE),
        (encoded(see_through(), "WEBP", lossless=True), RED, WHITE),
        (encoded(see_through().quantize(4)), RED, WHITE),
        (encoded(Image.new("RGB", (8, 8), RED).quantize(4), "GIF"), RED, RED),
        (encoded(Image.new("LA", (8, 8), (7, 0))), WHITE, WHITE),
        (encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"), (255, 0, 0), (255, 0, 0)),
        (encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), (254, 0, 0), (254, 0, 0)),
    ],
    ids=[
        "RGB",
        "grey",
        "one bit",
        "16-bit PNG",
        "16-bit TIFF",
        "RGBA",
        "RGBA WebP",
        "palette with transparency",
        "palette",
        "grey with transparency",
        "CMYK TIFF",
        "CMYK JPEG",
    ],
)
def test_every_mode_becomes_rgb(tmp_path, data, left, right):
    image = decoded(tmp_path, data)
    np.testing.assert_allclose(image[48, 5], left, atol=2)
    np.testing.assert_allclose(image[48, 90], right, atol=2)


def test_the_orientation_of_a_camera_is_applied(tmp_path):
    upright = Image.new("RGB", (40, 40), WHITE)
    upright.paste((0, 0, 0), (0, 0, 40, 20))  # black above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    image = decoded(tmp_path, encoded(stored, "JPEG", exif=exif))
    np.testing.assert_allclose(image[5], 0, atol=4)
    np.testing.assert_allclose(image[90], 255, atol=4)


def test_an_image_is_cropped_to_its_central_square(tmp_path):
    image = Image.new("RGB", (30, 10), (0, 0, 0))
    image.paste(RED, (10, 0, 20, 10))
    assert (decoded(tmp_path, encoded(image)) == RED).all()


@pytest.mark.parametrize("size", [(208, 208), (360, 363)])
def test_pbc_photographs_become_bloodmnist_s(tmp_path, size):
    rng = np.random.default_rng(0)
    photograph = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8))
    files = {f"set/{name}/1.png": encoded(photograph) for name in sorted(PBC_FOLDERS)}
    images, labels, class_names, file_names = read_class_folders(zip_of(tmp_path, files))
    assert class_names == CLASS_NAMES
    assert labels.tolist() == list(range(8))
    assert file_names == [f"{name}/1.png" for name in PBC_FOLDERS]
    left, top = (size[0] - 200) // 2, (size[1] - 200) // 2
    centre = photograph.crop((left, top, left + 200, top + 200))
    np.testing.assert_array_equal(images[3], np.asarray(centre.resize((96, 96), Image.BICUBIC)))


def test_a_class_with_one_image_loads(tmp_path):
    labels = read_class_folders(folder_of(tmp_path, FILES | {"c/only.png": png()}))[1]
    assert np.bincount(labels).tolist() == [2, 2, 1]


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (FILES | {"../c/x.png": png()}, r"\.\./c/x\.png' in set\.zip has a path that leads out"),
        (FILES | {"c/../../x.png": png()}, "has a path that leads out"),
        (FILES | {"/c/x.png": png()}, "has a path that leads out"),
        (FILES | {"C:/c/x.png": png()}, "has a path that leads out"),
        (FILES | {"..\\c\\x.png": png()}, "has a path that leads out"),
        (FILES | {link("a/z.png"): b"/etc/passwd"}, r"a/z\.png' in set\.zip is a link"),
        (FILES | {"c/": b""}, r"class folder c in set\.zip is empty"),
        (FILES | {"c/.DS_Store": b"litter"}, r"class folder c in set\.zip is empty"),
        (FILES | {"b/notes.txt": b"by hand"}, r"b/notes\.txt in set\.zip is no image"),
        (FILES | {"b/0.jpg": JPEG[:-300]}, r"b/0\.jpg in set\.zip is an image that cannot be read"),
        (FILES | {"b/0.png": b""}, r"b/0\.png in set\.zip is no image"),
        (FILES | {"loose.png": png()}, r"image loose\.png in set\.zip lies in no class folder"),
        (FILES | {"b/deep/0.png": png()}, r"class folder b in set\.zip holds a folder, deep"),
        ({"a/x.png": png()}, r"set\.zip does not hold two class folders"),
        ({"x.png": png()}, r"set\.zip does not hold two class folders"),
        ({}, r"set\.zip does not hold two class folders"),
        (
            FILES | {"b/0.tif": encoded(Image.new("F", (8, 8), 0.5), "TIFF")},
            r"b/0\.tif in set\.zip is an image that cannot be read \(its pixels are floating",
        ),
    ],
)
def test_bad_archives_are_one_sentence(tmp_path, files, sentence):
    with pytest.raises(CourseError, match=sentence):
        read_class_folders(zip_of(tmp_path, files))


def test_bad_folders_are_one_sentence(tmp_path):
    top = folder_of(tmp_path, FILES)
    (top / "c").mkdir()
    with pytest.raises(CourseError, match="class folder c in set is empty"):
        read_class_folders(top)
    (top / "c" / "x.png").symlink_to(top / "nowhere")
    with pytest.raises(CourseError, match=r"x\.png cannot be read"):
        read_class_folders(top)
    with pytest.raises(CourseError, match="nowhere cannot be read"):
        read_class_folders(tmp_path / "nowhere")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_archive_is_one_sentence(tmp_path, kept):
    path = zip_of(tmp_path, FILES)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(CourseError, match=r"set\.zip is no zip archive, or a truncated one"):
        read_class_folders(path)


def test_an_altered_archive_is_one_sentence(tmp_path):
    path = zip_of(tmp_path, FILES)
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 6] ^= 255
    path.write_bytes(data)
    with pytest.raises(CourseError, match=r"b/2\.png in set\.zip is damaged"):
        read_class_folders(path)


def test_an_encrypted_archive_is_one_sentence(tmp_path):
    path = zip_of(tmp_path, FILES)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1  # the first member's flags in the central directory
    path.write_bytes(data)
    with pytest.raises(CourseError, match=r"b/2\.png' in set\.zip is encrypted"):
        read_class_folders(path)


def test_an_archive_that_unpacks_to_a_thousand_times_its_size_is_refused(tmp_path):
    files = FILES | {"b/0.png": bytes(20 * 2**20)}
    with pytest.raises(CourseError, match="would unpack to more than"):
        read_class_folders(zip_of(tmp_path, files, zipfile.ZIP_DEFLATED))


def test_a_huge_file_is_refused_even_where_its_header_lies(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_FILE_BYTES", 1000)
    files = FILES | {"b/0.png": np.random.default_rng(0).bytes(2000)}
    with pytest.raises(CourseError, match=r"b/0\.png' in set\.zip unpacks to more than"):
        read_class_folders(zip_of(tmp_path, files))
    with pytest.raises(CourseError, match=r"b/0\.png in set is larger than"):
        read_class_folders(folder_of(tmp_path, files))
    path = zip_of(tmp_path, files)
    data = path.read_bytes()
    directory = data.index(b"PK\1\2")
    lie = data[directory:].replace((2000).to_bytes(4, "little"), (999).to_bytes(4, "little"))
    path.write_bytes(data[:directory] + lie)
    with pytest.raises(CourseError, match=r"b/0\.png in set\.zip is"):
        read_class_folders(path)


def test_an_image_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    path = folder_of(tmp_path, FILES | {"b/0.png": png(size=(35, 35))})
    with pytest.raises(CourseError, match=r"b/0\.png in set has more than 1,000 pixels"):
        read_class_folders(path)


# What was not thought of: odd zips, links, pipes, files that may not be read or vanish.


@pytest.mark.parametrize(("name", "sentence"), [(".", "has no name"), ("\0", "has no name")])
def test_members_without_a_name_are_one_sentence(tmp_path, name, sentence):
    path = zip_of(tmp_path, FILES)
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo("?")
        member.filename = name
        archive.writestr(member, b"x")
    with pytest.raises(CourseError, match=sentence):
        read_class_folders(path)


def test_an_archive_that_needs_a_later_version_is_one_sentence(tmp_path):
    path = zip_of(tmp_path, FILES)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 6] = 99
    path.write_bytes(data)
    with pytest.raises(CourseError, match=r"set\.zip is no zip archive, or a truncated one \(zip"):
        read_class_folders(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_comes_twice_is_refused(tmp_path):
    path = zip_of(tmp_path, FILES)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/x.png", png())
    with pytest.raises(CourseError, match=r"'a/x\.png' in set\.zip comes twice"):
        read_class_folders(path)


def test_class_folders_may_be_links(tmp_path):
    top = folder_of(tmp_path, FILES)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "z.png").write_bytes(png())
    (top / "c").symlink_to(tmp_path / "elsewhere")
    assert read_class_folders(top)[2] == ("a", "b", "c")
    (top / "c").unlink()
    (top / "c").symlink_to(top)
    with pytest.raises(CourseError, match="c is a link to a folder that is read already"):
        read_class_folders(top)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_among_the_images_is_not_waited_for(tmp_path):
    top = folder_of(tmp_path, FILES)
    os.mkfifo(top / "a" / "z.png")
    with pytest.raises(CourseError, match=r"z\.png is a pipe or a device"):
        read_class_folders(top)


def test_a_folder_that_may_not_be_read_is_not_called_empty(tmp_path, monkeypatch):
    top = folder_of(tmp_path, FILES)

    def scandir(folder, before=os.scandir):
        if str(folder).endswith("a"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return before(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(CourseError, match=r"a cannot be read \(Permission denied\)") as raised:
        read_class_folders(top)
    assert str(top / "a") in str(raised.value)


def test_class_names_are_such_as_can_be_typed(tmp_path):
    """A zip that was made on a Mac holds an accented letter as two."""
    split = {"Bla\u0308tter/1.png": png(), "b/2.png": png()}
    assert read_class_folders(zip_of(tmp_path, split))[2] == ("Bl\u00e4tter", "b")


def test_altered_archives_and_arrays_are_one_sentence_each(tmp_path):
    """A small fuzzer: whatever bytes are altered, the answer is images or a CourseError."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 96, 96, 3), np.uint8)
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    originals = [(zip_of(tmp_path, FILES, kind).read_bytes(), read_class_folders) for kind in kinds]
    for kind in kinds:
        with zipfile.ZipFile(tmp_path / "set.npz", "w", kind) as archive:
            for name, array in {"images": images, "labels": np.arange(4)}.items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, array)
        originals.append(((tmp_path / "set.npz").read_bytes(), read_image_set))
    sentences = []
    for number in range(600):
        content, read = originals[number % len(originals)]
        data = bytearray(content)
        place = rng.integers(len(data)) if number % 3 else rng.integers(400) % len(data)
        if number % 5:
            data[place] = rng.integers(256)
        else:  # lost, as line ends are by a transfer of text
            del data[place : place + rng.integers(1, 40)]
        path = tmp_path / "altered"
        path.write_bytes(data)
        try:
            read(path)
        except CourseError as error:
            sentences.append(str(error))
    assert len(sentences) > 100
    assert all("\n" not in sentence for sentence in sentences)


def test_what_an_npz_unpacks_to_is_bounded(tmp_path, monkeypatch):
    path = tmp_path / "set.npz"
    np.savez_compressed(
        path, images=np.zeros((900, 96, 96, 3), np.uint8), labels=np.zeros(900, int)
    )
    with pytest.raises(CourseError, match=r"set\.npz would unpack to more than 500 times"):
        read_image_set(path)
    monkeypatch.setattr(reading, "MAX_RATIO", 5000)
    monkeypatch.setattr(reading, "MAX_SET_BYTES", 10**7)
    with pytest.raises(CourseError, match=r"set\.npz would unpack to 0\.0 GB, more than 0"):
        read_image_set(path)
    monkeypatch.setattr(reading, "MAX_SET_BYTES", 10**8)
    assert len(read_image_set(path)[1]) == 900


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"labels": np.array(["a", "b"])}, "store the index, 0-7, of each word"),
        ({"images": np.full((2, 96, 96, 3), np.nan)}, r"holds values that are no numbers \(NaN"),
        ({"images": np.zeros((0, 96, 96, 3), np.uint8)}, "images in set.npz is empty"),
        ({"images": np.full((2, 96, 96, 3), 0.5)}, r"store np\.round\(images \* 255\)\.astype"),
        (
            {"images": np.full((2, 96, 96, 3), -0.5)},
            r"holds negative values: store pixels of 0-255 \(from -1 to 1: "
            r"np\.round\(\(images \+ 1\) \* 127\.5\)\.astype\(np\.uint8\)\)\.$",
        ),
    ],
)
def test_advice_fits_what_is_wrong(tmp_path, arrays, sentence):
    whole = {"images": np.zeros((2, 96, 96, 3), np.uint8), "labels": np.arange(2)}
    np.savez(tmp_path / "set.npz", **(whole | arrays))
    with pytest.raises(CourseError, match=sentence):
        read_image_set(tmp_path / "set.npz")
