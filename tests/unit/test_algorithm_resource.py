"""The request CreateAlgorithm: the platform's own model accepts it, and it says what the program does."""

import json

import botocore.session
import pytest
from botocore.validate import ParamValidator
from click.testing import CliRunner

from s2s_algo.algorithm_resource import create_algorithm_request
from s2s_algo.cli import main
from s2s_algo.hyperparameters import validate
from s2s_algo.hyperparameters.parameters import parameters
from s2s_algo.training.metrics import metric_definitions
from serve.media_types import Format
from tests.service_model import broken_rules

IMAGE = "111111111111.dkr.ecr.eu-central-1.amazonaws.com/s2s:cpu"


@pytest.fixture(scope="module")
def shape():
    service = botocore.session.get_session().get_service_model("sagemaker")
    return service.operation_model("CreateAlgorithm").input_shape


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def request_(request):
    return create_algorithm_request("s2s", IMAGE, request.param)


@pytest.fixture(scope="module")
def specifications(request_):
    return {entry["Name"]: entry for entry in request_["TrainingSpecification"]["SupportedHyperParameters"]}


def test_the_platform_s_model_accepts_it(shape, request_):
    assert ParamValidator().validate(request_, shape).generate_report() == ""
    assert list(broken_rules(shape, request_)) == []


def test_a_wrong_request_is_found(shape, request_):
    training = {**request_["TrainingSpecification"], "SupportedTrainingInstanceTypes": ["ml.x.large"]}
    wrong = {**request_, "AlgorithmName": "-", "TrainingSpecification": training}
    assert [value for _, value in broken_rules(shape, wrong)] == ["-", "ml.x.large"]
    assert ParamValidator().validate({**request_, "AlgorithmName": 1}, shape).has_errors()


def test_every_hyperparameter_is_there_and_those_that_can_be_tuned(specifications):
    table = parameters()
    assert list(specifications) == list(table)
    tunable = {name for name, entry in specifications.items() if entry["IsTunable"]}
    assert tunable == {name for name, parameter in table.items() if parameter.tunable}
    assert {"learning_rate", "batch_size", "optimizer_type"} <= tunable
    assert not any(entry["IsRequired"] for entry in specifications.values())
    # The platform tunes no free text.
    assert not [name for name in tunable if specifications[name]["Type"] == "FreeText"]


def ends(specification):
    """Values at the ends of a range, or every category."""
    [(_, range_)] = specification["Range"].items()
    return range_.get("Values") or [range_["MinValue"], range_["MaxValue"]]


def test_defaults_and_categories_are_values_that_a_job_takes(specifications):
    for name, specification in specifications.items():
        values = [specification["DefaultValue"]] if "DefaultValue" in specification else []
        if specification["Type"] == "Categorical":
            values += ends(specification)
            assert set(values) == set(ends(specification))
        for value in values:
            parameters()[name].domain.parse(value)
    defaults = {name: entry["DefaultValue"] for name, entry in specifications.items() if "DefaultValue" in entry}
    assert validate(defaults).hyperparameters == validate({}).hyperparameters


def test_ranges_leave_out_nothing_that_a_job_takes(specifications):
    numbers = {name: entry for name, entry in specifications.items() if entry["Type"] in ("Integer", "Continuous")}
    for name, specification in numbers.items():
        low, high = map(float, ends(specification))
        for value in (low - 1, high + 1):
            if low <= value <= high:  # beyond what numbers of a computer can tell apart
                continue
            with pytest.raises(ValueError, match="not "):
                parameters()[name].domain.parse(int(value) if specification["Type"] == "Integer" else value)
        default = specification.get("DefaultValue")
        assert default is None or low <= float(default) <= high
    assert ends(numbers["max_num_batches"]) == ["-1", str(2**31 - 1)]
    assert ends(numbers["learning_rate"]) == ["0", "100"]
    assert ends(numbers["cnn_kernel_width_encoder"]) == ["1", "65535"]
    assert float(ends(numbers["clip_gradient"])[0]) < -1e300


def test_metrics_channels_and_formats_are_the_program_s(request_):
    training, inference = request_["TrainingSpecification"], request_["InferenceSpecification"]
    assert training["MetricDefinitions"] == metric_definitions()
    assert training["SupportedTuningJobObjectiveMetrics"] == [
        {"Type": "Minimize", "MetricName": "validation:perplexity"},
        {"Type": "Maximize", "MetricName": "validation:accuracy"},
        {"Type": "Maximize", "MetricName": "validation:bleu"},
    ]
    required = {channel["Name"]: channel["IsRequired"] for channel in training["TrainingChannels"]}
    assert required == {"train": True, "validation": True, "vocab": True, "model": False}
    assert {mode for channel in training["TrainingChannels"] for mode in channel["SupportedInputModes"]} == {
        "File",
        "FastFile",
    }
    formats = [format_.value for format_ in Format]
    assert inference["SupportedContentTypes"] == inference["SupportedResponseMIMETypes"] == formats


def test_instances_are_those_of_the_image_s_device():
    def families(device):
        request = create_algorithm_request("s2s", IMAGE, device)
        return {name.split(".")[1][0] for name in request["TrainingSpecification"]["SupportedTrainingInstanceTypes"]}

    assert families("cpu") == {"m", "c"}
    assert families("gpu") == {"g", "p"}


def test_the_command_prints_it():
    result = CliRunner().invoke(main, ["describe", "algorithm", "--image", IMAGE, "--name", "mine", "--device", "gpu"])
    assert json.loads(result.stdout) == create_algorithm_request("mine", IMAGE, "gpu")
