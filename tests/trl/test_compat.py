"""Which runs go TRL's plain way? The reasons that need hardware or models no test machine has, by stand-ins."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hysteretic.trl import compat, sharding


def wrapped(kind, **plugins):
    """An accelerator that has wrapped the model in this way."""
    return SimpleNamespace(
        unwrap_model=lambda model: model,
        mixed_precision="no",
        distributed_type=kind,
        state=SimpleNamespace(**{name: SimpleNamespace(**entries) for name, entries in plugins.items()}),
    )


def stand_in(**changes):
    """What the checks ask of a trainer, on one device with nothing special; dotted names are set within."""
    model = nn.Linear(1, 1)
    model.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(rope_parameters=None))
    model._supports_attention_backend = True
    trainer = SimpleNamespace(
        loss_type="dapo",
        _is_vlm=False,
        aux_loss_enabled=False,
        _entropy_bonus_enabled=False,
        top_entropy_quantile=1.0,
        repetition_penalty=1.0,
        args=SimpleNamespace(
            parallelism_config=None,
            optim="adamw_torch",
            torch_compile=False,
            generation_kwargs=None,
            cache_implementation=None,
        ),
        accelerator=wrapped("NO"),
        model=model,
    )
    for name, value in changes.items():
        owner, _, attribute = ("", "", name) if "__" not in name else name.partition("__")
        setattr(getattr(trainer, owner) if owner else trainer, attribute, value)
    return trainer


ANYWHERE = [
    ({"accelerator": wrapped("FSDP", fsdp_plugin={"fsdp_version": 1})}, "FSDP 1"),
    ({"is_distributed_loading_by_transformers": True}, "distributed_config"),
    ({"args__parallelism_config": object()}, "parallelism_config"),
    ({"_is_vlm": True}, "images"),
    ({"aux_loss_enabled": True}, "experts"),
]


def test_an_ordinary_run_has_no_obstacle_to_planning():
    assert compat.why_not_planned(stand_in()) is None


@pytest.mark.parametrize(("changes", "reason"), ANYWHERE, ids=[reason for _, reason in ANYWHERE])
def test_what_splits_a_model_or_reads_images_goes_the_plain_way_altogether(changes, reason):
    trainer = stand_in(**changes)
    assert reason in compat.why_not_planned(trainer)
    assert reason in compat.why_not_packed(trainer, trainer.model)


def test_a_deepspeed_that_steps_after_every_micro_batch_goes_the_plain_way(monkeypatch):
    """An accelerate that cannot tell DeepSpeed which micro-batch is the last one of an update."""
    trainer = stand_in(accelerator=wrapped("DEEPSPEED"))
    assert compat.why_not_planned(trainer) is None
    monkeypatch.setattr(sharding.DeepSpeedEngineWrapper, "backward", lambda self, loss, **options: None)
    assert "newer" in compat.why_not_planned(trainer)


@pytest.mark.parametrize(
    "accelerator",
    [wrapped("FSDP", fsdp_plugin={"fsdp_version": 2}), wrapped("DEEPSPEED", deepspeed_plugin={"zero_stage": 3})],
    ids=["FSDP 2", "ZeRO-3"],
)
def test_a_sharded_model_is_planned_but_transformers_generates(accelerator):
    trainer = stand_in(accelerator=accelerator)
    assert compat.why_not_planned(trainer) is None
    assert "sharded" in compat.why_not_sampled(trainer, trainer.model)


@pytest.mark.parametrize("kind", ["dynamic", "longrope", "llama_4_scaling"])
def test_positions_that_depend_on_neighbours_go_the_plain_way(kind):
    config = SimpleNamespace(rope_parameters={"rope_type": kind})
    trainer = stand_in(model__config=SimpleNamespace(get_text_config=lambda: config))
    assert kind in compat.why_not_planned(trainer)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"loss_type": "bnpo"}, "divides by the tokens of each micro-batch"),
        ({"args__optim": "lomo"}, "LOMO"),
        ({"args__optim": "adalomo"}, "LOMO"),
        ({"_entropy_bonus_enabled": True}, "entropy bonus"),
        ({"top_entropy_quantile": 0.2}, "top_entropy_quantile"),
    ],
)
def test_what_looks_at_single_micro_batches_keeps_them(changes, reason):
    assert reason in compat.why_not_planned(stand_in(**changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model__hf_device_map": {"layers.0": 0, "layers.1": 1}}, "several devices"),
        ({"args__torch_compile": True}, "torch_compile"),
        ({"model___supports_attention_backend": False}, "attention"),
    ],
)
def test_streams_need_one_device_and_replaceable_attention(changes, reason):
    trainer = stand_in(**changes)
    assert reason in compat.why_not_packed(trainer, trainer.model)


def test_a_model_on_one_device_by_map_is_no_obstacle_by_itself(monkeypatch):
    monkeypatch.setattr(compat, "_disagreement", lambda trainer, model: None)
    trainer = stand_in(model__hf_device_map={"": torch.device("cpu")})
    assert compat.why_not_packed(trainer, trainer.model) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"repetition_penalty": 1.2}, "repetition_penalty is 1.2"),
        ({"args__generation_kwargs": {"num_beams": 4}}, "num_beams"),
        ({"args__generation_kwargs": {"top_k": None}}, "top_k"),
        ({"args__cache_implementation": "static"}, "cache"),
    ],
)
def test_sampling_that_our_loop_does_not_know_is_left_to_transformers(changes, reason):
    trainer = stand_in(**changes)
    assert reason in compat.why_not_sampled(trainer, trainer.model)
