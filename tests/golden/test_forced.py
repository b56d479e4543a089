"""Teacher-forced probabilities and attention of every golden model."""

import numpy as np
import pytest
import torch

from tests.golden.sockeye import MODELS, load_folder

NAMES = sorted(folder.name for folder in MODELS.iterdir())


@pytest.fixture(params=NAMES)
def forced(request):
    folder = load_folder(MODELS / request.param)
    return folder.model(), {name: torch.tensor(array) for name, array in folder.read_arrays("forced.npz").items()}


def real_steps(golden):
    return torch.arange(golden["target_in"].shape[1]) < golden["target_length"][:, None]


@torch.inference_mode()
def test_the_sequence_form_gives_the_golden_probabilities(forced, compare):
    model, golden = forced
    outputs = model(golden["source"], golden["source_length"], golden["target_in"])
    logprob = model.output_layer(outputs).log_softmax(-1)
    real = real_steps(golden)
    compare("forced log-probability, sequence form", logprob[real], golden["logprob"][real])


@torch.inference_mode()
def test_the_step_form_gives_the_golden_probabilities_and_attention(forced, compare):
    model, golden = forced
    length = golden["source_length"]
    state, memory = model.decoder.start(model.encode(golden["source"], length))
    embedded = model.target_embedding(golden["target_in"])
    logprob, attention = [], []
    for step in embedded.unbind(1):
        output, state, weights = model.decoder.step(step, state, memory)
        logprob.append(model.output_layer(output).log_softmax(-1))
        attention.append(weights)
    real = real_steps(golden)
    compare("forced log-probability, step form", torch.stack(logprob, 1)[real], golden["logprob"][real])
    inside = torch.arange(golden["source"].shape[1]) < length[:, None]
    cells = real[:, :, None] & inside[:, None]
    if model.config.decoder.type == "rnn":
        compare("forced attention, step form", torch.stack(attention, 1)[cells], golden["attention"][cells])
    else:
        # Decision 32: we answer the weights of the last layer, the original answered zeros.
        assert not golden["attention"].any()
        torch.testing.assert_close(torch.stack(attention, 1)[real].sum(-1), torch.ones(int(real.sum())))
    outside = real[:, :, None] & ~inside[:, None]
    assert not torch.stack(attention, 1)[outside].any()


@pytest.mark.parametrize("name", NAMES)
def test_sources_end_with_eos_where_the_configuration_says_so(name):
    folder = load_folder(MODELS / name)
    golden = folder.read_arrays("forced.npz")
    last = golden["source"][np.arange(5), golden["source_length"] - 1]
    # Sources that were too long lost their end.
    assert (last == folder.vocabulary("src").eos_id).any() == folder.source_with_eos
    assert folder.source_with_eos == (folder.version >= (1, 18, 12))
