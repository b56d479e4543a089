"""Parameters of the models that hyperparameters choose; no model is made.

`make docs` writes the table into docs/models.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from local_test.make_channels import CMUDICT_HYPERPARAMETERS
from s2s_algo.hyperparameters import read_hyperparameters_file, validate
from s2s_algo.model.memory import empty_model
from s2s_algo.model.summary import summarize
from s2s_algo.training.settings import model_config

BEGIN, END = "<!-- parameter counts: written by `make docs` -->\n", "<!-- end of parameter counts -->\n"

_VOCABULARIES = (50_004, 50_004)
# Letters and phonemes of the demo's dictionary, with the four special tokens.
_DEMO_VOCABULARIES = (31, 43)

_CNN_ENCODER, _CNN_DECODER = {"encoder_type": "cnn"}, {"decoder_type": "cnn"}
_CNN = {**_CNN_ENCODER, **_CNN_DECODER}
_CHOICES: tuple[Mapping[str, str], ...] = (
    {},
    # Encoders and decoders.
    _CNN_DECODER,
    _CNN_ENCODER,
    _CNN,
    {**_CNN_DECODER, "rnn_num_hidden": "512"},
    # Cells and attention.
    {"rnn_cell_type": "gru"},
    {"rnn_attention_type": "dot"},
    {"rnn_attention_type": "dot", "rnn_attention_num_hidden": "256"},
    {"rnn_attention_type": "bilinear"},
    {"rnn_attention_type": "fixed"},
    {"rnn_attention_num_hidden": "256"},
    {"rnn_decoder_state_init": "zero"},
    # Depth.
    {"num_layers_encoder": "2", "num_layers_decoder": "2"},
    {"num_layers_encoder": "2", "num_layers_decoder": "2", "rnn_attention_in_upper_layers": "false"},
    {"num_layers_encoder": "4", "num_layers_decoder": "4"},
    {**_CNN, "num_layers_encoder": "2", "num_layers_decoder": "2"},
    {**_CNN, "num_layers_encoder": "4", "num_layers_decoder": "4"},
    # Width.
    {"rnn_num_hidden": "256"},
    {"rnn_num_hidden": "512"},
    {"rnn_num_hidden": "2048"},
    {"num_embed_source": "256", "num_embed_target": "256"},
    {**_CNN, "cnn_num_hidden": "256"},
    {**_CNN, "cnn_num_hidden": "1024"},
    # Convolutions.
    {**_CNN, "cnn_activation_type": "relu"},
    {**_CNN, "cnn_kernel_width_encoder": "5", "cnn_kernel_width_decoder": "3"},
)


@click.command()
@click.option("--write", "page", type=click.Path(exists=True, path_type=Path), help="Page to put the table into.")
def main(page: Path | None) -> None:
    """Prints the table."""
    if page is None:
        click.echo(table(), nl=False)
    else:
        page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")


def table() -> str:
    """The table in Markdown, and a line on the demo."""
    head = "| passed | embeddings | encoder | decoder | attention | output layer | total |\n"
    rows = [_row(", ".join(f"`{name}` {value}" for name, value in choice.items()), choice) for choice in _CHOICES]
    demo = read_hyperparameters_file(CMUDICT_HYPERPARAMETERS)
    shown = "the demo's file, vocabularies of {} and {}".format(*_DEMO_VOCABULARIES)
    return f"{head}| --- | --: | --: | --: | --: | --: | --: |\n{''.join(rows)}{_row(shown, demo, _DEMO_VOCABULARIES)}"


def with_table(text: str) -> str:
    """A page whose table is written anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


def _row(title: str, raw: Mapping[str, object], vocabularies: tuple[int, int] = _VOCABULARIES) -> str:
    config = model_config(validate(raw).hyperparameters, *vocabularies)
    count = {part.name: part.count for part in summarize(empty_model(config))}
    embeddings = count["source embedding"] + count["target embedding"]
    parts = (count[name] for name in ("encoder", "decoder", "attention", "output layer"))
    counts = (embeddings, *parts, sum(count.values()))
    return f"| {title or 'nothing: all defaults'} | {' | '.join(f'{number:,}' for number in counts)} |\n"


if __name__ == "__main__":
    main()
