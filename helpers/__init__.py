"""Helpers of the blood-cells course: the notebooks tell the story, these modules compute it."""

import logging
import os

# TensorFlow reads this when it is first imported; its start-up notes are no part of a lesson.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Several networks in one notebook are traced anew on purpose; TensorFlow warns of that.
logging.getLogger("tensorflow").addFilter(lambda record: record.levelno >= logging.ERROR)
