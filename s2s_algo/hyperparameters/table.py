"""The table of hyperparameters: one field per parameter, in the order of the public page, then the extensions.

A row is the only place that knows a parameter: its type, values, default and description are read from here by the
validation, by the documentation and by type checkers.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from s2s_algo.hyperparameters.compound import SEEDS, Chunkings, Cleanups, IntegersOr, LengthBounds, Orderings
from s2s_algo.hyperparameters.domains import Integers, Numbers
from s2s_algo.hyperparameters.grammar import means_not_passed
from s2s_algo.hyperparameters.row import Row
from s2s_algo.hyperparameters.values import Chunking, CleanupOldModels, MaxSeqLength, SeqOrdering

_LARGEST = 2**31 - 1
_COUNTS = Integers(1, _LARGEST)
_LENGTHS = Integers(1, 100_000)
_LAYERS = Integers(1, 100)
_WIDTHS = Integers(1, 65_536)
_PROBABILITIES = Numbers(0, 1)

# The order of a job with token-limited batches: like lengths come together, and still every epoch differs.
_ORDER_OF_TOKEN_BATCHES = SeqOrdering("laplace", part_size=1000)


class PageHyperparameters(BaseModel):
    """The parameters of the public page."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_seq_len_source: Annotated[
        int, Row("Source sequences keep at most this many of their first tokens.", _LENGTHS)
    ] = 100
    max_seq_len_target: Annotated[
        int,
        Row("Target sequences keep at most this many of their first tokens; the end symbol is not counted.", _LENGTHS),
    ] = 100
    encoder_type: Annotated[
        Literal["rnn", "cnn"],
        Row("Architecture of the encoder: a recurrent network, bidirectional in layer 1, or a convolutional one."),
    ] = "rnn"
    decoder_type: Annotated[
        Literal["rnn", "cnn"],
        Row("Architecture of the decoder; it may differ from the encoder's."),
    ] = "rnn"
    num_layers_encoder: Annotated[int, Row("Depth of the encoder.", _LAYERS, tunable="1 to 10")] = 1
    num_layers_decoder: Annotated[int, Row("Depth of the decoder.", _LAYERS, tunable="1 to 10")] = 1
    rnn_num_hidden: Annotated[
        int,
        Row(
            "Width of the recurrent layers; even, because the bidirectional layer gives half to each direction.",
            Integers(2, 65_536, parity="even"),
            tunable="128, 256, 512, 1024, 2048 (with rnn)",
        ),
    ] = 1024
    rnn_cell_type: Annotated[Literal["lstm", "gru"], Row("Cell of the recurrent layers.")] = "lstm"
    rnn_decoder_state_init: Annotated[
        Literal["last", "avg", "zero"],
        Row("Where a recurrent decoder starts: at the encoder's last state, at the mean of its states, or at zeros."),
    ] = "last"
    rnn_residual_connections: Annotated[
        bool,
        Row("Adds the input of a recurrent layer to its output, from `rnn_first_residual_layer` upwards."),
    ] = False
    rnn_first_residual_layer: Annotated[
        int,
        Row("Lowest recurrent layer with a residual connection, where `rnn_residual_connections` is true.", _COUNTS),
    ] = 2
    cnn_kernel_width_encoder: Annotated[
        int,
        Row(
            "Tokens that a convolution of the encoder sees; odd, because it is centred on a token.",
            Integers(1, 65_535, parity="odd"),
        ),
    ] = 3
    cnn_kernel_width_decoder: Annotated[
        int, Row("Tokens that a convolution of the decoder sees: the current one and those before it.", _WIDTHS)
    ] = 5
    cnn_num_hidden: Annotated[
        int,
        Row("Width of the convolutional layers.", _WIDTHS, tunable="128, 256, 512, 1024, 2048 (with cnn)"),
    ] = 512
    cnn_activation_type: Annotated[
        Literal["glu", "relu", "softrelu", "sigmoid", "tanh"],
        Row("Activation of the convolutional layers."),
    ] = "glu"
    cnn_hidden_dropout: Annotated[
        float,
        Row(
            "Share of values dropped before every convolution, in encoder and decoder.",
            _PROBABILITIES,
            tunable="0 to 0.5",
        ),
    ] = 0.0
    num_embed_source: Annotated[int, Row("Width of the source embeddings.", _WIDTHS, tunable="256 to 512")] = 512
    num_embed_target: Annotated[int, Row("Width of the target embeddings.", _WIDTHS, tunable="256 to 512")] = 512
    embed_dropout_source: Annotated[
        float, Row("Share of values dropped from the source embeddings.", _PROBABILITIES, tunable="0 to 0.5")
    ] = 0.0
    embed_dropout_target: Annotated[
        float, Row("Share of values dropped from the target embeddings.", _PROBABILITIES, tunable="0 to 0.5")
    ] = 0.0
    rnn_attention_type: Annotated[
        Literal["dot", "fixed", "mlp", "bilinear"],
        Row(
            "How a recurrent decoder scores source positions: by a dot product, not at all (it sees the last one), "
            "by a feed-forward layer, or by a bilinear form."
        ),
    ] = "mlp"
    rnn_attention_num_hidden: Annotated[
        int | None,
        Row(
            "Width of the attention of a recurrent decoder; not passed: the value of `rnn_num_hidden`.",
            _WIDTHS,
            none_means_not_passed=True,
        ),
    ] = None
    rnn_attention_in_upper_layers: Annotated[
        bool,
        Row("Feeds the attention's result to every layer of a recurrent decoder; no difference with one layer."),
    ] = True
    rnn_decoder_hidden_dropout: Annotated[
        float,
        Row(
            "Share of values dropped where a recurrent decoder joins its state with the attention's result.",
            _PROBABILITIES,
            tunable="0 to 0.5",
        ),
    ] = 0.0
    batch_size: Annotated[
        int,
        Row(
            "Sentence pairs per update, over all devices and hosts together, which need not divide it.",
            _COUNTS,
            tunable="16, 32, 64, 128, 256, 512, 1024, 2048",
        ),
    ] = 64
    bucketing_enabled: Annotated[
        bool,
        Row("Groups pairs of like lengths into batches; false pads every batch to the greatest lengths."),
    ] = True
    bucket_width: Annotated[
        int,
        Row(
            "Step, in tokens, between the bucket lengths of the longer side; "
            "the shorter side's step follows from the mean ratio of lengths.",
            _COUNTS,
        ),
    ] = 10
    loss_type: Annotated[Literal["cross-entropy"], Row("What training minimises.")] = "cross-entropy"
    training_metric: Annotated[
        Literal["perplexity", "accuracy"],
        Row("Metric to follow in training; both are always computed and logged."),
    ] = "perplexity"
    optimized_metric: Annotated[
        Literal["perplexity", "accuracy", "bleu"],
        Row("Validation metric that decides on the best checkpoint, early stopping and the plateau schedule."),
    ] = "perplexity"
    bleu_sample_size: Annotated[
        int,
        Row(
            "Validation pairs translated at each checkpoint to compute BLEU: -1 takes all, 0 none, "
            "or all if `optimized_metric` is bleu; more than there are means all.",
            Integers(0, _LARGEST, also=(-1,)),
        ),
    ] = 0
    max_num_batches: Annotated[
        int,
        Row("Updates after which training ends; -1 sets no limit.", Integers(1, _LARGEST, also=(-1,))),
    ] = -1
    checkpoint_frequency_num_batches: Annotated[
        int, Row("Updates from one checkpoint, with its evaluation, to the next.", _COUNTS)
    ] = 1000
    checkpoint_threshold: Annotated[
        int,
        Row("Checkpoints in a row without a better `optimized_metric` after which training stops early.", _COUNTS),
    ] = 3
    max_num_epochs: Annotated[
        int | None,
        Row(
            "Epochs after which training ends; while it is passed, nothing stops early before that many epochs.",
            _COUNTS,
            none_means_not_passed=True,
        ),
    ] = None
    min_num_epochs: Annotated[
        int,
        Row("Epochs before which nothing stops early; other limits still hold.", Integers(0, _LARGEST)),
    ] = 0
    optimizer_type: Annotated[
        Literal["adam", "sgd", "rmsprop"], Row("Update rule of the weights.", tunable="adam, sgd, rmsprop")
    ] = "adam"
    weight_init_type: Annotated[
        Literal["uniform", "xavier"],
        Row(
            "Distribution from which weights are first drawn; the recurrent matrices start orthogonal with both.",
            tunable="uniform, xavier",
        ),
    ] = "xavier"
    weight_init_scale: Annotated[
        float,
        Row(
            "Bound of the uniform distribution, where its sign does not count, or magnitude of xavier.",
            Numbers(-1000, 1000, nonzero=True),
            tunable="uniform: -1 to 1; xavier: 2 to 3",
        ),
    ] = 2.34
    xavier_factor_type: Annotated[
        Literal["in", "out", "avg"],
        Row("Number of connections by which xavier scales a weight: inputs, outputs, or the mean of both."),
    ] = "in"
    learning_rate: Annotated[
        float, Row("Learning rate of the first update.", Numbers(0, 100, open_minimum=True), tunable="0.00005 to 0.2")
    ] = 0.0003
    weight_decay: Annotated[
        float, Row("Pull of the weights towards zero at each update.", Numbers(0, 1), tunable="0 to 0.1")
    ] = 0.0
    momentum: Annotated[
        float | None,
        Row(
            "Share of the previous step that sgd keeps; not to be passed with adam or rmsprop.",
            Numbers(0, 1, open_maximum=True),
            tunable="0.5 to 0.9",
            none_means_not_passed=True,
        ),
    ] = None
    clip_gradient: Annotated[
        float,
        Row("Each gradient value is cut to this absolute value; 0 or less switches that off.", Numbers(), "1 to 5"),
    ] = 1.0
    lr_scheduler_type: Annotated[
        Literal["plateau_reduce", "fixed_rate_inv_t", "fixed_rate_inv_sqrt_t"],
        Row(
            "How the learning rate falls: when validation stops improving, with the inverse of time, "
            "or with the inverse square root of time.",
            tunable="plateau_reduce, fixed_rate_inv_t, fixed_rate_inv_sqrt_t",
        ),
    ] = "plateau_reduce"
    plateau_reduce_lr_factor: Annotated[
        float,
        Row(
            "Factor by which `plateau_reduce` lowers the learning rate; 1 switches that off.",
            Numbers(0, 1, open_minimum=True),
            tunable="0.1 to 0.5",
        ),
    ] = 0.5
    plateau_reduce_lr_threshold: Annotated[
        int,
        Row(
            "Checkpoints in a row without improvement after which `plateau_reduce` lowers the learning rate.",
            _COUNTS,
            tunable="1 to 5",
        ),
    ] = 3
    fixed_rate_lr_half_life: Annotated[
        int,
        Row("Checkpoints until a `fixed_rate_` schedule has halved the learning rate.", _COUNTS, tunable="10 to 30"),
    ] = 10
    beam_size: Annotated[
        int,
        Row(
            "Hypotheses kept by beam search, for BLEU in training and in inference; below the target vocabulary size.",
            Integers(1, 1000),
        ),
    ] = 5

    @property
    def attention_num_hidden(self) -> int:
        """Width of the attention: ``rnn_attention_num_hidden`` where it was passed, else ``rnn_num_hidden``."""
        return self.rnn_num_hidden if self.rnn_attention_num_hidden is None else self.rnn_attention_num_hidden

    @property
    def weight_init_magnitude(self) -> float:
        """The scale without its sign, which counts for no distribution."""
        return abs(self.weight_init_scale)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_what_means_not_passed(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        fields = cls.model_fields
        optional = {name for name in fields if row_of(name).none_means_not_passed}
        empty = {name for name, field in fields.items() if field.default is None}
        return {
            name: value
            for name, value in values.items()
            if not (name in optional and means_not_passed(value)) and not (name in empty and value is None)
        }


class Hyperparameters(PageHyperparameters):
    """The configuration of a training job: frozen, complete, every value inside its own row's limits.

    Its own fields are the extensions; a job that passes none of them is the page's.

    Values are taken as Python objects or as the text of the job's configuration. Rules between parameters are not
    checked here: a job goes through ``validate``. ``model_fields_set`` holds the names that were passed, so
    ``model_dump(exclude_unset=True)`` gives what rebuilds an equal object.
    """

    max_batch_tokens: Annotated[
        int | None,
        Row(
            "Limits a batch by its padded tokens in place of `batch_size` and buckets: its pairs times its longest "
            "source, and times its longest target with the end symbol, are each at most this many.",
            _COUNTS,
        ),
    ] = None
    max_seqs: Annotated[
        int | None, Row("Most pairs of such a batch, beside `max_batch_tokens`; not passed: any number.", _COUNTS)
    ] = None
    seq_ordering: Annotated[
        SeqOrdering | None,
        Row(
            "Order of the training pairs before batching, by source length where it sorts; N is a seed for `random`, "
            "the number of parts for `laplace:N`, the pairs of a part for `laplace:.N`. Not passed: the order of "
            "buckets, or `laplace:.1000` with `max_batch_tokens`.",
            Orderings(),
        ),
    ] = None
    chunking: Annotated[
        Chunking | Literal[0],
        Row(
            "Cuts training pairs into chunks of SIZE tokens that begin every STEP tokens; only where both sides of "
            "every pair are equally long, as in tagging. 0 switches it off.",
            Chunkings(),
        ),
    ] = 0
    max_seq_length: Annotated[
        MaxSeqLength | None,
        Row(
            "Most tokens of a training pair, by side, before anything is cut: a pair over a bound is discarded.",
            LengthBounds(),
        ),
    ] = None
    num_epochs: Annotated[int | None, Row("Another name of `max_num_epochs`.", _COUNTS)] = None
    save_interval: Annotated[
        int | None,
        Row(
            "Epochs from one checkpoint, with its evaluation, to the next, in place of "
            "`checkpoint_frequency_num_batches`; the last epoch has one too.",
            _COUNTS,
        ),
    ] = None
    start_epoch: Annotated[
        int | Literal["auto"],
        Row(
            "Epoch to begin with: auto goes on from the newest whole checkpoint, 1 begins afresh, a later one goes on "
            "from the checkpoint of the epoch before it.",
            IntegersOr("auto", _COUNTS),
        ),
    ] = "auto"
    cleanup_old_models: Annotated[
        CleanupOldModels | Literal[False],
        Row(
            "Which checkpoints stay: the last `keep_last_n` (2 by default), the best `keep_best_n` on the optimized "
            "metric (4), and those of the epochs in the list `keep` (20, 40, 80, 160, 240); without `save_interval` "
            "these are numbers of checkpoints. False keeps the last 2 and the best.",
            Cleanups(),
        ),
    ] = False
    stop_on_nonfinite_train_score: Annotated[
        bool,
        Row("Ends the job where the loss of an update is not finite; false leaves that update out and goes on."),
    ] = True
    seed: Annotated[int, Row("Every random choice of the job follows from it.", SEEDS)] = 13
    precision: Annotated[
        Literal["float32", "bfloat16", "auto"],
        Row("Numbers of training; auto is bfloat16, in mixed precision, where the device computes with it natively."),
    ] = "float32"
    processes: Annotated[
        int | None, Row("Training processes on each host; not passed: one for each GPU, or 1.", _COUNTS)
    ] = None
    label_smoothing: Annotated[
        float,
        Row("Share of probability that the loss spreads over all words of the vocabulary.", Numbers(0, 1, False, True)),
    ] = 0.0
    length_penalty_alpha: Annotated[
        float,
        Row("Exponent of the length penalty in translation, kept with the model; 0 switches it off.", Numbers(0)),
    ] = 1.0
    length_penalty_beta: Annotated[
        float, Row("Offset of the length penalty in translation, kept with the model.", Numbers(0))
    ] = 0.0

    @property
    def epoch_limit(self) -> int | None:
        """``max_num_epochs``, by whichever of its two names it was passed."""
        return self.num_epochs if self.max_num_epochs is None else self.max_num_epochs

    @property
    def ordering(self) -> SeqOrdering | None:
        """``seq_ordering``, or what it is with token-limited batches; ``None`` is the order of buckets."""
        if self.seq_ordering is None and self.max_batch_tokens is not None:
            return _ORDER_OF_TOKEN_BATCHES
        return self.seq_ordering


def row_of(name: str) -> Row:
    """The row of a parameter."""
    return next(item for item in Hyperparameters.model_fields[name].metadata if isinstance(item, Row))
