import json
import subprocess
import sys

SCRIPT = """
import json, sys, time
from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import as_markdown, validate

mistakes = {name: "?" for name in (
    "max_seq_len_source", "encoder_type", "rnn_num_hidden", "cnn_hidden_dropout", "batch_size", "loss_type",
    "max_num_batches", "learning_rate", "momentum", "batch_sise",
)}
try:
    validate(mistakes)
except ClientError as error:
    lines = str(error).splitlines()
as_markdown()
heavy = [name for name in ("torch", "numpy", "flask") if name in sys.modules]
print(json.dumps({"lines": len(lines), "heavy": heavy, "cpu_seconds": time.process_time()}))
"""


def test_ten_mistakes_are_found_without_torch_and_within_a_second():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)

    assert result["lines"] == 11
    assert result["heavy"] == []
    assert result["cpu_seconds"] < 1.5  # about 0.2 on a laptop; torch alone would take more than this bound
