"""What the platform must know of this algorithm to check jobs and to offer it: the request ``CreateAlgorithm``.

Everything in it comes from the tables that the program itself goes by.
"""

from __future__ import annotations

import sys
from typing import Any, Literal

from s2s_algo.data.channels import MODEL, TRAIN, VALIDATION, VOCAB
from s2s_algo.hyperparameters import written
from s2s_algo.hyperparameters.domains import Booleans, Choice, Integers, Numbers
from s2s_algo.hyperparameters.parameters import Parameter, parameters
from s2s_algo.training.metrics import METRICS, metric_definitions

Device = Literal["cpu", "gpu"]

_RECORDIO = "application/x-recordio-protobuf"
# Of endpoints, in the order in which a client should choose.
_FORMATS = ["application/json", "application/jsonlines", _RECORDIO]

_SIZES = ["xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge"]
# Instances for training, endpoints and batch transform alike, by family.
_INSTANCES: dict[Device, dict[str, list[str]]] = {
    "cpu": {
        "m5": ["large", "xlarge", "2xlarge", "4xlarge", "12xlarge", "24xlarge"],
        "c5": ["xlarge", "2xlarge", "4xlarge", "9xlarge", "18xlarge"],
        "m6i": ["large", *_SIZES, "24xlarge", "32xlarge"],
        "c6i": [*_SIZES, "24xlarge", "32xlarge"],
        "m7i": ["large", *_SIZES, "24xlarge", "48xlarge"],
        "c7i": ["large", *_SIZES, "24xlarge", "48xlarge"],
    },
    "gpu": {
        "g4dn": _SIZES,
        "g5": [*_SIZES, "24xlarge", "48xlarge"],
        "g6": [*_SIZES, "24xlarge", "48xlarge"],
        "g6e": [*_SIZES, "24xlarge", "48xlarge"],
    },
}
# The platform has no batch transform on these.
_NOT_FOR_TRANSFORM: dict[Device, dict[str, list[str]]] = {
    "cpu": {},
    "gpu": {"p4d": ["24xlarge"], "p4de": ["24xlarge"], "p5": ["4xlarge", "48xlarge"], "p5en": ["48xlarge"]},
}


def create_algorithm_request(name: str, image: str, device: Device) -> dict[str, Any]:
    """The request for boto3's ``create_algorithm``, or for ``aws sagemaker create-algorithm --cli-input-json``.

    Args:
        name: What the algorithm shall be called in the account.
        image: Where the registry has the image.
        device: What the image's build of torch computes on.
    """
    for_transform = _instances(_INSTANCES[device])
    instances = for_transform + _instances(_NOT_FOR_TRANSFORM[device])
    return {
        "AlgorithmName": name,
        "AlgorithmDescription": "Sequence-to-sequence models with attention; a successor of the built-in seq2seq.",
        "TrainingSpecification": {
            "TrainingImage": image,
            "SupportedHyperParameters": [_hyperparameter(parameter) for parameter in parameters().values()],
            "SupportedTrainingInstanceTypes": instances,
            "SupportsDistributedTraining": True,
            "MetricDefinitions": metric_definitions(),
            "TrainingChannels": [
                _channel(TRAIN, "Sentence pairs to learn from.", _RECORDIO),
                _channel(VALIDATION, "Sentence pairs that decide which checkpoint is best.", _RECORDIO),
                _channel(VOCAB, "The vocabularies vocab.src.json and vocab.trg.json.", "application/json"),
                _channel(MODEL, "A model to begin with.", "application/x-sagemaker-model", required=False),
            ],
            "SupportedTuningJobObjectiveMetrics": [
                {
                    "Type": "Maximize" if metric.higher_is_better else "Minimize",
                    "MetricName": metric.definition["Name"],
                }
                for metric in METRICS.values()
            ],
        },
        "InferenceSpecification": {
            "Containers": [{"Image": image}],
            "SupportedTransformInstanceTypes": for_transform,
            "SupportedRealtimeInferenceInstanceTypes": instances,
            "SupportedContentTypes": _FORMATS,
            "SupportedResponseMIMETypes": _FORMATS,
        },
    }


def _instances(families: dict[str, list[str]]) -> list[str]:
    return [f"ml.{family}.{size}" for family, sizes in families.items() for size in sizes]


def _channel(name: str, description: str, content_type: str, required: bool = True) -> dict[str, Any]:
    return {
        "Name": name,
        "Description": description,
        "IsRequired": required,
        "SupportedContentTypes": [content_type],
        "SupportedCompressionTypes": ["None"],
        "SupportedInputModes": ["File", "FastFile"],
    }


def _hyperparameter(parameter: Parameter) -> dict[str, Any]:
    tuning = f" Recommended for tuning: {parameter.tunable}." if parameter.tunable else ""
    specification: dict[str, Any] = {
        "Name": parameter.name,
        "Description": f"{parameter.description}{tuning}",
        "IsTunable": bool(parameter.tunable),
        "IsRequired": False,
        **_type_and_range(parameter),
    }
    if parameter.default is not None:
        specification["DefaultValue"] = written(parameter.default)
    return specification


def _type_and_range(parameter: Parameter) -> dict[str, Any]:
    """The platform's narrowest words for what is allowed; the job itself checks the rest, such as parity."""
    match parameter.domain:
        case Integers(minimum=minimum, maximum=maximum, also=also):
            bounds = {"MinValue": str(min([minimum, *also])), "MaxValue": str(max([maximum, *also]))}
            return {"Type": "Integer", "Range": {"IntegerParameterRangeSpecification": bounds}}
        case Numbers(minimum=minimum, maximum=maximum):
            # The platform knows no infinity.
            largest = sys.float_info.max
            bounds = {"MinValue": written(max(minimum, -largest)), "MaxValue": written(min(maximum, largest))}
            return {"Type": "Continuous", "Range": {"ContinuousParameterRangeSpecification": bounds}}
        case Choice(words=words):
            return _categories(*words)
        case Booleans():
            return _categories("true", "false")
        case _:
            return {"Type": "FreeText"}


def _categories(*values: str) -> dict[str, Any]:
    return {"Type": "Categorical", "Range": {"CategoricalParameterRangeSpecification": {"Values": list(values)}}}
