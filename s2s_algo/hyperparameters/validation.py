"""From the values of a job to its configuration, or to one error that holds every problem of the job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters.names import TUNING_MARK, is_from_platform, unknown_names_problem
from s2s_algo.hyperparameters.parameters import parameters
from s2s_algo.hyperparameters.rules import RULES, Finding
from s2s_algo.hyperparameters.table import Hyperparameters
from s2s_algo.wording import shown


@dataclass(frozen=True, slots=True)
class Notice:
    """A line for the log of the job."""

    level: Literal["INFO", "WARNING"]
    text: str


@dataclass(frozen=True, slots=True)
class Validated:
    """A configuration that passed every check, and what its user should read in the log."""

    hyperparameters: Hyperparameters
    notices: tuple[Notice, ...]


def validate(raw: Mapping[str, object]) -> Validated:
    """Checks the values of a job.

    Args:
        raw: Values by name as they were passed: texts, or JSON values of the right type.

    Returns:
        The configuration with defaults filled in, and notices: first one for ignored names, then those on single
        parameters in page order.

    Raises:
        ClientError: With one line per problem, in page order, unknown names last.
    """
    table = parameters()
    from_platform = [name for name in raw if name not in table and is_from_platform(name)]
    unknown = [name for name in raw if name not in table and not is_from_platform(name)]
    passed = {name: value for name, value in raw.items() if name in table}

    # (1) Each value by itself; what was rejected is set aside, so that rules can look at the rest.
    rejected = _rejected(passed)
    accepted = {name: value for name, value in passed.items() if name not in rejected}
    hyperparameters = Hyperparameters.model_validate(accepted)
    problems = [(name, table[name].problem_with(passed[name])) for name in rejected]

    # (2) Rules between values; nothing is said that rests on a rejected value.
    notices: list[tuple[str, Notice]] = []
    for finding in _findings(hyperparameters):
        name = finding.names[0]
        if not rejected.isdisjoint(finding.names):
            continue
        if finding.ignored_when_tuning and TUNING_MARK in raw:
            del accepted[name]
            notices.append((name, Notice("WARNING", f"{name}: {finding.what}; ignored in this tuning job")))
        elif finding.level == "ERROR":
            problems.append((name, f"{name}: {finding.what}; {finding.advice}"))
        else:
            notices.append((name, Notice(finding.level, f"{name}: {finding.what}; {finding.advice}")))

    # (3) One error for everything, or the configuration.
    page_order = list(table)
    problems.sort(key=lambda problem: page_order.index(problem[0]))
    notices.sort(key=lambda notice: page_order.index(notice[0]))
    lines = [text for _, text in problems]
    if unknown:
        lines.append(unknown_names_problem(unknown, page_order))
    if lines:
        raise ClientError(_message(lines))
    ignored = [_ignored(from_platform)] if from_platform else []
    result = Hyperparameters.model_validate(accepted)
    about_tuning = _about_tuning(raw.get(TUNING_MARK), result)
    return Validated(result, (*ignored, *about_tuning, *(notice for _, notice in notices)))


def valid_part(raw: Mapping[str, object]) -> Hyperparameters:
    """The values that are allowed by themselves, with defaults for the rest: for checks beside ``validate``."""
    passed = {name: value for name, value in raw.items() if name in parameters()}
    rejected = _rejected(passed)
    return Hyperparameters.model_validate({name: value for name, value in passed.items() if name not in rejected})


def _rejected(passed: Mapping[str, object]) -> set[str]:
    """The names whose values their rows do not allow."""
    # In Python None is what a parameter without a value has; in a job it is a value, which few rows allow.
    table = parameters()
    rejected = {name for name, value in passed.items() if value is None and not table[name].none_means_not_passed}
    try:
        Hyperparameters.model_validate(passed)
    except ValidationError as error:
        rejected |= {str(detail["loc"][0]) for detail in error.errors(include_url=False, include_input=False)}
    return rejected


def _findings(hyperparameters: Hyperparameters) -> list[Finding]:
    return [finding for rule in RULES for finding in rule(hyperparameters)]


def _about_tuning(objective: object, job: Hyperparameters) -> list[Notice]:
    """A tuning job finds out only at the end that its training jobs never say what it looks for."""
    if objective != "validation:bleu" or job.bleu_sample_size or job.optimized_metric == "bleu":
        return []
    advice = "pass bleu_sample_size, or bleu as optimized_metric"
    return [Notice("WARNING", f"the tuning job looks for {objective}, which this job does not compute; {advice}")]


def _ignored(names: Sequence[str]) -> Notice:
    return Notice("INFO", f"ignored hyperparameters that the platform adds: {', '.join(shown(name) for name in names)}")


def _message(lines: Sequence[str]) -> str:
    if len(lines) == 1:
        return lines[0]
    return "\n".join([f"{len(lines)} problems with the hyperparameters:", *lines])
