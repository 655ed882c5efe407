"""HPOTrainer with vLLM as a server: `make test-vllm-server`.

TRL hands weights to a server over NCCL, which needs GPUs. Here they go through a folder instead; all else is TRL's
client and vLLM's server.
"""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from one_engine import logged, vllm_trainer
from policy import random_policy
from safetensors.torch import save_file
from transformers import AutoTokenizer
from trl.generation.vllm_client import VLLMClient

from hysteretic.evals.generate import respond
from hysteretic.evals.vllm import respond_within_run
from hysteretic.tasks.task import Problem

HERE = Path(__file__).parent
MOVING = {"steps_per_generation": 2, "gradient_accumulation_steps": 1, "max_steps": 6, "learning_rate": 1e-2}
DIFFERENCE = "sampling/sampling_logp_difference/max"


@pytest.fixture(scope="module")
def server(policy_folder, tmp_path_factory):
    """The URL of `vllm serve`, which TRL's client waits for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    log = tmp_path_factory.mktemp("server") / "log"
    words = ["serve", str(policy_folder), "--port", port, "--dtype", "float32", "--max-model-len", "128"]
    words += ["--enforce-eager", "--logprobs-mode", "processed_logprobs"]
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, HERE / "serve.py", *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "VLLM_SERVER_DEV_MODE": "1"},
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)
        print(log.read_text()[-3000:])  # shown when a test failed


def through_a_folder(client, metadata, named_params):
    with tempfile.TemporaryDirectory() as folder:
        save_file({name: tensor.contiguous() for name, tensor in named_params}, Path(folder) / "model.safetensors")
        call = {"method": "reload_weights", "kwargs": {"weights_path": folder}}
        client._post(f"{client.base_url}/collective_rpc", json=call)


@pytest.mark.parametrize("is_synced", [True, False], ids=["synced", "not synced"])
def test_updated_weights_reach_the_server(server, policy_folder, tmp_path, monkeypatch, is_synced):
    """Its log-probs are those of the updated model; the control, without weights, notices old ones. After training, the
    server answers held-out problems as transformers would."""
    monkeypatch.setattr(VLLMClient, "init_communicator", lambda self, device=0: None)
    start = dict(random_policy(width=64)[0].named_parameters())
    sync = through_a_folder if is_synced else lambda client, metadata, _: through_a_folder(client, None, start.items())
    monkeypatch.setattr(VLLMClient, "update_named_params", sync)
    trainer = vllm_trainer(
        policy_folder,
        tmp_path,
        vllm_mode="server",
        vllm_server_base_url=server,
        vllm_server_timeout=180.0,
        **MOVING,
    )
    trainer.train()
    assert trainer._leaves_out
    found = logged(trainer, DIFFERENCE)
    assert found[0] < 1e-4
    assert (max(found) < 1e-4) if is_synced else (found[-1] > 0.1)
    tokenizer = AutoTokenizer.from_pretrained(policy_folder)
    problems = [Problem(str(i), f"{i:03d}:", i) for i in range(6)]
    responses = respond_within_run(trainer.vllm_generation, tokenizer, problems, 0, 8)
    assert (responses == respond(trainer.model, tokenizer, problems, 0, 8)) is is_synced
