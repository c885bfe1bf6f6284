"""Helpers of the blood-cells course: the notebooks tell the story, these modules compute it."""

import logging
import os
import sys
import warnings

# TensorFlow reads these when it is first imported; its start-up notes are no part of a lesson.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Left to itself, TensorFlow uses oneDNN only on processors with instructions for neural networks;
# `make bench` shows what it brings on this one.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Keras reads this when it is first imported; without the backend it names, that is a traceback.
if (_backend := os.environ.get("KERAS_BACKEND") or "tensorflow") != "tensorflow":
    print(f"KERAS_BACKEND={_backend} is not used: this course needs TensorFlow.", file=sys.stderr)
os.environ["KERAS_BACKEND"] = "tensorflow"
# Several networks in one notebook are traced anew on purpose; TensorFlow warns of that.
logging.getLogger("tensorflow").addFilter(lambda record: record.levelno >= logging.ERROR)
# pooch imports a bar of tqdm's that needs ipywidgets and says so; the course's bars need none.
warnings.filterwarnings("ignore", message="IProgress not found")
