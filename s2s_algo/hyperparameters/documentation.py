"""The user documentation of the hyperparameters, written from the table and the rules."""

from __future__ import annotations

import inspect

from s2s_algo.hyperparameters.grammar import written
from s2s_algo.hyperparameters.parameters import Parameter, parameters
from s2s_algo.hyperparameters.rules import RULES

_INTRODUCTION = """\
# Hyperparameters

<!-- Written by `s2s describe hyperparameters`; change the table in the code, not this page. -->

Every hyperparameter is optional. All problems of a job are reported at once, each as name, value, what is allowed and
how to mend it. A name that is not listed is an error that suggests the nearest listed one; names that begin with `_` or
`sagemaker_`, which tuning jobs and the SDK add by themselves, are ignored with a line in the log.

## How values are written

Values arrive as texts. White space around a value and one pair of JSON quotes (`"\\"lstm\\""`) are removed. Then

* a boolean is `true` or `false` in any case,
* an integer is an optional sign and the digits 0 to 9, nothing else: `64`, but neither `64.0` nor `1e3`,
* a float is a finite decimal number with an optional exponent: `0.0003` or `3e-4`,
* a string is one of the listed words or forms, exactly,
* a JSON object is an object, the text of one, or the text that Python writes for a dictionary:
  `{{"source": 75}}` or `{{'source': 75}}`.

A JSON number or boolean is accepted where it has exactly the right type; an integer is also a float. `None` in any
case, `null` and the empty text are errors, except that they mean "not passed" for
{optional}.

## Table
"""

_HEAD = """\
| Name | Type | Valid values | Default | Range for tuning | Meaning |
| --- | --- | --- | --- | --- | --- |
"""

_EXTENSIONS_HEAD = """
## Extensions

The page does not have these. All are off by default: a job that passes none of them behaves as the page says.

"""

_RULES_HEAD = """
## Rules between hyperparameters
"""

_LIMITS = """
Of several limits (batches, epochs, checkpoints without improvement), the first one reached ends training.
"""


def as_markdown() -> str:
    """Writes the page: how values are written, the table in page order, the extensions, the rules."""
    table = parameters()
    optional = [f"`{name}`" for name, parameter in table.items() if parameter.none_means_not_passed]
    introduction = _INTRODUCTION.format(optional=f"{', '.join(optional[:-1])} and {optional[-1]}")
    page = "".join(_row(parameter) for parameter in table.values() if not parameter.is_extension)
    extensions = "".join(_row(parameter) for parameter in table.values() if parameter.is_extension)
    rules = "".join(f"\n* {' '.join((inspect.getdoc(rule) or '').split())}" for rule in RULES)
    return f"{introduction}\n{_HEAD}{page}{_EXTENSIONS_HEAD}{_HEAD}{extensions}{_RULES_HEAD}{rules}\n{_LIMITS}"


def _row(parameter: Parameter) -> str:
    default = "none" if parameter.default is None else f"`{written(parameter.default)}`"
    cells = (
        f"`{parameter.name}`",
        parameter.domain.type_name,
        parameter.domain.allowed,
        default,
        parameter.tunable,
        parameter.description,
    )
    return f"| {' | '.join(cells)} |\n"
