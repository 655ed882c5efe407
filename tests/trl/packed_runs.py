"""Short runs of HPOTrainer, lean or plain, with what they did kept."""

import torch
from accelerate.utils import set_seed
from policy import flat, low_first_byte, prompts, random_policy, settings
from transformers import TrainerCallback

from hysteretic.dry_run.sharding import allow_fsdp_on_cpus
from hysteretic.models.tokenizer import build_tokenizer
from hysteretic.trl import HPOConfig, HPOTrainer

PLAIN = {"drop_silent": False, "share_prompts": False, "drop_finished": False}
SEVERAL = {"steps_per_generation": 4, "gradient_accumulation_steps": 1, "learning_rate": 1e-3}


class Tokens:
    """Tokens pushed through a model, with and without gradient, one number per forward pass."""

    def __init__(self, model):
        self.update, self.rest = [], []
        model.get_input_embeddings().register_forward_pre_hook(self.count)

    def count(self, _, inputs):
        (self.update if torch.is_grad_enabled() else self.rest).append(inputs[0].numel())


class Kept(HPOTrainer):
    """Keeps the batches and the planned steps; does not count the tokens of what is tried out at the start."""

    def _decide(self):
        is_decided = self._is_decided
        super()._decide()
        if not is_decided:
            self.tokens.rest.clear()

    def _generate_and_score_completions(self, inputs):
        batch = super()._generate_and_score_completions(inputs)
        self.batches = [*getattr(self, "batches", []), batch]
        return batch

    def compute_loss(self, model, inputs, *arguments, **options):
        self.steps = [*getattr(self, "steps", []), inputs]
        return super().compute_loss(model, inputs, *arguments, **options)


def gathered(model):
    """The whole parameters of a model that ZeRO-3 may have sharded."""
    if not hasattr(next(model.parameters()), "ds_id"):
        return list(model.parameters())
    from deepspeed import zero

    with zero.GatheredParameters(list(model.parameters())):
        return [p.detach().clone() for p in model.parameters()]


class KeepWeights(TrainerCallback):
    def __init__(self):
        self.weights = []

    def on_step_end(self, args, state, control, model=None, **_):
        self.weights.append(flat(gathered(model)))


def trained(
    folder,
    reward=low_first_byte,
    model=None,
    data=None,
    peft_config=None,
    rollout_func=None,
    kind=Kept,
    resume=None,
    **changes,
):
    """A trainer of this kind after its run, with `tokens`, and the weights after each update."""
    set_seed(0)
    model = random_policy()[0] if model is None else model
    keep, args = KeepWeights(), HPOConfig(**settings(folder, **changes))
    allow_fsdp_on_cpus()
    trainer = kind(
        model,
        reward,
        args,
        train_dataset=data or prompts(),
        processing_class=build_tokenizer(),
        callbacks=[keep],
        peft_config=peft_config,
        rollout_func=rollout_func,
    )
    trainer.tokens = Tokens(model)
    trainer.train(resume_from_checkpoint=resume)
    trainer.weights = keep.weights
    return trainer


def logs(trainer):
    """What was logged for each update, without clocks and what only one way knows."""
    ignored = {"step_time", "hpo/forwarded_tokens", "hpo/gradient_token_share"}
    steps = [log for log in trainer.state.log_history if "loss" in log]
    return [{name: value for name, value in log.items() if name not in ignored} for log in steps]
