"""Runs a submission's model.py on arrays of images; `commands.isolated` copies and starts it.

Usage: isolated_run.py SUBMISSION EXCHANGE GIGABYTES LIBRARY_FOLDER [LIBRARY_FOLDER ...]

EXCHANGE holds images-0000.npy and so on; classes-0000.npy and so on, or one file named failure
(the stage, then the error), are left there. Standard library and NumPy only.
"""

import importlib
import os
import sys
import traceback
from pathlib import Path

MAX_FILE_BYTES = 10**9


def limit_memory(gigabytes: float) -> None:
    """Limit what this process may allocate, where the system lets it, and any file it writes.

    The limit is on data and not on the address space, of which TensorFlow reserves far more than it
    uses on a GPU.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {resource.RLIMIT_DATA: int(gigabytes * 1e9), resource.RLIMIT_FSIZE: MAX_FILE_BYTES}
    for kind, most in limits.items():
        already = resource.getrlimit(kind)[1]
        if already != resource.RLIM_INFINITY:
            most = min(most, already)
        resource.setrlimit(kind, (most, most))


def last_line(error: BaseException, submission: Path) -> str:
    """Return the error's kind and first line, and where in the submission it was raised."""
    message = str(error).strip().partition("\n")[0]
    line = f"{type(error).__name__}: {message}" if message else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(submission)]
    return f"{line} ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else line


def main() -> None:
    """Import model.py, make a Model, let it predict every file of images."""
    submission, exchange, libraries = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[4:]
    limit_memory(float(sys.argv[3]))
    sys.path += libraries
    import numpy as np

    os.chdir(submission)
    sys.path.insert(0, str(submission))
    sys.argv = ["model.py"]
    if not any((submission / name).exists() for name in ("helpers", "helpers.py")):
        # The course may be installed among the libraries; where a submission is judged, it is not.
        sys.modules["helpers"] = None
    stage = "import"
    try:
        model_class = getattr(importlib.import_module("model"), "Model", None)
        stage = "class"
        if not isinstance(model_class, type):
            raise TypeError("no class Model")
        stage = "init"
        model = model_class()
        for path in sorted(exchange.glob("images-*.npy")):
            stage = "predict"
            answer = model.predict(np.load(path, allow_pickle=False))
            stage = "answer"
            name = path.name.replace("images", "classes")
            np.save(exchange / name, np.asarray(answer), allow_pickle=False)
    except BaseException as error:  # a submission may also call sys.exit
        (exchange / "failure").write_text(
            f"{stage}\n{last_line(error, submission)}", errors="replace"
        )
    sys.stdout.flush()
    # Threads that a submission left running would keep the process alive.
    os._exit(0)


if __name__ == "__main__":
    main()
