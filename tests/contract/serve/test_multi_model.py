"""A multi-model endpoint: the container's own command, and fifty models that many clients load, ask and unload."""

import math
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import torch

from s2s_algo.checkpoints.artifact import Artifact, save_artifact
from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.decoding.translator import Translator
from s2s_algo.model.config import (
    AttentionConfig,
    EmbeddingConfig,
    ModelConfig,
    RecurrentDecoderConfig,
    RecurrentEncoderConfig,
)
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.limits import LengthLimits
from s2s_algo.model.seq2seq import Seq2Seq
from serve.model_source import ModelSource

MEBIBYTE = 2**20
START = "import sys; from container.entrypoint import main; sys.exit(main(['serve']))"
SOURCE = Vocabulary.from_tokens([*SPECIAL_TOKENS, *"abcdefgh"])
TEXTS = ["a b c", "h g f e d c b a"]
NAMES = [f"model-{number:02}" for number in range(50)]
EXTRA, LARGE = "one too many", "large"


def model_of(source, target, hidden, seed):
    torch.manual_seed(seed)
    config = ModelConfig(
        source_embedding=EmbeddingConfig(vocabulary_size=len(source), size=hidden),
        target_embedding=EmbeddingConfig(vocabulary_size=len(target), size=hidden),
        encoder=RecurrentEncoderConfig(cell_type="lstm", num_layers=1, num_hidden=hidden),
        decoder=RecurrentDecoderConfig(
            cell_type="lstm", num_layers=1, num_hidden=hidden, attention=AttentionConfig(type="mlp", num_hidden=hidden)
        ),
    )
    model = Seq2Seq(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-1, 1)
        model.output_layer.bias[: len(SPECIAL_TOKENS)] -= 60  # only the words of the model
    return model


def save(folder, target, hidden=8, seed=0, source=SOURCE):
    limits = LengthLimits(max_input_length=12, ratio_mean=1.0, ratio_std=0.2, max_output_length=13)
    model = model_of(source, target, hidden, seed)
    save_artifact(Artifact(model, InferenceConfig(beam_size=3, limits=limits), source, target), folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The folders of all models; the words of each are its own, so that nobody else can have said them."""
    base = tmp_path_factory.mktemp("opt-ml")
    for seed, name in enumerate([*NAMES, EXTRA]):
        words = [f"{name.replace(' ', '-')}:{letter}" for letter in "ABCDEFGHIJ"]
        save(base / "models" / name / "model", Vocabulary.from_tokens([*SPECIAL_TOKENS, *words]), seed=seed)
    many = Vocabulary.from_tokens([*SPECIAL_TOKENS, *map(str, range(20_000))])
    save(base / "models" / LARGE / "model", many, hidden=256, source=many)
    (base / "models" / "empty" / "model").mkdir(parents=True)
    return base


@pytest.fixture(scope="module")
def expected(base):
    """What each model says to each text."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more would compete with those of the server
    sources = [SOURCE.encode(text) for text in TEXTS]
    found = {}
    for name in [*NAMES, EXTRA]:
        translations = Translator.load(base / "models" / name / "model").translate(sources)
        found[name] = [translation.text for translation in translations]
    torch.set_num_threads(threads)
    assert all(text for texts in found.values() for text in texts)
    return found


class Endpoint:
    """A client of the routes."""

    def __init__(self, server, base):
        self.server, self.base, self.url = server, base, server.url

    def load(self, name):
        body = {"model_name": name, "url": f"{self.base}/models/{name}/model"}
        return requests.post(f"{self.url}/models", json=body, timeout=60)

    def unload(self, name):
        return requests.delete(f"{self.url}/models/{name}", timeout=60)

    def invoke(self, name, text):
        body = {"instances": [{"data": text}]}
        headers = {"X-Amzn-SageMaker-Target-Model": f"{name}.tar.gz"}
        return requests.post(f"{self.url}/models/{name}/invoke", json=body, headers=headers, timeout=60)

    def names(self):
        answer = requests.get(f"{self.url}/models", timeout=60)
        assert answer.status_code == 200
        return [model["modelName"] for model in answer.json()["models"]]

    def metric(self, name):
        [line] = [line for line in requests.get(f"{self.url}/metrics").text.splitlines() if line.startswith(f"{name} ")]
        return float(line.split()[1])

    def resident_mebibytes(self):
        [pid] = self.server.workers()
        [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) / 1024


@pytest.fixture(scope="module")
def endpoint(start_server, base):
    source = ModelSource(base / "models", Translator.load)
    [cost] = {source.serving_cost(Translator.load(base / "models" / name / "model")) for name in (NAMES[0], EXTRA)}
    limit = math.ceil(len(NAMES) * cost / MEBIBYTE)
    assert limit * MEBIBYTE < (len(NAMES) + 1) * cost
    server = start_server(
        START,
        SAGEMAKER_BASE_DIR=str(base),
        SAGEMAKER_MULTI_MODEL="true",
        S2S_MODEL_MEMORY_MB=str(limit),
        OMP_NUM_THREADS="1",
    )
    server.wait_for_ping(200)
    return Endpoint(server, base)


def error_of(response):
    return response.status_code, response.json()["error"]["code"]


def at_once(function, arguments, threads=8):
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, arguments))


# -- one after the other: each test leaves what the next one begins with


def test_the_server_is_up_without_any_model(endpoint):
    assert endpoint.names() == []
    assert error_of(endpoint.invoke(NAMES[0], "a")) == (404, "model_not_found")
    assert error_of(endpoint.unload(NAMES[0])) == (404, "model_not_found")
    assert error_of(endpoint.server.translate("a")) == (404, "model_not_found")
    assert error_of(endpoint.load("empty")) == (400, "bad_request")
    assert error_of(endpoint.load("absent")) == (404, "model_not_found")
    assert endpoint.metric("s2s_model_memory_bytes") == 0


def test_fifty_models_load_at_the_same_time_each_name_once(endpoint):
    statuses = [answer.status_code for answer in at_once(endpoint.load, [name for name in NAMES for _ in range(2)])]
    assert Counter(statuses) == {200: len(NAMES), 409: len(NAMES)}
    assert endpoint.names() == NAMES
    assert endpoint.metric("s2s_model_ready") == len(NAMES)


def test_every_model_gives_its_own_answers(endpoint, expected):
    asked = [(name, number) for name in NAMES for number in range(len(TEXTS))]
    random.Random(1).shuffle(asked)
    answers = at_once(lambda one: endpoint.invoke(one[0], TEXTS[one[1]]), asked)
    for (name, number), answer in zip(asked, answers, strict=True):
        assert answer.json() == {"predictions": [{"target": expected[name][number]}]}


def test_a_model_too_many_is_507_until_another_one_is_unloaded(endpoint, expected):
    answer = endpoint.load(EXTRA)
    assert error_of(answer) == (507, "insufficient_memory")
    assert "MB that all models may take" in answer.json()["error"]["message"]
    assert endpoint.unload(NAMES[7]).status_code == 200
    assert endpoint.load(EXTRA).status_code == 200
    assert endpoint.invoke(EXTRA, TEXTS[0]).json() == {"predictions": [{"target": expected[EXTRA][0]}]}
    assert error_of(endpoint.load(NAMES[7])) == (507, "insufficient_memory")
    assert endpoint.unload(EXTRA).status_code == 200
    assert endpoint.load(NAMES[7]).status_code == 200


def test_while_models_come_and_go_every_answer_is_that_of_its_model_or_says_why_there_is_none(endpoint, expected):
    allowed = {
        "load": {(409, "model_exists"), (503, "not_ready"), (507, "insufficient_memory"), (404, "model_not_found")},
        "unload": {(404, "model_not_found")},
        "invoke": {(404, "model_not_found"), (503, "not_ready")},
    }
    seen = Counter()
    wanted = Counter({("load", 200): 8, ("unload", 200): 8, ("invoke", 200): 80, ("invoke", 404): 8})
    end = time.monotonic() + 60
    lock = threading.Lock()

    def client(seed):
        choose = random.Random(seed)
        while not wanted <= seen and time.monotonic() < end:
            name, number = choose.choice([*NAMES[:8], EXTRA]), choose.randrange(len(TEXTS))
            what = choose.choice(["load", "unload", "invoke", "invoke", "invoke", "list"])
            if what == "list":
                assert set(endpoint.names()) <= {*NAMES, EXTRA}
                continue
            answer = endpoint.invoke(name, TEXTS[number]) if what == "invoke" else getattr(endpoint, what)(name)
            with lock:
                seen[what, answer.status_code] += 1
            if answer.status_code != 200:
                assert error_of(answer) in allowed[what], answer.text
            elif what == "invoke":
                assert answer.json() == {"predictions": [{"target": expected[name][number]}]}

    at_once(client, range(8))
    assert wanted <= seen
    assert endpoint.server.ping() == 200
    assert "Traceback" not in endpoint.server.log()
    assert {answer.status_code for answer in at_once(endpoint.unload, endpoint.names())} == {200}
    assert endpoint.metric("s2s_model_memory_bytes") == endpoint.metric("s2s_model_ready") == 0
    assert endpoint.metric("s2s_waiting_requests") == 0


def test_unloading_frees_the_memory_before_it_is_answered(endpoint):
    after = []
    for _ in range(3):
        assert endpoint.load(LARGE).status_code == 200
        assert endpoint.invoke(LARGE, "1 2 3 4 5").status_code == 200
        with_model = endpoint.resident_mebibytes()
        assert endpoint.unload(LARGE).status_code == 200
        after.append(endpoint.resident_mebibytes())
        assert with_model - after[-1] > 40  # its weights are 61; the first one leaves what all others use again
    assert after[2] - after[1] < 10  # of the first two the allocator may keep something that all others use again


def test_memory_does_not_grow_as_models_are_loaded_and_unloaded(endpoint):
    def cycle():
        assert {answer.status_code for answer in at_once(endpoint.load, NAMES[:10], 4)} == {200}
        assert {answer.status_code for answer in at_once(endpoint.unload, NAMES[:10], 4)} == {200}
        return endpoint.resident_mebibytes()

    first, *others = [cycle() for _ in range(3)]
    assert max(others) - first < 10


def test_the_log_says_what_the_platform_calls_the_model(endpoint):
    endpoint.invoke(NAMES[0], "a")
    assert f"target_model={NAMES[0]}.tar.gz" in endpoint.server.log()


def test_sigterm_ends_it_in_time_whatever_is_loaded(endpoint):
    assert endpoint.load(NAMES[0]).status_code in (200, 409)  # or is there from a test before
    started = time.monotonic()
    assert endpoint.server.terminate() == 0
    assert time.monotonic() - started < 10


def test_several_server_processes_are_refused(start_server, base):
    server = start_server(
        START, SAGEMAKER_BASE_DIR=str(base), SAGEMAKER_MULTI_MODEL="true", SAGEMAKER_MODEL_SERVER_WORKERS="2"
    )
    assert server.process.wait(timeout=60) == 2
    assert "with SAGEMAKER_MULTI_MODEL=true it must be 1, or be left out" in server.log()
