"""Gradients that verl's FSDP engine accumulates for one batch, on so many gloo ranks, cut into micro-batches.

    python engine_worker.py RANKS OUTPUT.json      OUTPUT: errors against the core objective by case

The engine's own forward_backward_batch, forward_step and ppo_loss run on a tiny Qwen2 in float32. What a CPU lacks is
stood in for: the model is not sharded; its gradients are averaged over ranks afterwards, as FSDP does.
"""

import json
import sys
from functools import partial
from types import SimpleNamespace

import torch
import torch.distributed
import torch.multiprocessing
from batches import algorithm, mask_of, token_level, uids
from tensordict import TensorDict
from transformers import Qwen2Config, Qwen2ForCausalLM
from verl import DataProto
from verl.trainer.ppo.ray_trainer import compute_advantage
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPActorConfig
from verl.workers.engine.fsdp import transformer_impl
from verl.workers.utils.losses import ppo_loss

import hysteretic as hy
from hysteretic.parts import AdaptiveWeight

PROMPT, LONGEST, GROUPS, SIZE = 4, 10, 4, 4
ROWS = GROUPS * SIZE

CASES = {
    "a-hpo": (hy.a_hpo(), "a_hpo", {}, "token-mean", "vanilla", {}),
    "hpo": (hy.hpo(0.3), "hpo", {"alpha": 0.3}, "token-mean", "vanilla", {}),
    "adaptive-grpo": (hy.adaptive_grpo(), "adaptive_grpo", {}, "seq-mean-token-mean", "vanilla", {}),
    "gspo adaptive": (
        hy.gspo().replace(weight=AdaptiveWeight()),
        "a_hpo",
        {},
        "seq-mean-token-mean",
        "gspo",
        {"clip_ratio_low": 3e-4, "clip_ratio_high": 4e-4},
    ),
    "sapo adaptive": (hy.sapo().replace(weight=AdaptiveWeight()), "a_hpo", {}, "seq-mean-token-mean", "sapo", {}),
}
MICRO_BATCHES = (1, 2, 8)
ORDERS = ("as sampled", "mixed")
"""Of rows before they are dealt to ranks."""


def model():
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=37,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        attn_implementation="eager",
    )
    return Qwen2ForCausalLM(config).train()


def batch(policy):
    """One rollout: ids, masks, rewards, and old log-probs far enough from the policy's for the clip to matter."""
    random = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, LONGEST + 1, (ROWS,), generator=random)
    mask = mask_of(lengths, LONGEST)
    attention = torch.cat([torch.ones(ROWS, PROMPT), mask], dim=1).long()
    ids = torch.randint(1, 37, (ROWS, PROMPT + LONGEST), generator=random) * attention
    rewards = (torch.rand(ROWS, generator=random) < 0.3).float()
    with torch.no_grad():
        old = logprobs(policy, ids, attention) + 0.2 * torch.randn(ROWS, LONGEST, generator=random)
    return ids, attention, mask, rewards, old


def logprobs(policy, ids, attention):
    """[B, LONGEST] of the responses, without verl."""
    logits = policy(input_ids=ids, attention_mask=attention, use_cache=False).logits[:, PROMPT - 1 : -1]
    return logits.log_softmax(-1).gather(-1, ids[:, PROMPT:].unsqueeze(-1)).squeeze(-1)


def core_gradient(objective, found):
    """By hysteretic.objective on the whole batch, no verl in it."""
    policy = model()
    ids, attention, mask, rewards, old = found
    advantages = objective.advantages(rewards.double(), SIZE)
    statistics = hy.BatchStatistics.of(advantages, mask)
    new = logprobs(policy, ids, attention)
    objective.loss(new, old, objective.weigh(advantages, statistics), mask, statistics).loss.backward()
    return flat(policy)


def flat(policy):
    return torch.cat([parameter.grad.flatten() for parameter in policy.parameters()])


def nested(rows, lengths):
    """Rows without their padding, in verl's layout."""
    kept = [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]
    return torch.nested.as_nested_tensor(kept, layout=torch.jagged)


def engine_of(policy):
    """verl's engine around a model, without what needs an accelerator."""
    engine = object.__new__(transformer_impl.FSDPEngineWithLMHead)
    engine.__dict__.update(
        module=policy,
        engine_config=SimpleNamespace(entropy_checkpointing=False, use_no_sync_for_gradient_accumulation=False),
        pad_to_length=False,
        use_ulysses_sp=False,
        ulysses_sequence_parallel_size=1,
        ulysses_device_mesh=None,
        _autocast_dtype=torch.float32,
        scaler=None,
    )
    return engine


def verl_gradient(case, found, rank, ranks, micro_batch, order, is_packed=False):
    """Estimator on the whole batch, as verl's driver does; then this rank's rows through the engine."""
    _, estimator, options, mode_of_mean, loss, settings = case
    ids, attention, mask, rewards, old = found
    data = DataProto.from_dict(
        tensors={"token_level_rewards": token_level(rewards, mask), "response_mask": mask},
        non_tensors={"uid": uids(GROUPS, SIZE)},
    )
    advantages = compute_advantage(data, adv_estimator=estimator, config=algorithm(hpo=options)).batch["advantages"]
    rows = torch.arange(ROWS)
    if order == "mixed":
        rows = torch.randperm(ROWS, generator=torch.Generator().manual_seed(2))
    mine = rows.chunk(ranks)[rank]
    lengths = attention[mine].sum(dim=1)
    local = TensorDict(  # as verl 0.9 takes it from its queue: rows of their own length
        {
            "input_ids": nested(ids[mine], lengths),
            "position_ids": nested(torch.arange(PROMPT + LONGEST).expand(len(mine), -1), lengths),
            "prompts": nested(ids[mine, :PROMPT], torch.full_like(lengths, PROMPT)),
            "responses": nested(ids[mine, PROMPT:], lengths - PROMPT),
            "response_mask": nested(mask[mine].long(), lengths - PROMPT),
            "loss_mask": nested(mask[mine].long(), lengths - PROMPT),
            "old_log_probs": nested(old[mine], lengths - PROMPT),
            "advantages": nested(advantages[mine], lengths - PROMPT),
        },
        batch_size=len(mine),
    )
    tu.assign_non_tensor(
        local,
        temperature=1.0,
        use_remove_padding=False,
        use_dynamic_bsz=False,
        micro_batch_size_per_gpu=micro_batch,
        global_batch_size=ROWS,
    )
    actor = FSDPActorConfig(
        strategy="fsdp",
        rollout_n=SIZE,
        ppo_micro_batch_size_per_gpu=micro_batch,
        clip_ratio_c=1e9,
        loss_agg_mode=mode_of_mean,
        **settings,
    )
    object.__setattr__(actor.policy_loss, "loss_mode", loss)
    policy = model()
    engine_of(policy).forward_backward_batch(local, partial(ppo_loss, config=actor))
    gradient = flat(policy)
    torch.distributed.all_reduce(gradient)
    return gradient / ranks


def work(rank, ranks, port, output):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
    transformer_impl.get_device_id = lambda: torch.device("cpu")
    transformer_impl.get_device_name = lambda: "cpu"
    found = batch(model())
    errors = {}
    for name, case in CASES.items():
        core = core_gradient(case[0], found)
        for micro_batch in MICRO_BATCHES:
            for order in ORDERS:
                theirs = verl_gradient(case, found, rank, ranks, micro_batch, order)
                error = float((theirs - core).norm() / core.norm())
                errors[f"{name}, {ranks} ranks, micro-batches of {micro_batch}, {order}"] = error
    if rank == 0:
        with open(output, "w", encoding="utf-8") as file:
            json.dump(errors, file)
    torch.distributed.destroy_process_group()


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    count = int(sys.argv[1])
    torch.multiprocessing.start_processes(
        work, (count, free_port(), sys.argv[2]), nprocs=count, start_method="fork" if count > 1 else "spawn"
    )
