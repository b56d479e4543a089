"""How the command ``s2s`` ends when something outside ends it: its exit code and what it says."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DESCRIBE = ("describe", "metrics")


def start(*arguments, **streams):
    return subprocess.Popen(
        [sys.executable, "-m", "s2s_algo.cli", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        **streams,
    )


def test_a_reader_that_is_gone_is_no_bug():
    reading, writing = os.pipe()
    os.close(reading)
    process = start(*DESCRIBE, stdout=writing)
    os.close(writing)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_the_output_is_the_machine_s():
    with Path("/dev/full").open("w") as full:
        process = start(*DESCRIBE, stdout=full)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (3, "InternalServerError: standard input or output: No space left on device\n")


def test_ctrl_c_ends_with_the_code_of_a_shell_and_leaves_nothing(tmp_path):
    text = tmp_path / "text"
    os.mkfifo(text)  # nobody writes, so the command waits
    process = start("prepare", text, text, text, text, "-o", tmp_path / "data")
    writer = text.open("w")  # returns when the command has opened it
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    writer.close()
    assert (process.returncode, said) == (130, "\nstopped\n")
    assert not (tmp_path / "data").exists()
