"""What no module may do: import against the stream, run what it reads, or keep state in a module."""

import ast
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

REPOSITORY = Path(__file__).parents[2]

PACKAGES = ("container", "s2s_algo", "serve", "local_test", "benchmarks", "release")

GENERATED = {REPOSITORY / "s2s_algo" / "data" / "record_pb2.py"}

FILES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py") if path not in GENERATED)
TESTS = sorted((REPOSITORY / "tests").rglob("*.py"))

# Reading any of them can run what was read.
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
FUNCTIONS = {("torch", "load"), ("torch", "save"), ("pandas", "read_pickle"), ("os", "system")}
OPTIONS = {"allow_pickle", "shell"}


def relative(path):
    return str(path.relative_to(REPOSITORY))


# The code on the pages of the documentation is run as it stands there.
RUNS_PAGES = {"tests/docs/conftest.py": ["compile()", "exec()"]}


def dangers(source):
    """What a module could be made to execute: (line, what)."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        match node:
            case ast.Import():
                names = [alias.name.partition(".")[0] for alias in node.names]
            case ast.ImportFrom():
                names = [(node.module or "").partition(".")[0]]
            case ast.Call(func=ast.Name(id=name)) if name in BUILTINS:
                found.append((node.lineno, f"{name}()"))
            case ast.Attribute(value=ast.Name(id=module), attr=name) if (module, name) in FUNCTIONS:
                found.append((node.lineno, f"{module}.{name}"))
            case ast.keyword(arg=name, value=value) if name in OPTIONS:
                if not (isinstance(value, ast.Constant) and value.value is False):
                    found.append((value.lineno, name))
        found += [(node.lineno, name) for name in names if name in MODULES]
    return found


@pytest.mark.parametrize("path", [*FILES, *TESTS], ids=relative)
def test_no_module_runs_what_it_reads(path):
    found = [what for _, what in dangers(path.read_text(encoding="utf-8"))]
    assert found == RUNS_PAGES.get(relative(path), [])


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import os, pickle as p",
        "from joblib import load",
        "import torch; torch.load('x')",
        "from torch import nn; import torch; f = torch.load",
        "eval('1')",
        "exec(text)",
        "numpy.load(file, allow_pickle=True)",
        "subprocess.run('ls', shell=True)",
        "__import__(name)",
    ],
)
def test_the_search_finds_what_could_run(line):
    assert dangers(line)


@pytest.mark.parametrize("line", ["model.eval()", "numpy.load(file)", "numpy.load(file, allow_pickle=False)"])
def test_the_search_finds_nothing_where_nothing_can_run(line):
    assert dangers(line) == []


CHANGES = {"append", "extend", "insert", "remove", "pop", "popitem", "clear", "update", "setdefault", "add", "discard"}


def module_state(source):
    """Names of a module that its functions change: (line, name)."""
    tree = ast.parse(source)
    assigned = [
        target
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    names = {target.id for target in assigned if isinstance(target, ast.Name)}
    found = []
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        arguments = function.args
        local = {argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        local |= {
            node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        for node in ast.walk(function):
            match node:
                case ast.Global():
                    found += [(node.lineno, name) for name in node.names]
                case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                    if name in names - local:
                        found.append((node.lineno, name))
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method in CHANGES:
                    if name in names - local:
                        found.append((node.lineno, name))
    return found


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_no_module_keeps_state(path):
    assert module_state(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "count = 0\ndef f():\n    global count\n    count = 1",
        "_cache = {}\ndef f(key):\n    _cache[key] = 1",
        "_seen: set[int] = set()\nclass C:\n    def f(self, key):\n        _seen.add(key)",
        "_all = []\nf = lambda x: _all.append(x)",
    ],
)
def test_the_search_finds_state(source):
    assert module_state(source)


def test_the_search_lets_local_names_be():
    assert (
        module_state("names = {}\ndef f(names):\n    names['x'] = 1\ndef g():\n    names = []\n    names.append(1)")
        == []
    )


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("container", "s2s_algo", "serve")


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("serve", "s2s_algo.training"),
        ("container.serve", "s2s_algo.training"),
        ("container.serve", "container.train"),
        ("s2s_algo", "serve"),
        ("s2s_algo", "container"),
        ("s2s_algo.decoding", "s2s_algo.training"),
        ("s2s_algo.checkpoints", "s2s_algo.decoding"),
        ("s2s_algo.model", "s2s_algo.checkpoints"),
        ("s2s_algo.data", "s2s_algo.model"),
        ("s2s_algo.hyperparameters", "s2s_algo.data"),
        ("s2s_algo.data", "s2s_algo.hyperparameters"),
    ],
)
def test_no_import_goes_against_the_stream(graph, importer, imported):
    chains = graph.find_shortest_chains(importer=importer, imported=imported)
    assert not chains, " → ".join(min(chains, key=len))


def test_lint_imports_keeps_every_contract():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def loaded_after(statement):
    """The modules that a fresh interpreter has loaded after a statement."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_checking_a_job_loads_neither_torch_nor_a_server():
    heavy = {"torch", "flask", "gunicorn", "sacrebleu", "click", "safetensors"}
    assert not heavy & loaded_after("import container.entrypoint, container.train")


def test_listening_to_signals_loads_almost_nothing():
    heavy = {"pydantic", "numpy", "google.protobuf", "torch", "s2s_algo.hyperparameters"}
    assert not heavy & loaded_after("import container.entrypoint")


def test_asking_the_command_line_for_help_loads_no_torch():
    assert "torch" not in loaded_after("import s2s_algo.cli")
