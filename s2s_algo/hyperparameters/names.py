"""Names that are not in the table: those the platform adds, and mistakes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from s2s_algo.hyperparameters.wording import nearest
from s2s_algo.wording import shown

# A tuning job adds this name to every job that it starts.
TUNING_MARK = "_tuning_objective_metric"


def is_from_platform(name: str) -> bool:
    """Tells whether a name is one that tuning jobs and the SDK add by themselves."""
    return name.startswith(("_", "sagemaker_"))


def unknown_names_problem(unknown: Sequence[str], known: Collection[str]) -> str:
    """Words the error for unknown names, with the nearest known name for each."""
    listed = ", ".join(shown(name) for name in unknown)
    verb = "was" if len(unknown) == 1 else "were"
    advice = "; ".join(_advice(name, known, alone=len(unknown) == 1) for name in unknown)
    return f"Additional hyperparameters are not allowed ({listed} {verb} unexpected); {advice}"


def _advice(name: str, known: Collection[str], *, alone: bool) -> str:
    guess = nearest(name, known)
    if guess is None:
        return "remove it" if alone else f"remove {shown(name)}"
    return f"did you mean '{guess}'?" if alone else f"for {shown(name)} did you mean '{guess}'?"
