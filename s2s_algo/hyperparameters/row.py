"""What a row of the table says about a hyperparameter beside its name, its type and its default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from s2s_algo.hyperparameters.domains import Booleans, Choice, Domain
from s2s_algo.hyperparameters.values import plain


@dataclass(frozen=True, slots=True)
class Row:
    """Metadata of one annotated field; it makes pydantic read the field's value with the row's domain.

    Attributes:
        description: One sentence or two for the user.
        values: What is allowed; ``None`` where the type says it all, as booleans and literals do.
        tunable: The range recommended for tuning jobs in words; empty where none is.
        none_means_not_passed: Whether ``None``, ``null`` and the empty text stand for "not passed".
    """

    description: str
    values: Domain | None = None
    tunable: str = ""
    none_means_not_passed: bool = False

    def domain(self, annotation: Any) -> Domain:
        """The row's values, read from the type where the row itself names none."""
        if self.values is not None:
            return self.values
        if annotation is bool:
            return Booleans()
        if get_origin(annotation) is Literal:
            return Choice(get_args(annotation))
        raise TypeError(f"a row of type {annotation} must say which values it allows")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Replaces pydantic's own conversions, which know nothing of the grammar of hyperparameters."""
        return core_schema.no_info_plain_validator_function(
            self.domain(source).parse, serialization=core_schema.plain_serializer_function_ser_schema(plain)
        )
