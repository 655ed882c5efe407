"""What verl lacks on a machine without a GPU: a platform, and a rollout server. For tests only.

Everything else is verl's own: the trainer, agent loop, reward loop, queue, FSDP2 engine, optimiser and checkpoints.
`sitecustomize.py` in this folder loads it first, because verl's modules read the platform when they are imported; the
run's settings are `ON_CPU` of launched.py. The server generates with transformers and samples from the whole softmax.

CPU_VERL_LOADS: a file to which the servers append one JSON line for every set of weights that they receive.
CPU_VERL_WITHHOLD: from this step on the servers ignore the weights, as if verl had not sent them.
"""

import asyncio
import hashlib
import json
import os
from contextlib import contextmanager
from functools import partial

import ray
import torch
from verl.plugin.platform import PlatformBase, PlatformRegistry, set_platform

NAME = "on_cpu"
MOST_AT_ONCE = 256
"""Requests that are generated as one batch."""
WAIT = 0.2
"""Seconds to wait for the rest of a batch."""


def nothing(*_, **__):
    return 0


for name in ("empty_cache", "memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved"):
    if not hasattr(torch.cpu, name):  # torch.cuda has them
        setattr(torch.cpu, name, nothing)
torch.cpu.set_rng_state = torch.set_rng_state  # used when a checkpoint is loaded


class Device(str):
    """ "cpu" for torch; verl also writes f"{name}:{index}", where it is 0."""

    def __format__(self, spec):
        return "0"


@PlatformRegistry.register("cpu")
class CPU(PlatformBase):
    """verl's own extension point for hardware."""

    device_name = "cpu"
    vendor_name = "none"
    device_module = torch.cpu

    def is_available(self):
        return True

    def current_device(self):
        return Device("cpu")  # verl passes it to .to(), where a number would be a GPU

    def device_count(self):
        return 1

    def communication_backend_name(self):
        return "gloo"

    def visible_devices_envvar(self):
        return "CUDA_VISIBLE_DEVICES"

    def ray_resource_name(self):
        return "GPU"  # logical ones, of ray.init(num_gpus=...)

    def ray_noset_envvars(self):
        return []

    def is_ipc_supported(self):
        return False

    def get_device_capability(self, device_index=0):
        return None, None

    @contextmanager
    def nvtx_range(self, msg):
        yield

    set_device = synchronize = manual_seed = manual_seed_all = set_allocator_settings = empty_cache = nothing
    profiler_start = profiler_stop = cudart = nothing


set_platform(CPU())
os.environ["VERL_ENGINE_DEVICE"] = "cuda"  # verl registers its FSDP engine for cuda and npu only

from verl.utils import distributed  # noqa: E402

# verl would ask for "cpu:gloo,cpu:gloo", which torch rejects as a duplicate.
distributed.initialize_global_process_group_ray = partial(
    distributed.initialize_global_process_group_ray, backend="cpu:gloo"
)

from verl.workers.rollout import base, replica  # noqa: E402


class Server:
    """One replica: the model in transformers; requests that wait are generated together."""

    def __init__(self, config, path, rank):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        torch.manual_seed(config.seed + rank)
        self.config, self.rank, self.step, self.waiting, self.worker = config, rank, None, [], None
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(path)
        self.eos = tokenizer.eos_token_id
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.eos

    async def load(self, weights, step):
        """Take the actor's weights after `step` updates."""
        withhold = os.environ.get("CPU_VERL_WITHHOLD")
        if withhold is None or step < int(withhold):
            self.model.load_state_dict(weights)
        self.step = step
        if "CPU_VERL_LOADS" in os.environ:
            digest = hashlib.sha256()
            for name in sorted(weights):
                digest.update(name.encode() + weights[name].contiguous().numpy().tobytes())
            line = {"rank": self.rank, "step": step, "weights": digest.hexdigest()}
            with open(os.environ["CPU_VERL_LOADS"], "a") as file:
                file.write(json.dumps(line) + "\n")

    async def generate(self, request_id, prompt_ids, sampling_params, **_):
        """verl's request: one prompt, one response."""
        found = asyncio.get_running_loop().create_future()
        self.waiting.append((list(prompt_ids), float(sampling_params.get("temperature", 1.0)), found))
        if self.worker is None or self.worker.done():
            self.worker = asyncio.create_task(self._work())
        ids, logprobs = await found
        return replica.TokenOutput(
            token_ids=ids, log_probs=logprobs, stop_reason="completed", extra_fields={"global_steps": self.step}
        )

    async def _work(self):
        while self.waiting:
            await asyncio.sleep(WAIT)
            temperature = self.waiting[0][1]
            batch = [each for each in self.waiting if each[1] == temperature][:MOST_AT_ONCE]
            self.waiting = [each for each in self.waiting if all(each is not other for other in batch)]
            try:
                rows = await asyncio.to_thread(self._sample, [prompt for prompt, _, _ in batch], temperature)
            except BaseException as error:
                for *_, found in batch:
                    found.set_exception(RuntimeError(repr(error)))
                raise
            for (*_, found), row in zip(batch, rows, strict=True):
                found.set_result(row)

    @torch.no_grad()
    def _sample(self, prompts, temperature):
        torch.set_num_threads(1)
        longest = max(map(len, prompts))
        ids = torch.tensor([[self.pad] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        sampled = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        out = self.model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=self.config.response_length,
            eos_token_id=self.eos,
            pad_token_id=self.pad,
            use_cache=True,
            return_dict_in_generate=True,
            output_logits=True,
            **(sampled if temperature > 0 else {"do_sample": False}),
        )
        made = out.sequences[:, longest:]
        logits = torch.stack(out.logits, dim=1).float() / (temperature or 1.0)
        logprobs = logits.log_softmax(-1).gather(-1, made.unsqueeze(-1)).squeeze(-1)
        rows = []
        for row, values in zip(made.tolist(), logprobs.tolist(), strict=True):
            length = row.index(self.eos) + 1 if self.eos in row else len(row)
            rows.append((row[:length], values[:length]))
        return rows

    async def sleep(self, *_, **__):
        return None

    wake_up = abort_all_requests = resume_generation = clear_kv_cache = sleep
    release_kv_cache = resume_kv_cache = start_profile = stop_profile = sleep


class Replica(replica.RolloutReplica):
    """verl's handle on a Server."""

    async def launch_servers(self):
        name = f"{NAME}_server_{self.replica_rank}"
        server = ray.remote(Server).options(name=name, max_concurrency=self.max_concurrency, num_cpus=0)
        handle = server.remote(self.config, self.model_config.path, self.replica_rank)
        await handle.sleep.remote()
        self.servers, self._server_handle, self._server_address = [handle], handle, name


class Weights(base.BaseRollout):
    """In the training worker: sends the actor's weights to the server of its rank."""

    def __init__(self, config, model_config, device_mesh, **_):
        super().__init__(config, model_config, device_mesh)
        self.rank = int(os.environ["RANK"])

    async def update_weights(self, weights, wire_format="named_tensors", global_steps=None, **_):
        assert wire_format == "named_tensors"
        whole = {name: tensor.detach().float().cpu().clone() for name, tensor in weights}
        await ray.get_actor(f"{NAME}_server_{self.rank}").load.remote(whole, global_steps)

    async def resume(self, tags):
        return None

    async def release(self):
        return None


base._ROLLOUT_REGISTRY[(NAME, "async")] = f"{__name__}.{Weights.__name__}"
replica.RolloutReplicaRegistry.register(NAME, partial(lambda: Replica))
