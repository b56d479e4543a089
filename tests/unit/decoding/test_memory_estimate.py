"""The estimate, compared with the tensors of real searches."""

import pytest
import torch

from s2s_algo.decoding.beam_search import Sentence
from s2s_algo.decoding.memory_estimate import estimate_serving
from s2s_algo.decoding.ranking import LengthPenalty, Ranking
from s2s_algo.decoding.scheduler import MOST_ROWS, Manner
from s2s_algo.hyperparameters import validate
from s2s_algo.model.memory import LiveMemory
from s2s_algo.model.seq2seq import Seq2Seq
from s2s_algo.training.settings import model_config
from tests.unit.decoding.oracle import EOS, PAD
from tests.unit.decoding.scheduling import finish, scheduler_of

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


class SearchMemory(LiveMemory):
    """Counts also what the sum of exponentials needs inside, which is as large as the logits."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.logsumexp.default:
            self.peak = max(self.peak, self.now + args[0].nbytes)
        return super().__torch_dispatch__(function, types, args, kwargs)


def real_peak(config, beam, sentences):
    """Of sentences as many as this, and as many others that enter as they leave, some of them earlier than others."""
    torch.manual_seed(0)
    with SearchMemory() as live:
        model = Seq2Seq(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.uniform_(-0.01, 0.01)
            model.output_layer.bias[[PAD, EOS]] -= 60
        wanted = [Sentence([5] * SOURCE, TARGET - number % 4) for number in range(2 * sentences)]
        finish(scheduler_of(model, wanted, Manner(beam, Ranking(LengthPenalty())), MOST_ROWS))
    return live.peak


@pytest.mark.parametrize("vocabulary", [40, VOCABULARY])
@pytest.mark.parametrize("name", CHOICES)
def test_the_estimate_is_what_the_tensors_of_a_real_search_take(name, vocabulary):
    h = validate({**SMALL, **CHOICES[name]}).hyperparameters
    config = model_config(h, vocabulary, vocabulary)
    found = estimate_serving(config, SOURCE, TARGET, h.beam_size)
    assert real_peak(config, h.beam_size, MOST_ROWS // h.beam_size) == pytest.approx(found.peak, rel=0.2)


@pytest.mark.parametrize(
    ("source", "beam", "sentences"),
    [(20, 5, 64), (100, 5, 64), (128, 5, 64), (129, 5, 32), (100_000, 5, 1), (20, 1, 320), (20, 400, 1), (100, 3, 106)],
)
def test_the_batch_is_the_largest_that_a_scheduler_makes(source, beam, sentences):
    config = model_config(validate(SMALL).hyperparameters, VOCABULARY, 1000)
    assert f"serving {sentences:,} sentences of {source:,} source" in estimate_serving(config, source, 9, beam).task


def test_long_sources_take_more_in_proportion():
    config = model_config(validate(SMALL).hyperparameters, VOCABULARY, VOCABULARY)
    short, long = (estimate_serving(config, length, 9, 320) for length in (128, 1280))
    assert long["encoding"] == pytest.approx(10 * short["encoding"], rel=0.05)
    assert long["logits"] == short["logits"]


def test_the_history_has_room_for_every_step_of_sources_up_to_the_next_power_of_two():
    config = model_config(validate(SMALL).hyperparameters, VOCABULARY, VOCABULARY)
    # Of 64 sentences with 5 hypotheses: tokens and parents, and weights of 64 source positions.
    for source in (33, 50, 64):
        assert estimate_serving(config, source, 9, 5)["history"] == 64 * 9 * 5 * (8 + 8 + 4 * 64)
