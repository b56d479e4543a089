"""The container's own command on a model of random weights."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests
import torch

from s2s_algo.checkpoints.artifact import Artifact, save_artifact
from s2s_algo.data.pairs import encode_pair
from s2s_algo.data.record_pb2 import Record
from s2s_algo.data.recordio import split_framed, write_record
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

SOURCE = Vocabulary.from_tokens([*SPECIAL_TOKENS, *"abcdefgh"])
TARGET = Vocabulary.from_tokens([*SPECIAL_TOKENS, *"ABCDEFGHIJ", "ä", "東京"])
TEXTS = ["a b c", "", "d", "h g f e d c b a", "a unknown b", "a " * 30]


def random_model():
    torch.manual_seed(3)
    config = ModelConfig(
        source_embedding=EmbeddingConfig(vocabulary_size=len(SOURCE), size=8),
        target_embedding=EmbeddingConfig(vocabulary_size=len(TARGET), size=8),
        encoder=RecurrentEncoderConfig(cell_type="lstm", num_layers=1, num_hidden=8),
        decoder=RecurrentDecoderConfig(
            cell_type="lstm", num_layers=1, num_hidden=8, attention=AttentionConfig(type="mlp", num_hidden=8)
        ),
    )
    model = Seq2Seq(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-1, 1)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("opt-ml") / "model"
    limits = LengthLimits(max_input_length=12, ratio_mean=1.0, ratio_std=0.2, max_output_length=13)
    save_artifact(Artifact(random_model(), InferenceConfig(beam_size=3, limits=limits), SOURCE, TARGET), folder)
    (folder / "notes.txt").write_text("a foreign file")
    return folder


@pytest.fixture(scope="module")
def server(start_server, folder):
    start = "import sys; from container.entrypoint import main; sys.exit(main(['serve']))"
    server = start_server(start, SAGEMAKER_BASE_DIR=str(folder.parent))
    server.wait_for_ping(200)
    return server


@pytest.fixture(scope="module")
def expected(folder):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more would compete with those of the server
    yield Translator.load(folder).translate([SOURCE.encode(text) for text in TEXTS])
    torch.set_num_threads(threads)


def framed(ids):
    stream = io.BytesIO()
    write_record(stream, encode_pair(ids, []))
    return stream.getvalue()


def post(server, body, content_type, accept="*/*"):
    headers = {"Content-Type": content_type, "Accept": accept}
    response = requests.post(f"{server.url}/invocations", data=body, headers=headers, timeout=60)
    assert response.status_code == 200, response.text
    return response


def test_the_formats_answer_with_one_and_the_same_translation(server, expected):
    instances = [{"data": text, "configuration": {"attention_matrix": "true"}} for text in TEXTS]
    predictions = post(server, json.dumps({"instances": instances}), "application/json").json()["predictions"]
    assert [prediction["target"] for prediction in predictions] == [translation.text for translation in expected]
    assert any(translation.text for translation in expected)

    lines = "\n".join(json.dumps({"source": text}) for text in TEXTS)
    answer = post(server, lines, "application/jsonlines").content.decode()
    assert [json.loads(line)["target"] for line in answer.split("\n")] == [translation.text for translation in expected]

    frames = b"".join(framed(SOURCE.encode(text)) for text in TEXTS)
    payloads = split_framed(post(server, frames, "application/x-recordio-protobuf").content)
    ids = [tuple(Record.FromString(payload).features["target"].int32_tensor.values) for payload in payloads]
    assert ids == [translation.token_ids for translation in expected]


def test_a_matrix_has_a_row_per_target_token_and_a_column_per_source_token_and_rows_sum_to_one(server):
    instances = [{"data": text, "configuration": {"attention_matrix": True}} for text in TEXTS]
    predictions = post(server, json.dumps({"instances": instances}), "application/json").json()["predictions"]
    for text, prediction in zip(TEXTS, predictions, strict=True):
        target, matrix = prediction["target"].split(), prediction["matrix"]
        assert len(matrix) == len(target)
        if target:
            assert np.array(matrix).shape == (len(target), len(text.split()))
            np.testing.assert_allclose(np.sum(matrix, axis=1), 1, atol=1e-5)


def test_answers_do_not_depend_on_requests_at_the_same_time(server):
    def translate(text):
        return server.translate(text).json()["predictions"][0]["target"]

    texts = [text for text in TEXTS for _ in range(6)]
    one_by_one = [translate(text) for text in texts]
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(translate, texts)) == one_by_one


def test_an_id_outside_the_vocabulary_is_refused(server):
    headers = {"Content-Type": "application/x-recordio-protobuf"}
    url = f"{server.url}/endpoints/any/invocations"
    response = requests.post(url, data=framed([4]) + framed([5, len(SOURCE)]), headers=headers, timeout=60)
    assert response.status_code == 400
    assert response.json()["error"]["location"] == "record 2"
    assert f"source id {len(SOURCE)} is outside 1 to {len(SOURCE) - 1}" in response.json()["error"]["message"]
