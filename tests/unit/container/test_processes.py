import pytest

from container import processes

GIBIBYTE = 1 << 30


@pytest.fixture
def machine(monkeypatch):
    def set_up(cores=8, memory=64 * GIBIBYTE, gpu=False):
        monkeypatch.setattr(processes, "available_cores", lambda: cores)
        monkeypatch.setattr(processes, "available_memory", lambda: memory)
        monkeypatch.setattr(processes, "has_gpu", lambda: gpu)

    return set_up


@pytest.fixture
def model(tmp_path):
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper/weights").write_bytes(b"")
    with (tmp_path / "deeper/weights").open("r+b") as file:
        file.truncate(GIBIBYTE // 4)  # 1 GiB while it is converted, beside 0.75 GiB for the process
    return tmp_path


def serving(model, *, multi_model=False, **environment):
    return processes.serving_processes(model, multi_model=multi_model, environment=environment)


@pytest.mark.parametrize(("gibibytes", "number"), [(64, 8), (14.1, 4), (13.9, 3), (1, 1)])
def test_as_many_as_there_are_cores_and_half_of_the_memory_can_hold(machine, model, gibibytes, number):
    machine(memory=int(gibibytes * GIBIBYTE))
    assert serving(model) == number


def test_threads_that_somebody_asked_for_have_their_cores(machine, model):
    machine()
    assert serving(model, OMP_NUM_THREADS="4") == 2
    assert serving(model, OMP_NUM_THREADS="16") == 1
    assert serving(model, OMP_NUM_THREADS="0") == 8
    assert serving(model, OMP_NUM_THREADS="2,1") == 8


def test_one_on_a_gpu_and_for_several_models(machine, model):
    machine(gpu=True)
    assert serving(model) == 1
    machine()
    assert serving(model, multi_model=True) == 1


def test_a_folder_that_is_missing_is_found_missing_by_whoever_loads_it(machine, tmp_path):
    machine()
    assert serving(tmp_path / "none") == 8
