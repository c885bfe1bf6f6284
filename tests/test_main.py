"""The command line: every command is listed and explains itself, and all end alike."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from helpers import __main__ as command_line
from helpers import course

ENVIRONMENT = os.environ | {"PYTHONPATH": str(course.root()), "COURSE_PROFILE": "quick"}


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "helpers", *arguments],
        env=ENVIRONMENT | settings,
        capture_output=True,
        text=True,
    )


def script(body: str) -> list[str]:
    """Return a command that runs `body`, indented as in a function, as a command of the course."""
    return [
        *(sys.executable, "-u", "-c"),
        f"import time\nfrom helpers.course import run_command\n"
        f"def main():\n{body}\nrun_command(main)",
    ]


def test_the_help_has_a_line_for_each_command(capsys):
    assert command_line.main([]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in lines] == list(command_line.COMMANDS)
    assert all(len(line.split()) > 2 for line in lines)


def test_an_unknown_command_is_status_2_and_named(capsys):
    assert command_line.main(["predikt"]) == 2
    assert "No command is called predikt." in capsys.readouterr().err


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_each_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m helpers {name}")


def test_a_mistyped_profile_is_told_before_anything_is_loaded(capsys, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "fulll")
    monkeypatch.setattr(command_line.importlib, "import_module", lambda _: pytest.fail("loaded"))
    with pytest.raises(course.CourseError, match="'fulll', which is no profile"):
        command_line.main(["score", "none.zip"])


def test_a_command_that_loads_tensorflow_writes_nothing_but_its_own():
    answer = run("predict", "--help")
    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_plotting_backend_that_does_not_exist_is_no_matter():
    answer = run("score", "none.zip", MPLBACKEND="nonsense", KERAS_BACKEND="", COURSE_PROFILE="")
    assert answer.returncode == 1
    assert answer.stderr == "none.zip is not there: name a submission's zip.\n"


def test_ctrl_c_is_one_line_and_130():
    body = "    print('started')\n    time.sleep(60)"
    with subprocess.Popen(
        script(body),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().strip() == "Stopped; what was done is kept."
    assert process.returncode == 130


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_a_command_that_is_ended_tidies_up(number, tmp_path):
    body = (
        "    try:\n        print('started')\n        time.sleep(60)\n"
        f"    finally:\n        open({str(tmp_path / 'tidied')!r}, 'w')"
    )

    def heed():
        # Tests run under nohup would hand on its deafness, which a command respects.
        signal.signal(getattr(signal, number), signal.SIG_DFL)

    with subprocess.Popen(
        script(body), env=ENVIRONMENT, stdout=subprocess.PIPE, preexec_fn=heed
    ) as process:
        process.stdout.readline()
        process.send_signal(getattr(signal, number))
    assert process.returncode == 128 + getattr(signal, number)
    assert (tmp_path / "tidied").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no such pipes")
def test_a_closed_pipe_is_no_error():
    body = "    for _ in range(100_000):\n        print('a line')"
    with subprocess.Popen(
        script(body), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_names_are_shown_on_one_line_without_escape_codes():
    assert course.printable("a\x1b[2J\nb") == "a\\x1b[2J\\nb"
    assert course.printable("Zelle ü 血.png") == "Zelle ü 血.png"
    assert course.printable("\udcff.png") == "\\udcff.png"


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
@pytest.mark.parametrize(
    ("target", "given"),
    [
        ("score", {"SUBMISSION": "their 'best' submission.zip"}),
        ("submission", {"EXPERIMENT": "of two words"}),
    ],
)
def test_make_hands_names_on_as_they_are(tmp_path, target, given):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\nfor each in "$@"; do echo "[$each]"; done\n')
    python.chmod(0o755)
    (tmp_path / ".installed").touch()
    settings = [f"{name}={value}" for name, value in given.items()]
    answer = subprocess.run(
        ["make", "-s", target, *settings, f"VENV={tmp_path}"],
        cwd=course.root(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"[{target}]\n[{next(iter(given.values()))}]\n" in answer.stdout


def test_a_missing_typst_is_one_sentence():
    body = (
        "    import sys\n    sys.modules['typst'] = None\n"
        "    from commands.report import build\n    build.build(None, None)"
    )
    done = subprocess.run(script(body), env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "The package typst is missing: in the course's folder, run "
        'python -m pip install -e ".[report]" first.\n'
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_under_what_is_printed_is_one_sentence():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            script("    print('a line')"), env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE
        )
    said = done.stderr.decode().splitlines()
    assert (done.returncode, len(said)) == (1, 1), done
    assert said[0].startswith("What is printed cannot be read or written (No space left")
