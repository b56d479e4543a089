"""The rows of the table as objects, for those who ask about parameters and not about a job."""

from __future__ import annotations

from dataclasses import dataclass

from s2s_algo.hyperparameters.domains import Domain
from s2s_algo.hyperparameters.grammar import written
from s2s_algo.hyperparameters.table import Hyperparameters, PageHyperparameters, row_of
from s2s_algo.wording import shown


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row with all that the table says about it.

    Attributes:
        name: Its name.
        domain: The values it allows.
        default: Its value when it is not passed; ``None`` where the job then has none.
        description: What it is for.
        tunable: The range recommended for tuning jobs, in words; empty where none is.
        none_means_not_passed: Whether ``None``, ``null`` and the empty text stand for "not passed".
        is_extension: Whether it is none of the page's.
    """

    name: str
    domain: Domain
    default: object
    description: str
    tunable: str
    none_means_not_passed: bool
    is_extension: bool

    def problem_with(self, value: object) -> str:
        """Words the error for a value that is not allowed."""
        if self.default is None:
            leave_out = "leave it out if you do not need it"
        else:
            leave_out = f"leave it out for the default {written(self.default)}"
        return f"{self.name}: {shown(value)} is not {self.domain.allowed}; {self.domain.hint(value) or leave_out}"


def parameters() -> dict[str, Parameter]:
    """All parameters by name, in page order, then the extensions."""
    return {name: _parameter(name) for name in Hyperparameters.model_fields}


def _parameter(name: str) -> Parameter:
    field = Hyperparameters.model_fields[name]
    row = row_of(name)
    return Parameter(
        name=name,
        domain=row.domain(field.annotation),
        default=field.default,
        description=row.description,
        tunable=row.tunable,
        none_means_not_passed=row.none_means_not_passed,
        is_extension=name not in PageHyperparameters.model_fields,
    )
