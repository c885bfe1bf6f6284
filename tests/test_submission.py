"""submission.zip: the same bytes for equal weights, and the network's own predictions elsewhere."""

import dataclasses
import hashlib
import importlib.util
import io
import json
import sys
import zipfile
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from commands import isolated, submission
from commands.submission import write_submission
from helpers import course
from helpers.course import CourseError
from helpers.data.photographs import CLASS_NAMES
from helpers.models import released
from helpers.training import recipes, run

IMAGES = np.random.default_rng(0).integers(0, 256, (35, 96, 96, 3), dtype=np.uint8)


def network(*extra: layers.Layer, classes: int = 8) -> keras.Model:
    """Return a small network with all that is easily lost: nesting, statistics, settings."""
    keras.utils.set_random_seed(0)
    images = keras.Input((96, 96, 3), name="image")
    backbone = keras.Sequential(
        [
            keras.Input((96, 96, 3), name="image"),
            layers.Rescaling(0.5, name="rescaling"),
            layers.Normalization(name="normalization"),
            layers.Resizing(24, 24, interpolation="bicubic", name="resizing"),
            layers.Conv2D(4, 3, activation="relu6", kernel_regularizer="l2", name="conv"),
            layers.BatchNormalization(epsilon=0.1, name="batch_norm"),
            layers.Dropout(0.5, name="dropout"),
            *extra,
            layers.Flatten(name="flatten"),
        ],
        name="backbone",
    )
    model = keras.Model(images, layers.Dense(classes, name="logits")(backbone(images)), name="toy")
    normalization = backbone.get_layer("normalization")
    normalization.set_weights([np.full(3, 64), np.array([25, 30, 35]) ** 2, np.array(0)])
    normalization.finalize_state()
    backbone.get_layer("batch_norm").set_weights(
        [np.full(4, value) for value in (1.5, 0.1, 0.3, 0.5)]
    )
    return model


@pytest.fixture(scope="module")
def model():
    model = network()
    # What it was trained with must not be needed to load it.
    model.compile("lion", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.fixture(scope="module")
def loaded(model, tmp_path_factory):
    """Return the Model of a submission with 1 view, loaded from its unpacked zip."""
    return load(model, tmp_path_factory.mktemp("one"), views=1)


def load(model, folder, views):
    write_submission(model, folder / "submission.zip", views)
    with zipfile.ZipFile(folder / "submission.zip") as archive:
        archive.extractall(folder)
    spec = importlib.util.spec_from_file_location(f"submitted_{views}", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Model()


def test_it_predicts_as_the_network_does_in_a_process_without_the_course(model, tmp_path):
    write_submission(model, tmp_path / "submission.zip", views=8)
    answer = isolated.predict(
        tmp_path / "submission.zip", [IMAGES[:1], IMAGES], minutes=5, gigabytes=6
    )
    views = [np.rot90(side, k, (1, 2)) for side in (IMAGES, IMAGES[:, ::-1]) for k in range(4)]
    probabilities = keras.ops.softmax(np.stack([model.predict(view, verbose=0) for view in views]))
    expected = np.asarray(probabilities).mean(axis=0).argmax(axis=1)
    assert len(set(expected)) > 2
    np.testing.assert_array_equal(answer.classes[1], expected)
    np.testing.assert_array_equal(answer.classes[0], expected[:1])
    assert answer.classes[1].dtype.kind == "i"


def test_predictions_depend_on_neither_batch_size_nor_order(model, loaded):
    expected = model.predict(IMAGES, verbose=0).argmax(axis=1)
    assert len(set(expected)) > 2
    order = np.random.default_rng(0).permutation(len(IMAGES))
    np.testing.assert_array_equal(loaded.predict(IMAGES), expected)
    np.testing.assert_array_equal(loaded.predict(IMAGES[order]), expected[order])
    alone = [loaded.predict(IMAGES[row : row + 1]) for row in range(5)]
    np.testing.assert_array_equal(np.concatenate(alone), expected[:5])
    assert loaded.predict(IMAGES[:0]).shape == (0,)


def test_each_image_gets_the_very_same_probabilities_in_any_batch(loaded, monkeypatch):
    seen = []
    inner = loaded._probabilities
    monkeypatch.setattr(loaded, "_probabilities", lambda b: seen.append(inner(b)) or seen[-1])
    loaded.predict(IMAGES)
    loaded.predict(IMAGES[2:3])
    np.testing.assert_array_equal(seen[0][2], seen[-1][0])


def test_eight_views_make_a_mirrored_or_turned_image_the_same(model, tmp_path):
    eight = load(model, tmp_path, views=8)
    expected = eight.predict(IMAGES)
    np.testing.assert_array_equal(eight.predict(IMAGES[:, ::-1]), expected)
    np.testing.assert_array_equal(eight.predict(np.rot90(IMAGES, axes=(1, 2))), expected)


def test_equal_weights_give_equal_bytes(model, tmp_path):
    write_submission(model, tmp_path / "a.zip")
    write_submission(keras.models.clone_model(model), tmp_path / "other.zip")
    again = network()
    write_submission(again, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert (tmp_path / "a.zip").read_bytes() != (tmp_path / "other.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["model.py", "network.json", "weights.npz"]


def test_settings_unknown_to_earlier_versions_of_keras_are_left_out(model, tmp_path):
    write_submission(model, tmp_path / "submission.zip")
    with zipfile.ZipFile(tmp_path / "submission.zip") as archive:
        description = json.loads(archive.read("network.json"))
    backbone = description["config"]["layers"][1]["config"]
    batch_norm = next(x for x in backbone["layers"] if x["class_name"] == "BatchNormalization")
    assert batch_norm["config"]["epsilon"] == 0.1
    assert not any(f'"{name}"' in json.dumps(description) for name in released.LATER_SETTINGS)
    assert "compile_config" not in description


@keras.saving.register_keras_serializable()
class OwnLayer(layers.Layer):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(
    "layer",
    [OwnLayer(name="own"), layers.Lambda(lambda x: x, output_shape=(22, 22, 4), name="own")],
)
def test_layers_with_code_of_their_own_are_refused(layer, tmp_path):
    with pytest.raises(CourseError, match=r"layer own .* holds code of its own"):
        write_submission(network(layer), tmp_path / "submission.zip")
    assert not list(tmp_path.iterdir())


def test_other_shapes_views_and_sizes_are_refused(model, tmp_path, monkeypatch):
    with pytest.raises(CourseError, match=r"returns \(None, 5\) instead of"):
        write_submission(network(classes=5), tmp_path / "submission.zip")
    with pytest.raises(CourseError, match="4 views"):
        write_submission(model, tmp_path / "submission.zip", views=4)
    monkeypatch.setattr(submission, "LARGEST_BYTES", 100)
    with pytest.raises(CourseError, match=r"submission.zip would have .* MB, more than"):
        write_submission(model, tmp_path / "submission.zip")
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_trained_experiment(model, tmp_path, monkeypatch, capsys):
    asked = []
    data = SimpleNamespace(class_names=CLASS_NAMES)
    monkeypatch.setattr(submission, "load_course_data", lambda: data)
    monkeypatch.setattr(run, "load_trained", lambda *given: asked.append(given) or model)
    path = tmp_path / "submission.zip"
    assert submission.main(["fine_tuned", "--views", "8", "--to", str(path)]) == 0
    assert asked == [(recipes.fine_tuned(), data)]
    with zipfile.ZipFile(path) as archive:
        assert "\nVIEWS = 8\n" in archive.read("model.py").decode()
    with pytest.raises(CourseError, match="There is no experiment 'unheard_of'"):
        submission.main(["unheard_of", "--to", str(path)])
    data.class_names = CLASS_NAMES[:5]
    with pytest.raises(CourseError, match="these images have 5: train it on another source"):
        submission.main(["fine_tuned", "--to", str(path)])
    assert len(asked) == 1, "refused before it is trained"


def test_without_an_experiment_the_command_packs_the_released_model(
    model, tmp_path, monkeypatch, capsys
):
    def never(*_):
        raise AssertionError("a released model needs neither photographs nor training")

    monkeypatch.setattr(submission, "load_course_data", never)
    monkeypatch.setattr(run, "load_trained", never)
    monkeypatch.setattr(course, "root", lambda: tmp_path)
    with pytest.raises(CourseError, match=f"There is no released model {submission.PACKED!r}"):
        submission.main([])
    card = {
        "class_names": list(CLASS_NAMES),
        "temperature": 1.0,
        "experiment": dataclasses.asdict(recipes.fine_tuned()),
        "backbone": None,
        "training": {"profile": "full", "source": "mirror"},
    }
    (tmp_path / "models" / submission.PACKED).mkdir(parents=True)
    halves = released.weights_file([w.astype(np.float16) for w in model.get_weights()])
    files = {"network.json": released.network_file(model), "weights.npz": halves}
    card["sha256"] = {f: hashlib.sha256(content).hexdigest() for f, content in files.items()}
    for name, content in {**files, "card.json": json.dumps(card).encode()}.items():
        (tmp_path / "models" / submission.PACKED / name).write_bytes(content)
    assert submission.main([]) == 0
    first = (tmp_path / "submission.zip").read_bytes()
    assert submission.main(["--to", str(tmp_path / "again.zip")]) == 0
    assert (tmp_path / "again.zip").read_bytes() == first
    with (
        zipfile.ZipFile(tmp_path / "submission.zip") as archive,
        np.load(io.BytesIO(archive.read("weights.npz")), allow_pickle=False) as stored,
    ):
        weights = [stored[name] for name in sorted(stored.files)]
    for weight, whole in zip(weights, model.get_weights(), strict=True):
        assert weight.dtype == whole.dtype
        np.testing.assert_array_equal(weight, whole.astype(np.float16).astype(whole.dtype))
    expected = released.load(submission.PACKED).predict(IMAGES, verbose=0).argmax(axis=1)
    np.testing.assert_array_equal(model.predict(IMAGES, verbose=0).argmax(axis=1), expected)


@pytest.mark.parametrize("there", ["a zip of the reader's own", "a photograph", "a folder"])
def test_nothing_of_the_users_is_written_over(model, tmp_path, monkeypatch, there):
    path = tmp_path / "submission.zip"
    if there == "a folder":
        path.mkdir()
    elif there == "a photograph":
        path.write_bytes(b"\xff\xd8\xff\xe0")
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model.py", "class Model: ...")
    before = path.read_bytes() if path.is_file() else None
    monkeypatch.setattr(released, "load", lambda name: pytest.fail("a model was loaded"))
    with pytest.raises(CourseError, match="is there and was not written by this command"):
        submission.main(["--to", str(path)])
    assert (path.read_bytes() if path.is_file() else None) == before
    with pytest.raises(CourseError, match=r"cell\.jpg is no \.zip"):
        submission.main(["--to", str(tmp_path / "cell.jpg")])
    monkeypatch.setattr(released, "load", lambda name: model)
    again = tmp_path / "again.zip"
    assert [submission.main(["--to", str(again)]) for _ in range(2)] == [0, 0]


def test_the_template_needs_nothing_but_tensorflow_and_numpy():
    imported = {
        line.split()[1].split(".")[0]
        for line in submission.TEMPLATE.read_text().splitlines()
        if line.startswith(("import ", "from "))
    }
    assert imported - set(sys.stdlib_module_names) == {"keras", "numpy", "tensorflow"}
