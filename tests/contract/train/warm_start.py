"""A child process that runs the container's entry point again and again, but imports torch only once.

Importing torch takes longer than a small job. Each line of standard input is a JSON object with the environment and
the log file of one run, which is a fork of this process; it is answered by a line with the process id at the start and
a line with the exit code and the CPU seconds at the end.
"""

import gc
import json
import os
import runpy
import sys
import tempfile

import s2s_algo.training.assembly
import s2s_algo.training.trainer  # noqa: F401  what takes long to import


def run(environment: dict[str, str], log: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # what was imported has asked for the folder, and that is remembered
    for file, mode, descriptor in ((os.devnull, os.O_RDONLY, 0), (log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 1)):
        os.dup2(os.open(file, mode), descriptor)
    os.dup2(1, 2)
    sys.argv = ["container.entrypoint", "train"]
    try:
        runpy.run_module("container.entrypoint", run_name="__main__")
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(end.code)  # to take down all that was imported would cost as much as the job


if __name__ == "__main__":
    gc.freeze()  # a collection in a fork would copy the memory of all that was imported
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            run(**json.loads(line))
        print(pid, flush=True)
        _, status, usage = os.wait4(pid, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime]), flush=True)
