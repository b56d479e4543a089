"""The recurrent decoder: both of its forms against a plain one, sentence by sentence and token by token."""

import torch
from hypothesis import given, settings
from torch import nn

from tests.unit.small_model import (
    CELLS,
    configs_of,
    padded,
    parallel,
    seeds,
    small_config,
    small_model,
    step_by_step,
)

TORCH_CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}


class PlainDecoder:
    """The decoder of one sentence, after the formulas, with torch's own cells and no shortcuts."""

    def __init__(self, model, states):
        self.decoder, self.config, self.states = model.decoder, model.config.decoder, states
        self.cells = [self.torch_cell(layer) for layer in model.decoder.layers]
        self.memory = [self.initial(number) for number in range(self.config.num_layers)]
        self.fed = torch.zeros(self.config.num_hidden)

    def torch_cell(self, layer):
        cell = TORCH_CELLS[self.config.cell_type](layer.weight_ih.shape[1], self.config.num_hidden)
        cell.load_state_dict(layer.state_dict())
        return cell

    def initial(self, layer):
        kinds = 2 if self.config.cell_type == "lstm" else 1
        if self.config.state_init == "zero":
            parts = [torch.zeros(self.config.num_hidden)] * kinds
        else:
            summary = self.states[-1] if self.config.state_init == "last" else self.states.mean(0)
            layers = self.decoder.state_layers[layer * kinds : (layer + 1) * kinds]
            parts = [torch.tanh(layer.weight @ summary + layer.bias) for layer in layers]
        return tuple(parts) if kinds == 2 else parts[0]

    def attend(self, query):
        attention = self.decoder.attention
        weight = dict(attention.named_parameters())
        if self.config.attention.type == "fixed":
            weights = torch.zeros(len(self.states))
            weights[-1] = 1
        else:
            keys = [weight["source_layer.weight"] @ s if "source_layer.weight" in weight else s for s in self.states]
            asked = weight["query_layer.weight"] @ query if "query_layer.weight" in weight else query
            if self.config.attention.type == "mlp":
                scores = [weight["score_layer.weight"][0] @ torch.tanh(key + asked) for key in keys]
            else:
                scores = [key @ asked for key in keys]
            weights = torch.stack(scores).softmax(0)
        return sum(w * s for w, s in zip(weights, self.states, strict=True)), weights

    def run(self, layer, inputs):
        after = self.cells[layer](inputs, self.memory[layer])
        self.memory[layer] = after
        return after[0] if self.config.cell_type == "lstm" else after

    def step(self, embedded):
        upper = self.config.attention_in_upper_layers and self.config.num_layers > 1
        output = self.run(0, torch.cat([embedded, self.fed]))
        if upper:
            context, weights = self.attend(output)
        for layer in range(1, self.config.num_layers):
            below = output
            output = self.run(layer, torch.cat([below, context]) if upper else below)
            if self.config.residual and layer + 1 >= self.config.first_residual_layer:
                output = output + below
        if not upper:
            context, weights = self.attend(output)
        layer = self.decoder.hidden_layer
        self.fed = torch.tanh(layer.weight @ torch.cat([output, context]) + layer.bias)
        return self.fed, weights


@settings(max_examples=80, deadline=None)
@given(config=configs_of(decoders=["rnn"]), pairs=parallel(), seed=seeds)
@torch.no_grad()
def test_sequence_form_and_step_form_equal_the_plain_decoder(config, pairs, seed):
    model = small_model(config, seed)
    (source, length), (target, target_length) = map(padded, pairs)
    encoded = model.encode(source, length)
    embedded = model.target_embedding(target)

    sequence = model.decoder(embedded, encoded)
    answers, attention = step_by_step(model, encoded, embedded)

    torch.testing.assert_close(sequence, answers)
    for row in range(len(source)):
        plain = PlainDecoder(model, encoded.states[row, : length[row]])
        for number in range(target_length[row]):
            answer, weights = plain.step(embedded[row, number])
            torch.testing.assert_close(sequence[row, number], answer, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(attention[row, number, : length[row]], weights, atol=1e-5, rtol=1e-4)


def test_a_selection_touches_every_part_of_a_state():
    model = small_model(small_config(decoder_layers=3))
    state, _ = model.decoder.start(model.encode(*padded([[5, 6, 7], [8, 9]])))
    rows = torch.tensor([1, 1, 0, 1])
    assert {len(part) for layer in state.select(rows).layers for part in layer} == {4}
    assert len(state.select(rows).attentional) == 4


def test_zero_states_have_no_layers_and_others_one_per_state():
    def layers(**options):
        return len(small_model(small_config(decoder_layers=3, **options)).decoder.state_layers)

    assert layers(state_init="zero") == 0
    assert layers(state_init="last", cell="lstm") == 6
    assert layers(state_init="avg", cell="gru") == 3


def test_upper_attention_has_no_effect_with_one_layer():
    source, length = padded([[5, 6, 7]])
    target = torch.tensor([[2, 4, 5]])
    one, other = (small_model(small_config(upper=upper))(source, length, target) for upper in (True, False))
    assert torch.equal(one, other)


def test_gradients_reach_every_parameter():
    for cell in CELLS:
        for attention in ("mlp", "dot", "bilinear"):
            model = small_model(small_config(cell=cell, attention=attention, encoder_layers=2, decoder_layers=2))
            outputs = model(*padded([[5, 6, 7], [8, 9]]), torch.tensor([[2, 4, 5], [2, 6, 7]]))
            model.output_layer(outputs).square().sum().backward()
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None, name
                assert parameter.grad.any(), name
