"""Gradients of HPOTrainer beside the pure objective's, on the same rollouts; run alone or under torchrun.

Each case trains one rollout at learning rate 0 with old log-probs that are shifted on purpose, so that ratios differ
from 1 and clips bite. The reference forgets TRL: it takes every row of all ranks, runs each alone without padding
through the model, computes advantages from the rewards and sums `Objective.loss` over the rows of each optimiser step.
Prints one JSON line: {case: largest relative gradient error}.
"""

import json
import sys
import tempfile
from unittest import mock

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from policy import flat, low_first_byte, prompts, random_policy, settings
from transformers import TrainerCallback

import hysteretic as hy
from hysteretic.dry_run.sharding import allow_fsdp_on_cpus
from hysteretic.trl import HPOConfig, HPOTrainer, packing
from hysteretic.trl.step import Idle, Step, plan_step


def constant_in_half(constant):
    """A constant for every response to an even prompt: silent groups whose float32 advantages are not 0."""

    def reward(prompts, completion_ids, **_):
        rewards = low_first_byte(prompts, completion_ids)
        return [constant if int(p[:3]) % 2 == 0 else r for p, r in zip(prompts, rewards, strict=True)]

    return reward


def always_wrong(prompts, **_):
    """A sparse start's first batch."""
    return [0.0] * len(prompts)


def one_mixed_group(prompts, completion_ids, **_):
    """Rewards differ within the group of one prompt alone."""
    return [float(i % 2) if prompt[:3] == prompts[0][:3] else 0.0 for i, prompt in enumerate(prompts)]


def unequal_prompts():
    """Prompts of 1 to 38 characters."""
    return Dataset.from_dict({"prompt": [f"{i:03d}: " + "x" * (11 * i % 37) for i in range(31)] + ["!"]})


class Watched(HPOTrainer):
    """Keeps what the reference needs: rows with their number in the batch, and the gradient of every step."""

    def _generate_and_score_completions(self, inputs):
        batch = super()._generate_and_score_completions(inputs)
        local = len(batch["advantages"])
        batch["row"] = torch.arange(local) + self.accelerator.process_index * local
        if "old_per_token_logps" in batch:
            noise = torch.Generator().manual_seed(self.accelerator.process_index)
            old = batch["old_per_token_logps"]
            batch["old_per_token_logps"] = old + 0.3 * torch.randn(old.shape, generator=noise)
        return batch

    def _prepare_inputs(self, generation_batch):
        """Each micro-batch as TRL cuts it, with the responses that the lean way leaves out."""
        with mock.patch.object(packing, "plan_step", self._plan_step):
            inputs = super()._prepare_inputs(generation_batch)
        if not isinstance(inputs, Idle | Step):
            self.seen.append(inputs)
        elif self._step % self.args.gradient_accumulation_steps == 0:
            first = self._step % self.args.steps_per_generation
            self.seen += self.cut[first : first + self.args.gradient_accumulation_steps]
        return inputs

    def _plan_step(self, micro_batches, *arguments):
        self.cut = [*self.cut, *micro_batches][-self.args.steps_per_generation :]
        return plan_step(micro_batches, *arguments)


class KeepGradients(TrainerCallback):
    def __init__(self):
        self.steps = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **_):
        self.steps.append(flat_gradient(model))


def flat_gradient(model):
    return flat(p.grad for p in model.parameters() if p.grad is not None)


def rows_of(micro_batch):
    """The rows of a micro-batch as plain Python: number, tokens, mask, old log-probs, and vLLM's correction if any."""
    for i, row in enumerate(micro_batch["row"].tolist()):
        prompt = micro_batch["prompt_ids"][i][micro_batch["prompt_mask"][i].bool()]
        kept = micro_batch["completion_mask"][i].bool()
        old, correction = (
            None if (values := micro_batch.get(key)) is None else values[i].expand(len(kept))[kept]
            for key in ("old_per_token_logps", "importance_sampling_ratio")
        )
        yield row, prompt, micro_batch["completion_ids"][i][kept], old, correction


def reference_gradients(trainer, steps):
    """One flat gradient per optimiser step; steps: per step, all rows of all ranks."""
    model, objective, G = trainer.accelerator.unwrap_model(trainer.model), trainer.objective, trainer.num_generations
    rewards = trainer.group_rewards.rewards[:, 0]
    advantages = objective.advantages(rewards, G)
    lengths = torch.zeros(len(rewards))
    for step in steps:
        for row, _, completion, *_ in step:
            lengths[row] = len(completion)
    statistics = hy.BatchStatistics.of_lengths(advantages, lengths)
    weighted = objective.weigh(advantages, statistics)
    updates = trainer.args.steps_per_generation // trainer.args.gradient_accumulation_steps
    for step in steps:
        model.zero_grad()
        for row, prompt, completion, old, correction in step:
            if not len(completion):
                continue
            logits = model(torch.cat([prompt, completion])[None]).logits[0, len(prompt) - 1 : -1]
            logprobs = torch.log_softmax(logits / trainer.temperature, -1).gather(1, completion[:, None]).T
            leaf = logprobs.detach().requires_grad_()
            output = objective.loss(
                leaf,
                None if old is None else old[None],
                weighted[row : row + 1],
                torch.ones_like(leaf),
                statistics,
                updates=updates,
            )
            output.loss.backward()
            logprobs.backward(leaf.grad * factor_of(correction, objective))
        yield flat_gradient(model)


def factor_of(correction, objective):
    """What vLLM's importance-sampling correction multiplies the gradient of a response's log-probs with.

    TRL multiplies the loss of each token with the correction r_t of that token. With a ratio of the whole response
    every token has the same loss, which depends on all log-probs: so its gradient is multiplied with the mean of r_t.
    """
    if correction is None:
        return 1.0
    return correction if isinstance(objective.ratio, hy.TokenRatio) else correction.mean()


def relative_error(name, changes):
    changes = dict(changes)
    reward, peft = changes.pop("reward", low_first_byte), changes.pop("peft", None)
    attention, data = changes.pop("attention", None), changes.pop("data", prompts())
    model, tokenizer = random_policy()
    if attention:
        model.set_attn_implementation(attention)
    with tempfile.TemporaryDirectory() as folder:
        args = HPOConfig(**settings(folder, **changes))
        args.max_steps = args.updates_per_rollout()
        keep = KeepGradients()
        allow_fsdp_on_cpus()
        trainer = Watched(
            model, reward, args, train_dataset=data, processing_class=tokenizer, callbacks=[keep], peft_config=peft
        )
        trainer.seen, trainer.cut = [], []
        trainer.train()
    accumulation = args.gradient_accumulation_steps
    steps = []
    for start in range(0, len(trainer.seen), accumulation):
        rows = [row for micro_batch in trainer.seen[start : start + accumulation] for row in rows_of(micro_batch)]
        steps.append(gather_object(rows))
    trainer.model.train()
    references = list(reference_gradients(trainer, steps))
    assert len(references) == len(keep.steps) == args.max_steps, name
    if reward is always_wrong:
        assert all(float(reference.norm()) == 0 for reference in references)
        return max(float(ours.norm()) for ours in keep.steps)
    assert max(float(reference.norm()) for reference in references) > 1e-4, f"{name}: nothing to compare"
    return max(
        float((ours - reference).norm() / reference.norm().clamp(min=1e-12))
        for ours, reference in zip(keep.steps, references, strict=True)
    )


def cases():
    from peft import LoraConfig

    def lora():
        # At scale 1: at peft's own (4 with this rank) random adapters make gradients so large that float32 itself, on
        # some CPUs, is off by more than the bound.
        return LoraConfig(r=2, lora_alpha=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)

    plain = {"drop_silent": False, "share_prompts": False, "drop_finished": False}
    several = {"steps_per_generation": 4, "gradient_accumulation_steps": 1, "per_device_train_batch_size": 8}
    yield "a-hpo accumulation 1", {"gradient_accumulation_steps": 1, "per_device_train_batch_size": 32}
    yield "a-hpo accumulation 2", {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 16}
    yield "a-hpo accumulation 4", {}
    for name in plain:
        yield f"a-hpo no {name}", {name: False}
    yield "a-hpo plain", plain
    yield "a-hpo plain 2 iterations", {"num_iterations": 2, **plain}
    yield "a-hpo all silent", {**several, "reward": always_wrong}
    yield "a-hpo one survivor", {"reward": one_mixed_group, "num_generations": 2}
    for tokens in [1, 40, 10_000]:
        yield f"a-hpo {tokens} tokens", {"tokens_per_micro_batch": tokens}
        yield f"a-hpo {tokens} tokens padded", {"tokens_per_micro_batch": tokens, "share_prompts": False}
    yield "a-hpo checkpointing", {"gradient_checkpointing": True}
    yield "a-hpo eager", {"attention": "eager"}
    yield "a-hpo unequal prompts", {"data": unequal_prompts()}
    yield "a-hpo 2 updates of 2", {"steps_per_generation": 4, "gradient_accumulation_steps": 2}
    yield "a-hpo 2 iterations", {"num_iterations": 2}
    yield "a-hpo truncation masked", {**several, "mask_truncated_completions": True, "max_completion_length": 60}
    yield "a-hpo lora", {**several, "peft": lora()}
    yield "a-hpo rewards 0.1", {**several, "reward": constant_in_half(0.1)}
    yield "a-hpo rewards 10.1", {**several, "reward": constant_in_half(10.1)}
    for algorithm in hy.ALGORITHMS:
        yield f"{algorithm} 4 updates", {**several, "algorithm": algorithm}
    yield "grpo adaptive", {**several, "algorithm": "grpo", "weight": "adaptive"}
    yield "grpo adaptive no std", {**several, "algorithm": "grpo", "weight": "adaptive", "scale_rewards": "none"}
    yield "gspo adaptive mean scale", {**several, "algorithm": "gspo", "weight": "adaptive", "scale": "mean"}
    yield "sapo root scale", {**several, "algorithm": "sapo", "scale": "root"}
    yield "gspo adaptive", {**several, "algorithm": "gspo", "weight": "adaptive"}
    yield "sapo adaptive batch", {**several, "algorithm": "sapo", "weight": "adaptive", "length": "batch"}
    yield "sapo constant sequence", {**several, "algorithm": "sapo", "length": "constant", "ratio": "sequence"}
    yield "cispo response fixed", {**several, "algorithm": "cispo", "weight": "fixed", "length": "response"}
    yield "gspo batch", {**several, "algorithm": "gspo", "length": "batch"}


if __name__ == "__main__":
    wanted = sys.argv[1:]
    torch.set_num_threads(1)
    errors = {name: relative_error(name, changes) for name, changes in cases() if not wanted or name in wanted}
    if int(torch.distributed.get_rank() if torch.distributed.is_initialized() else 0) == 0:
        print(json.dumps(errors))
