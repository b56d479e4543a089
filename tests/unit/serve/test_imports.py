"""What may be loaded where; each in a fresh interpreter."""

import subprocess
import sys

import pytest


def loaded_after(code):
    script = f"import sys\n{code}\nprint(*sys.modules)"
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("code", ["import container.serve, serve.worker, serve.gunicorn_conf"])
def test_the_master_loads_no_torch(code):
    assert "torch" not in loaded_after(code)


def test_serving_never_loads_training():
    modules = loaded_after("import container.serve, serve.worker, s2s_algo.decoding.translator")
    assert "torch" in modules
    assert [name for name in modules if name.startswith("s2s_algo.training")] == []


def test_formats_need_no_http_server():
    modules = loaded_after("import serve.codecs, serve.options, serve.problems, serve.service")
    assert {"flask", "gunicorn", "torch"}.isdisjoint(modules)
