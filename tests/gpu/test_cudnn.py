"""The layers of the encoder, which are cuDNN's on a GPU, compared with the decoder's cells: plain products."""

import warnings

import pytest
import torch

from s2s_algo.checkpoints.artifact import load_artifact, save_artifact
from s2s_algo.decoding.translator import Translator
from s2s_algo.model.recurrent import CELLS as PLAIN_CELLS
from s2s_algo.model.recurrent import SEQUENCES
from s2s_algo.training.precision import Precision
from tests.gpu.passes import BATCH, WIDE, largest_share, wide_model
from tests.gpu.translating import artifact_of
from tests.unit.small_model import CELLS, small_config

pytestmark = pytest.mark.gpu

TOLERANCE = 1e-4


def layer_of(cell, inputs, units, device):
    """A layer of the encoder with random weights."""
    torch.manual_seed(0)
    return SEQUENCES[cell](inputs, units, batch_first=True).to(device).train()


def unrolled(cell, layer, inputs):
    """The answers of the plain cell with the weights of a layer, step by step."""
    plain = PLAIN_CELLS[cell](layer.input_size, layer.hidden_size)
    plain.weight_ih, plain.weight_hh = layer.weight_ih_l0, layer.weight_hh_l0
    plain.bias_ih, plain.bias_hh = layer.bias_ih_l0, layer.bias_hh_l0
    state = (inputs.new_zeros(len(inputs), layer.hidden_size),) * plain.states
    answers = []
    for gates in plain.input_gates(inputs).unbind(1):
        state = plain(gates, state)
        answers.append(state[0])
    return torch.stack(answers, 1)


def gradients(layer, inputs, answers):
    """Of the weights and inputs, for a sum in which each answer counts differently; takes them away afterwards."""
    (answers * torch.linspace(-1, 1, answers.numel(), device=answers.device).view_as(answers)).sum().backward()
    found = {name: parameter.grad for name, parameter in layer.named_parameters()} | {"inputs": inputs.grad}
    inputs.grad = None
    layer.zero_grad()
    return found


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("batch", "length", "inputs", "units"), [(1, 1, 4, 3), (33, 15, 37, 49), (64, 40, 256, 256), (3, 100, 512, 512)]
)
def test_a_layer_gives_what_the_plain_cell_gives(device, cell, batch, length, inputs, units):
    layer = layer_of(cell, inputs, units, device)
    numbers = torch.randn(batch, length, inputs).to(device).requires_grad_()
    expected = unrolled(cell, layer, numbers)
    found, _ = layer(numbers)
    torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=TOLERANCE)
    of_plain = {name: tensor.cpu() for name, tensor in gradients(layer, numbers, expected).items()}
    share, name = largest_share(gradients(layer, numbers, found), of_plain)
    assert share < TOLERANCE, name


@pytest.mark.parametrize("cell", CELLS)
def test_gpus_compute_the_encoder_with_cudnn(cuda, cell):
    layer = layer_of(cell, 4, 3, cuda)
    answers, _ = layer(torch.zeros(2, 5, 4, device=cuda))
    seen, left = set(), [answers.grad_fn]
    while left:
        node = left.pop()
        seen.add(node.name())
        left += [following for following, _ in node.next_functions if following is not None]
    assert any("CudnnRnn" in name for name in seen), seen


@pytest.mark.parametrize("cell", CELLS)
def test_small_gradients_reach_the_encoder_in_mixed_precision(device, cell):
    """Those of a token in a batch of many are below the smallest number of float16."""
    found = []
    for bfloat16 in (False, True):
        model, batch = wide_model(small_config(**WIDE, cell=cell), device), BATCH.to(device)
        with Precision(device, bfloat16).context():
            states = model.encode(batch.source, batch.source_length).states
        assert states.dtype != torch.float16
        (1e-9 * states.float().sum()).backward()
        found.append({name: parameter.grad.cpu() for name, parameter in model.encoder.named_parameters()})
    share, name = largest_share(found[1], found[0])
    assert share < 0.1, name


def test_the_weights_of_a_loaded_model_lie_as_cudnn_wants_them(device, tmp_path):
    save_artifact(artifact_of(wide_model(small_config(**WIDE), torch.device("cpu"))), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch's, that weights are copied together at every call
        assert Translator.from_artifact(load_artifact(tmp_path), device).translate([[4, 5, 6]])
