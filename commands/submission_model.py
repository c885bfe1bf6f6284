"""The competition's Model: a Keras network with its weights, and none of the course's code.

`python -m helpers submission` puts this file into submission.zip as model.py, beside network.json
(the network's description) and weights.npz. It needs TensorFlow 2.17 or later and NumPy.
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

# 1: each image as it is. 8: also turned by quarters and mirrored, the probabilities averaged.
VIEWS = 1

# The network always sees this many pictures, the last batch filled up with black ones: the same
# arithmetic for each image, however many are asked for and in whatever order.
BATCH = 32

FOLDER = Path(__file__).resolve().parent


class Model:
    """Predicts the classes of blood-cell photographs."""

    def __init__(self):
        network = keras.models.model_from_json((FOLDER / "network.json").read_text())
        with np.load(FOLDER / "weights.npz", allow_pickle=False) as stored:
            network.set_weights([stored[name] for name in sorted(stored.files)])
        _finalize_normalization(network)

        pictures = tf.TensorSpec((BATCH, *network.input_shape[1:]), tf.float32)

        @tf.function(input_signature=[pictures], jit_compile=False)
        def probabilities(batch):
            return tf.nn.softmax(network(batch, training=False))

        self._probabilities = probabilities

    def predict(self, X):
        """Return the class, int64 (N,) in 0-7, of each image, uint8 (N, 96, 96, 3)."""
        images, step = np.asarray(X), BATCH // VIEWS
        starts = range(0, len(images), step)
        classes = [self._classes(images[start : start + step]) for start in starts]
        return np.concatenate([np.empty(0, np.int64), *classes])

    def _classes(self, images):
        pictures = _views(images)
        batch = np.zeros((BATCH, *images.shape[1:]), np.float32)
        batch[: len(pictures)] = pictures
        probabilities = self._probabilities(batch).numpy()[: len(pictures)]
        return probabilities.reshape(VIEWS, len(images), -1).mean(axis=0).argmax(axis=1)


def _views(images):
    """Return (VIEWS * N, 96, 96, 3): all images in their first view, then all in the next."""
    sides = (images, images[:, :, ::-1])
    views = [np.rot90(side, turns, axes=(1, 2)) for side in sides for turns in range(4)]
    return np.concatenate(views[:VIEWS])


def _finalize_normalization(network):
    """Make Normalization layers use the mean and variance that `set_weights` gave them."""
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            _finalize_normalization(layer)
        elif isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
