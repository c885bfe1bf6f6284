"""Imports TensorFlow without its start-up notes, which would stay in every stored output.

TensorFlow 2.21 writes them to the process' standard error before TF_CPP_MIN_LOG_LEVEL counts, so
for the time of this one import standard error is put aside. Errors of the import still raise.
"""

import os
import sys

if "tensorflow" not in sys.modules:
    _error_stream = os.dup(2)
    _nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(_nowhere, 2)
    try:
        import tensorflow
    finally:
        os.dup2(_error_stream, 2)
        os.close(_error_stream)
        os.close(_nowhere)
    # Several networks in one notebook are traced anew on purpose; TensorFlow warns of that.
    tensorflow.get_logger().setLevel("ERROR")
