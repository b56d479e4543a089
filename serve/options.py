"""The ``configuration`` of an instance: what a client may ask for beyond the translation.

Source: container contract 5.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from s2s_algo.errors import ClientError
from serve.strict_json import name_of_type, quote


@dataclass(frozen=True, slots=True)
class InstanceOptions:
    """The options of one instance.

    Attributes:
        attention_matrix: The answer carries the attention matrix.
    """

    attention_matrix: bool = False


def boolean(value: object) -> bool:
    """Reads a truth value, which the original's notebooks send as text.

    Raises:
        ClientError: Anything but true and false.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    shown = quote(value) if isinstance(value, str) else name_of_type(value)
    raise ClientError(f"is {shown}; it must be true or false")


# One row per option: its name, a field of InstanceOptions, and how its value is read.
_PARSERS: Mapping[str, Callable[[object], bool]] = {
    "attention_matrix": boolean,
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
    values = {}
    for name, value in configuration.items():
        if name not in _PARSERS:
            raise ClientError(f"unknown configuration option {quote(name)}; the options are: {', '.join(_PARSERS)}")
        try:
            values[name] = _PARSERS[name](value)
        except ClientError as error:
            raise ClientError(f"configuration option '{name}' {error.message}") from None
    return InstanceOptions(**values)
