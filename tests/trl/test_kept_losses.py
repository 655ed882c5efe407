"""Every loss_type of TRL under the adaptive weight, beside stock TRL with advantages weighted by hand: gradients."""

import pytest
import torch
from accelerate.utils import set_seed
from policy import low_first_byte, prompts, random_policy, settings
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from hysteretic.trl import HPOConfig, HPOTrainer

TWO_UPDATES = {"steps_per_generation": 4, "gradient_accumulation_steps": 2, "max_steps": 2}
MASSES = {"hpo/positive_mass", "hpo/negative_mass"}


def half_silent(prompts, completion_ids, **_):
    rewards = low_first_byte(prompts, completion_ids)
    return [reward if int(prompt[:3]) % 2 else 0.0 for prompt, reward in zip(prompts, rewards, strict=True)]


def with_noise(batch):
    """Old log-probs far enough from the policy's for every gate to matter."""
    old = batch["old_per_token_logps"]
    noise = torch.randn(old.shape, generator=torch.Generator().manual_seed(0))
    return {**batch, "old_per_token_logps": old + 0.3 * noise}


class Ours(HPOTrainer):
    def _generate_and_score_completions(self, inputs):
        self.batch = with_noise(super()._generate_and_score_completions(inputs))
        return self.batch


class Stock(GRPOTrainer):
    """TRL, with negative advantages times clip(n_pos / n_neg, 0.1, 1)."""

    def _generate_and_score_completions(self, inputs):
        batch = super()._generate_and_score_completions(inputs)
        advantages = batch["advantages"]
        advantages[advantages.abs() < 1e-6] = 0.0
        alpha = float((advantages > 0).sum() / (advantages < 0).sum())
        assert 0.1 < alpha < 1
        advantages[advantages < 0] *= alpha
        self.batch = with_noise(batch)
        return self.batch


class KeepGradients(TrainerCallback):
    def __init__(self):
        self.steps = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **_):
        self.steps.append(torch.cat([p.grad.flatten() for p in model.parameters()]).clone())


def gradients(kind, config):
    """Of each update of one rollout, and the trainer."""
    set_seed(0)
    model, tokenizer = random_policy()
    keep = KeepGradients()
    trainer = kind(
        model, half_silent, config, train_dataset=prompts(), processing_class=tokenizer, callbacks=[keep]
    )  # fmt: skip
    trainer.train()
    return keep.steps, trainer


CASES = {
    **{name: {"loss_type": name} for name in ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo")},
    "cispo 5": {"loss_type": "cispo", "epsilon_high": 5.0},
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4},
    "luspo sequence": {"loss_type": "luspo", "importance_sampling_level": "sequence"},
    "sequence alone": {"importance_sampling_level": "sequence"},
    "nothing": {},
}


@pytest.mark.filterwarnings("ignore:loss_type is 'cispo'")
@pytest.mark.parametrize("name", CASES)
def test_a_kept_loss_has_the_gradient_of_trl_on_weighted_advantages(name, tmp_path):
    """Two updates of two micro-batches, silent responses left out where the loss allows: to 1e-5, as everywhere."""
    fields = settings(tmp_path, **TWO_UPDATES, **CASES[name])
    theirs, stock = gradients(Stock, GRPOConfig(**fields))
    ours, trainer = gradients(Ours, HPOConfig(**fields))
    assert torch.equal(stock.batch["completion_ids"], trainer.batch["completion_ids"])
    assert len(ours) == len(theirs) == 2
    for mine, expected in zip(ours, theirs, strict=True):
        assert expected.norm() > 1e-4
        assert float((mine - expected).norm() / expected.norm()) < 1e-5
    logged = set(trainer.state.log_history[0])
    assert "hpo/alpha" in logged
    assert ("hpo/forwarded_tokens" in logged) == (name != "bnpo")  # whose micro-batches must stay as TRL cuts them
    assert logged >= MASSES or name in ("bnpo", "vespo", "cispo")
    shared = [key for key in stock.state.log_history[0] if "clip_ratio" in key or key.startswith("vespo")]
    assert all(key in logged for key in shared)
