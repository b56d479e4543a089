"""The hyperparameters of a training job: table, grammar of values, rules, documentation.

Imports neither torch nor numpy, so that a wrong job fails within a second.
"""

from s2s_algo.hyperparameters.documentation import as_markdown
from s2s_algo.hyperparameters.file import read_hyperparameters_file
from s2s_algo.hyperparameters.grammar import written
from s2s_algo.hyperparameters.table import Hyperparameters
from s2s_algo.hyperparameters.validation import Notice, Validated, valid_part, validate

__all__ = [
    "Hyperparameters",
    "Notice",
    "Validated",
    "as_markdown",
    "read_hyperparameters_file",
    "valid_part",
    "validate",
    "written",
]
