"""A convolutional model on its whole way: ``train`` leaves it, ``serve`` answers with it."""

import numpy as np
import pytest
import requests

from tests.contract.serve.conftest import Server
from tests.contract.train.jobs import TINY, OptMl, runner

CNN = {
    **TINY,
    "encoder_type": "cnn",
    "decoder_type": "cnn",
    "cnn_num_hidden": "8",
    "cnn_kernel_width_decoder": "2",
    "num_layers_decoder": "2",
    "learning_rate": "0.01",
    "max_num_batches": "60",
    "max_seq_len_target": "20",
}
SERVE = "import sys; from container.entrypoint import main; sys.exit(main(['serve']))"
TEXTS = ["src0 src1 src2", "src3", "", "src4 unknown src5 src6", " ".join(f"src{number}" for number in range(12))]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of the model that a job has left."""
    folder = tmp_path_factory.mktemp("round-trip")
    opt_ml = OptMl.ready(folder / "ml", CNN)
    with runner() as jobs:
        job = jobs.run(opt_ml)
    assert job.exit_code == 0, job.log
    server = Server(folder / "serve.log", {"SAGEMAKER_BASE_DIR": str(opt_ml.base)}, SERVE)
    try:
        server.wait_for_ping(200)
        yield server
    finally:
        server.terminate()


def test_a_trained_convolutional_model_translates_with_a_row_per_target_and_a_column_per_source_token(server):
    instances = [{"data": text, "configuration": {"attention_matrix": "true"}} for text in TEXTS]
    response = requests.post(f"{server.url}/invocations", json={"instances": instances}, timeout=60)
    assert response.status_code == 200, response.text
    targets = []
    for text, prediction in zip(TEXTS, response.json()["predictions"], strict=True):
        words, matrix = prediction["target"].split(), prediction["matrix"]
        targets.append(words)
        assert len(matrix) == len(words)
        assert all(word.startswith("trg") or word == "<unk>" for word in words)
        if words:
            assert np.array(matrix).shape == (len(words), len(text.split()))
            assert (np.array(matrix) >= 0).all()
            np.testing.assert_allclose(np.sum(matrix, axis=1), 1, atol=1e-5)
    assert [bool(words) for words in targets] == [bool(text) for text in TEXTS]


def test_several_sentences_at_once_are_answered_as_each_alone(server):
    def ask(texts):
        body = {"instances": [{"data": text} for text in texts]}
        response = requests.post(f"{server.url}/invocations", json=body, timeout=60)
        return [prediction["target"] for prediction in response.json()["predictions"]]

    assert ask(TEXTS) == [ask([text])[0] for text in TEXTS]
