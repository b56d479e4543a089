"""The ``configuration`` of an instance: what a client may ask for beyond the translation.

Source: container contract 5.1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from s2s_algo.decoding.options import SearchOptions
from s2s_algo.errors import ClientError
from serve.strict_json import name_of_type, quote

# A search with a wider beam would hold up all others.
_WIDEST_BEAM = 100


@dataclass(frozen=True, slots=True)
class InstanceOptions:
    """The options of one instance; what is ``None`` is as the model says.

    Attributes:
        attention_matrix: The answer carries the attention matrix.
        tokens: It carries the tokens of the source and of the translation, of which the matrix tells.
        scores: It carries the score.
        replace_unknown: Each ``<unk>`` of a text becomes the source token that it attends to most.
        n_best: It carries a list of so many translations.
        beam_size: Hypotheses of the search.
        max_output_length: Most target tokens, ``</s>`` included.
        length_penalty_alpha: Exponent of the length penalty.
        length_penalty_beta: Its offset.
    """

    attention_matrix: bool = False
    tokens: bool = False
    scores: bool = False
    replace_unknown: bool = False
    n_best: int | None = None
    beam_size: int | None = None
    max_output_length: int | None = None
    length_penalty_alpha: float | None = None
    length_penalty_beta: float | None = None

    def search_options(self, usual: SearchOptions) -> SearchOptions:
        """How to search.

        Args:
            usual: How the model is searched if nobody says otherwise.
        """
        names = ("n_best", "beam_size", "max_output_length", "length_penalty_alpha", "length_penalty_beta")
        wanted = {name: value for name in names if (value := getattr(self, name)) is not None}
        return replace(usual, **wanted, with_attention=self.attention_matrix or self.replace_unknown)


def boolean(value: object) -> bool:
    """Reads a truth value, which the original's notebooks send as text.

    Raises:
        ClientError: Anything but true and false.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise ClientError(f"is {_shown(value)}; it must be true or false")


# Numbers as text. Python would read more than anybody means, such as underscores and the digits of other scripts.
_MOST_DIGITS = 9
_INTEGER = re.compile(rf"[1-9][0-9]{{0,{_MOST_DIGITS - 1}}}")
_NUMBER = re.compile(r"([0-9]{1,99}(\.[0-9]{0,99})?|\.[0-9]{1,99})(e(\+?[0-9]{1,2}|-[0-9]{1,3}))?", re.IGNORECASE)


def _integer(value: object) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 10**_MOST_DIGITS:
        return value
    raise ClientError(f"is {_shown(value)}; it must be an integer of 1 or more")


def _beam(value: object) -> int:
    if (size := _integer(value)) > _WIDEST_BEAM:
        raise ClientError(f"is {size}; at most {_WIDEST_BEAM} is allowed")
    return size


def _number(value: object) -> float:
    number = math.nan
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        number = float(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        with suppress(OverflowError):
            number = float(value)
    if 0 <= number < math.inf:
        return number
    raise ClientError(f"is {_shown(value)}; it must be a finite number of 0 or more")


def _shown(value: object) -> str:
    if isinstance(value, str):
        return quote(value)
    return str(value) if isinstance(value, (int, float)) and abs(value) < 10**_MOST_DIGITS else name_of_type(value)


# One row per option: its name, a field of InstanceOptions, and how its value is read.
_PARSERS: Mapping[str, Callable[[object], bool | int | float]] = {
    "attention_matrix": boolean,
    "tokens": boolean,
    "scores": boolean,
    "replace_unknown": boolean,
    "n_best": _integer,
    "beam_size": _beam,
    "max_output_length": _integer,
    "length_penalty_alpha": _number,
    "length_penalty_beta": _number,
}


def parse_configuration(configuration: object) -> InstanceOptions:
    """Reads the options of one instance from its ``configuration``.

    Raises:
        ClientError: The configuration is no object, or it has an unknown option or an illegal value.
    """
    if not isinstance(configuration, dict):
        raise ClientError(
            f"'configuration' is {name_of_type(configuration)}; it must be an object of options, "
            'such as {"attention_matrix": true}'
        )
    values: dict[str, Any] = {}
    for name, value in configuration.items():
        if name not in _PARSERS:
            raise ClientError(f"unknown configuration option {quote(name)}; the options are: {', '.join(_PARSERS)}")
        try:
            values[name] = _PARSERS[name](value)
        except ClientError as error:
            raise ClientError(f"configuration option '{name}' {error.message}") from None
    return InstanceOptions(**values)
