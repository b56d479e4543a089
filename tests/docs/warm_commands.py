"""``s2s`` and ``python -m container.entrypoint`` for shell commands, in forks of a process that has imported torch.

Importing it takes longer than what the commands of the pages do with so little data.

    python -m tests.docs.warm_commands serve SOCKET
    python tests/docs/warm_commands.py ask SOCKET MODULE [ARGUMENT]...
"""

import gc
import json
import os
import runpy
import signal
import socket
import sys
import tempfile

_LONGEST = 2**17  # bytes of a request: arguments and environment


def serve(path: str) -> None:
    """Answers each request by the exit code, until it is killed."""
    import s2s_algo.decoding.translator
    import s2s_algo.evaluation
    import s2s_algo.training.assembly
    import s2s_algo.training.trainer  # noqa: F401  what takes long to import

    gc.freeze()  # a collection in a fork would copy the memory of all that was imported
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen()
        while True:
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    listener.close()
                    _answer(connection)


def _answer(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, descriptors, _, _ = socket.recv_fds(connection, _LONGEST, 3)
    pid = os.fork()
    if pid == 0:
        connection.close()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        _run(**json.loads(message))
    _, status = os.waitpid(pid, 0)
    connection.send(str(os.waitstatus_to_exitcode(status) % 256).encode())
    os._exit(0)


def _run(module: str, arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    tempfile.tempdir = None  # what was imported may have asked for the folder, and that is remembered
    # Those that are there remember of the descriptors what they were, such as whether one can seek.
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode, encoding="utf-8") for number, mode in enumerate("rww"))
    sys.argv = [module, *arguments]
    code = 1
    try:
        runpy.run_module(module, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # to take down all that was imported would cost as much as the command


def ask(path: str, module: str, arguments: list[str]) -> int:
    """Has a command run on this process's streams; returns its exit code."""
    request = {"module": module, "arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}  # noqa: PTH109
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(path)
        socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
        return int(connection.recv(16) or 1)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(ask(sys.argv[2], sys.argv[3], sys.argv[4:]))
