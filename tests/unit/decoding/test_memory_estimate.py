"""The estimate, compared with the tensors of real searches."""

import pytest
import torch

from s2s_algo.decoding.beam_search import BeamSearch
from s2s_algo.decoding.memory_estimate import estimate_serving
from s2s_algo.decoding.ranking import LengthPenalty, Ranking
from s2s_algo.hyperparameters import validate
from s2s_algo.model.memory import LiveMemory
from s2s_algo.model.seq2seq import Seq2Seq
from s2s_algo.training.settings import model_config

SOURCE, TARGET, VOCABULARY = 20, 12, 400
SMALL = {
    "num_embed_source": "24",
    "num_embed_target": "20",
    "rnn_num_hidden": "32",
    "cnn_num_hidden": "32",
    "max_seq_len_source": str(SOURCE),
    "max_seq_len_target": str(TARGET),
}
CHOICES = {
    "defaults": {},
    "dot": {"rnn_attention_type": "dot", "rnn_attention_num_hidden": "16"},
    "fixed": {"rnn_attention_type": "fixed"},
    "deep gru": {"rnn_cell_type": "gru", "num_layers_encoder": "3", "num_layers_decoder": "3"},
    "cnn": {"encoder_type": "cnn", "decoder_type": "cnn", "num_layers_encoder": "3", "num_layers_decoder": "3"},
    "rnn, cnn": {"decoder_type": "cnn", "cnn_num_hidden": "24"},
    "greedy": {"beam_size": "1"},
}


def real_peak(config, beam, sentences, vocabulary):
    torch.manual_seed(0)
    with LiveMemory() as live:
        model = Seq2Seq(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.uniform_(-0.01, 0.01)
        beam_search(
            model,
            torch.randint(4, vocabulary, (sentences, SOURCE)),
            torch.full((sentences,), SOURCE),
            [TARGET] * sentences,
            bos_id=2,
            eos_id=3,
            beam_size=beam,
            ranking=Ranking(LengthPenalty()),
        )
    return live.peak


@pytest.mark.parametrize("vocabulary", [40, VOCABULARY])
@pytest.mark.parametrize("name", CHOICES)
def test_the_estimate_is_what_the_tensors_of_a_real_search_take(name, vocabulary):
    h = validate({**SMALL, **CHOICES[name]}).hyperparameters
    config = model_config(h, vocabulary, vocabulary)
    found = estimate_serving(config, SOURCE, TARGET, h.beam_size)
    assert real_peak(config, h.beam_size, 320 // h.beam_size, vocabulary) == pytest.approx(found.peak, rel=0.2)


@pytest.mark.parametrize(
    ("source", "beam", "sentences"),
    [(20, 5, 64), (100, 5, 64), (200, 5, 32), (100_000, 5, 1), (20, 1, 320), (20, 400, 1), (100, 3, 106)],
)
def test_the_batch_is_the_largest_that_a_translator_makes(source, beam, sentences):
    config = model_config(validate(SMALL).hyperparameters, VOCABULARY, 1000)
    assert f"serving {sentences:,} sentences of {source:,} source" in estimate_serving(config, source, 9, beam).task


def test_long_sources_take_more_in_proportion():
    config = model_config(validate(SMALL).hyperparameters, VOCABULARY, VOCABULARY)
    short, long = (estimate_serving(config, length, 9, 320) for length in (128, 1280))
    assert long["encoding"] == pytest.approx(10 * short["encoding"], rel=0.05)
    assert long["attention"] == 10 * short["attention"]
    assert long["logits"] == short["logits"]
