"""The command ``s2s doctor``: whether a machine has what training and serving need."""

import os
import shutil
import socket
import sys
from collections import namedtuple
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from s2s_algo.checkup.hardware import (
    look_at_cores,
    look_at_cpu,
    look_at_gpus,
    look_at_hardware,
    look_at_memory,
    look_at_shared_memory,
)
from s2s_algo.checkup.places import look_at_folder, look_at_port
from s2s_algo.checkup.software import look_at_packages
from s2s_algo.cli import main

GIB = 2**30
Usage = namedtuple("Usage", "total used free")


def run(*arguments):
    return CliRunner().invoke(main, ["doctor", *map(str, arguments)])


@pytest.fixture
def free_port(monkeypatch):
    with socket.socket() as found:
        found.bind(("", 0))
        port = found.getsockname()[1]
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", str(port))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return port


@pytest.fixture
def base(tmp_path):
    for name in ("input/config", "input/data", "model", "checkpoints"):
        (tmp_path / "ml" / name).mkdir(parents=True)
    return tmp_path / "ml"


def states(result):
    """The last word of each line of the table, by what it is about."""
    table = result.stdout.split("\n\n")[0].splitlines()[2:]
    return {line.split("  ")[0]: line.split()[-1] for line in table}


def test_a_machine_that_has_everything_is_told_so(base, free_port):
    result = run("--base-dir", base)
    assert result.exit_code == 0, result.output
    found = states(result)
    assert list(found)[:2] == ["Python", "packages"]
    folders = [str(base / name) for name in ("input/config", "input/data", "model", "output", "checkpoints")]
    for topic in ("Python", "packages", "memory", "torch", "temporary files", f"port {free_port}", *folders):
        assert found[topic] == "ok", result.output
    assert {"cores", "shared memory", "CPU features"} < found.keys()
    assert "missing, will be made" in result.stdout


def test_problems_are_in_the_exit_code_and_come_with_what_to_do(base, free_port):
    with socket.socket() as taken:
        taken.bind(("", free_port))
        taken.listen()
        (base / "output").write_text("in the way")
        result = run("--base-dir", base)
    assert result.exit_code == 1
    assert states(result)[f"port {free_port}"] == states(result)[str(base / "output")] == "problem"
    assert (
        f"* port {free_port} (problem): End what listens there, or choose another port with SAGEMAKER_BIND_TO_PORT."
        in result.stdout
    )
    assert f"* {base}/output (problem): Move it away; a folder belongs there." in result.stdout


def test_a_base_folder_that_is_named_must_be_there(tmp_path, free_port, monkeypatch):
    result = run("--base-dir", tmp_path / "absent")
    assert result.exit_code == 1
    assert f"* {tmp_path}/absent (problem): Mount the job's folder there" in result.stdout
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "absent"))
    result = run()
    assert result.exit_code == 0
    assert states(result)[str(tmp_path / "absent")] == "note"


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_is_none_is_refused(monkeypatch, port):
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", port)
    result = run()
    assert result.exit_code == 2
    assert f"SAGEMAKER_BIND_TO_PORT: '{port}' is not a port; set it to 1 … 65535 or unset it." in result.stderr


def test_folders_that_are_missing_are_made_asked_for_or_left(base):
    shutil.rmtree(base / "input" / "data")
    shutil.rmtree(base / "model")
    finding = look_at_folder(base, "input/data", False)
    assert (finding.found, finding.state) == ("missing", "note")
    assert finding.advice == (
        f"Before training put the channels there: s2s prepare … --output {base}/input/data --channels"
    )
    assert look_at_folder(base, "model", True).found == "missing, will be made"
    assert not (base / "model").exists()
    shutil.rmtree(base / "checkpoints")
    assert look_at_folder(base, "checkpoints", True).state == "note"


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path):
    (tmp_path / "model").symlink_to("/proc/self")
    finding = look_at_folder(tmp_path, "model", True)
    assert finding.state == "problem"
    assert finding.found.startswith("not writable (")
    assert finding.advice == "Let the container's user write there, and free space."


@pytest.mark.parametrize(("free", "state"), [(2 * GIB, "ok"), (GIB // 2, "note"), (1000, "problem")])
def test_little_space_is_told(base, monkeypatch, free, state):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10 * GIB, 0, free))
    finding = look_at_folder(base, "model", True)
    assert finding.state == state
    assert bool(finding.advice) == (state != "ok")


def test_a_look_leaves_nothing_behind(base, free_port):
    before = sorted(base.rglob("*"))
    run("--base-dir", base)
    assert sorted(base.rglob("*")) == before
    assert look_at_port(free_port).state == look_at_port(free_port).state == "ok"


def test_packages_that_are_missing_or_old_are_named():
    requirements = [
        "click>=8.1",
        "numpy>=999.0",
        "no-such-package>=1.2",
        'not-that-either>=3; extra == "demo"',
        'pytest>=1; extra == "dev"',
    ]
    needed, optional = look_at_packages(requirements)
    assert needed.state == "problem"
    assert needed.found.startswith("numpy ")
    assert needed.found.endswith(" is older than 999.0, no-such-package is missing")
    assert needed.advice == "Run: pip install 'numpy>=999.0' 'no-such-package>=1.2'"
    assert (optional.state, optional.found) == ("note", "not-that-either is missing")


def test_versions_are_compared_as_numbers(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: {"torch": "2.13.0+cpu", "old": "2.9"}[name])
    (fine,) = look_at_packages(["torch>=2.6"])
    assert (fine.state, fine.found) == ("ok", "all 1 that are needed")
    (old,) = look_at_packages(["old>=2.10"])
    assert old.found == "old 2.9 is older than 2.10"


def test_cores_are_those_of_the_container(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert look_at_cores(2, {}).found == "2 of 8"
    assert look_at_cores(8, {"OMP_NUM_THREADS": "8"}).state == "ok"
    finding = look_at_cores(2, {"OMP_NUM_THREADS": "8"})
    assert (finding.state, finding.found) == ("note", "2 of 8, OMP_NUM_THREADS is 8")
    assert "set it to 2" in finding.advice


def test_little_memory_is_a_note(monkeypatch, tmp_path):
    assert look_at_memory(GIB).state == "note"
    assert look_at_memory(4 * GIB).found == "4.0 GiB"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**26, 0, 2**26))
    finding = look_at_shared_memory(tmp_path)
    assert (finding.state, finding.found) == ("note", "64 MiB free of 64 MiB")
    assert "--shm-size=1g" in finding.advice
    assert look_at_shared_memory(tmp_path / "absent").state == "note"


def a_torch(*, onednn=True, bfloat16=True, gpus=(), cuda=None):
    return SimpleNamespace(
        backends=SimpleNamespace(
            cpu=SimpleNamespace(get_cpu_capability=lambda: "AVX2"),
            mkldnn=SimpleNamespace(is_available=lambda: onednn),
        ),
        ops=SimpleNamespace(mkldnn=SimpleNamespace(_is_mkldnn_bf16_supported=lambda: bfloat16)),
        cuda=SimpleNamespace(
            is_available=lambda: bool(gpus),
            device_count=lambda: len(gpus),
            get_device_properties=lambda number: SimpleNamespace(name=gpus[number], total_memory=80 * GIB),
        ),
        version=SimpleNamespace(cuda=cuda),
    )


def test_what_makes_a_cpu_fast_is_told():
    assert look_at_cpu(a_torch()).found == "AVX2, oneDNN, bfloat16"
    assert look_at_cpu(a_torch(bfloat16=False)).state == look_at_cpu(a_torch(onednn=False)).state == "note"
    assert "no oneDNN" in look_at_cpu(a_torch(onednn=False)).found


def test_every_gpu_is_told_and_one_that_is_of_no_use_is_a_problem(tmp_path):
    findings = list(look_at_gpus(a_torch(gpus=["One", "Two"]), tmp_path))
    assert [(one.topic, one.found) for one in findings] == [("GPU 0", "One, 80.0 GiB"), ("GPU 1", "Two, 80.0 GiB")]
    (none,) = look_at_gpus(a_torch(), tmp_path)
    assert none.state == "ok"
    (tmp_path / "nvidia0").touch()
    (unused,) = look_at_gpus(a_torch(), tmp_path)
    assert (unused.state, unused.found) == ("problem", "there is one, but torch is built for CPUs")
    (broken,) = look_at_gpus(a_torch(cuda="13.0"), tmp_path)
    assert broken.found == "there is one, but torch does not work with its driver"


def test_a_torch_that_cannot_be_loaded_is_a_finding(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    found = {finding.topic: finding for finding in look_at_hardware()}
    assert found["torch"].state == "problem"
    assert found["torch"].found.startswith("cannot be loaded: ")
    assert "CPU features" not in found


def test_the_container_and_the_doctor_agree_on_the_port():
    from s2s_algo.commands.doctor import _DEFAULT_PORT
    from serve.settings import Settings

    assert Settings.from_environment({}).port == int(_DEFAULT_PORT)
