"""Peak memory of each GPU, by part.

P parameters, T of them trained (the adapter's with LoRA), N GPUs, w bytes of a weight as loaded.

                 weights          gradients     optimiser (AdamW)     why
    ddp          w P              w T           2w T                  full copy on every GPU; PEFT's adapter is fp32
    zero2        2 P              2 T / N       (4 + 8) T / N         DeepSpeed in bf16 with fp32 master weights
    zero3        2 P / N          2 T / N       (4 + 8) T / N
    fsdp2        (w F + 4 T) / N  4 T / N       8 T / N               accelerate makes trained weights fp32; F frozen

A step is generation, then updates. The peak is the largest of three moments, each on top of what is always held.
    generation   vLLM's memory, or the KV cache and one step's logits
    update       gradients, kept activations, autocast's bf16 copies of fp32 matrices, and the larger of one layer's
                 backward pass and the LM head's
    step         gradients, and with DeepSpeed an fp32 copy of their partition
"""

from __future__ import annotations

from dataclasses import dataclass

from hysteretic.sizing.architecture import Architecture
from hysteretic.sizing.gpus import GIB, GPU
from hysteretic.sizing.work import Work

WAYS = {"ddp": "DDP", "zero2": "ZeRO-2", "zero3": "ZeRO-3", "fsdp2": "FSDP2"}
"""Ways to shard a model, with their display names. ddp is also a single GPU; DeepSpeed also runs on one."""

CONTEXT = 0.8 * GIB
"""Assumed size of CUDA's context and libraries, in every process."""
NCCL = 0.5 * GIB
"""Assumed size of NCCL's buffers, with several GPUs."""
VLLM_OUTSIDE = 1.0 * GIB
"""Assumed memory of vLLM outside its budget, also while it sleeps (CUDA graphs)."""
VLLM_WORKING = 1.5 * GIB
"""Assumed size of vLLM's activations, within its budget."""
BUCKET, LIVE = 500_000_000, 1_000_000_000
"""DeepSpeed's defaults, in elements: a gradient bucket; parameters that ZeRO-3 keeps gathered."""
TILE_TOKENS, TILE_VOCABULARY = 4096, 32_768
"""The tile of TRL's fused LM head (trl.kernels.chunked_logprob, TRL 1.15 on)."""


@dataclass(frozen=True)
class Memory:
    """Bytes by part: `fixed` is always held, the others at their moment. engine_cache: tokens that fit vLLM's KV cache.

    Two parts of the update are never held together: both are listed, and only the larger counts.
    """

    fixed: dict[str, float]
    generation: dict[str, float]
    update: dict[str, float]
    step: dict[str, float]
    is_engine_too_small: bool
    engine_cache: float | None

    @property
    def static(self) -> float:
        """Weights, adapter, gradients and optimiser states: what is usually quoted."""
        fixed = sum(self.fixed[part] for part in ("weights", "adapter", "optimiser"))
        return fixed + self.update["gradients"]

    @property
    def moments(self) -> dict[str, float]:
        """Total bytes at each moment."""
        always = sum(self.fixed.values())
        either = [self.update[part] for part in ("one layer at work", "LM head tiles")]
        return {
            "generation": always + sum(self.generation.values()),
            "update": always + sum(self.update.values()) - min(either),
            "step": always + sum(self.step.values()),
        }

    @property
    def peak(self) -> float:
        return max(self.moments.values())

    def fits(self, gpu: GPU) -> str:
        """ "yes"; "tight", above 90 % of the GPU, too close to call; "no"."""
        if self.is_engine_too_small or self.peak > gpu.bytes:
            return "no"
        return "tight" if self.peak > 0.9 * gpu.bytes else "yes"


def memory(model: Architecture, work: Work, way: str, gpu: GPU) -> Memory:
    """Memory per GPU on `work.gpus` GPUs. way: a key of WAYS."""
    N = work.gpus
    trained = model.adapter if work.is_lora else model.parameters
    fixed, gradients = _states(model, work, way, trained)
    fixed["reference"] = _reference(model, work, way)
    fixed["buffers"] = _buffers(model, work, way, trained)
    fixed["context"] = CONTEXT + (NCCL if N > 1 else 0)
    engine = work.engine
    share = engine.share * gpu.bytes if engine else 0.0
    outside = VLLM_OUTSIDE if engine else 0.0
    holds = share if engine and not engine.sleeps else 0.0
    room = share - VLLM_WORKING - 2 * model.parameters / (engine.ranks if engine else 1)
    cache = room / (model.cache_bytes(2) / (engine.ranks if engine else 1)) if engine else None
    keeps_gradients = way.startswith("zero")
    vllm = {"vLLM": holds + outside}
    return Memory(
        fixed=fixed,
        generation={
            "gradients": gradients if keeps_gradients else 0.0,
            "vLLM": share + outside,
            "cache": 0.0 if engine or work.has_server else _cache(model, work, way),
        },
        update={
            "gradients": gradients,
            **vllm,
            "bf16 copies": 2.0 * model.linear_parameters
            if way == "ddp" and work.is_mixed and work.weight == 4
            else 0.0,
            **activations(model, work, way),
        },
        step={"gradients": gradients * (3 if keeps_gradients else 1), **vllm},
        is_engine_too_small=cache is not None and cache < work.prompt + work.response,
        engine_cache=cache,
    )


def _states(model: Architecture, work: Work, way: str, trained: int) -> tuple[dict[str, float], float]:
    """The table at the top of this module, with the adapter's weights separate; and the bytes of gradients."""
    N, lora = work.gpus, work.is_lora
    half = 2 if work.is_mixed else 4
    if way == "ddp":
        item = 4 if lora else work.weight
        weights, gradients, states = (1.0 * work.weight, 1.0 * item, work.state_bytes(item))
        cut = 1
    elif way == "fsdp2":
        item = 4 if work.is_mixed else work.weight
        weights, gradients, states = (work.weight / N if lora else item / N, item / N, work.state_bytes(item) / N)
        cut = N
    else:
        item, cut = half, N if way == "zero3" else 1
        weights, gradients, states = half / cut, half / N, (4 + work.state_bytes(4)) / N
    base = weights * model.parameters
    if work.quantised is not None:
        base += (work.quantised - weights * cut) / cut * model.linear_parameters
    parts = {"weights": base, "adapter": item / cut * trained if lora else 0.0, "optimiser": states * trained}
    return parts, gradients * trained


def _reference(model: Architecture, work: Work, way: str) -> float:
    """The reference model, a second copy if there is a KL term; with LoRA it is the model without its adapter."""
    if not work.beta or work.is_lora:
        return 0.0
    item = 2 if way.startswith("zero") and work.is_mixed else work.weight
    return item * model.parameters / (work.gpus if way in ("zero3", "fsdp2") else 1)


def _buffers(model: Architecture, work: Work, way: str, trained: int) -> float:
    """Temporary copies, by way of sharding.

    ddp     buckets as large as the gradients (torch's default)
    zero2   a bucket of gradients;  zero3: also the gathered parameters
    fsdp2   two layers and the embeddings gathered in bf16, with their gradients
    """
    half = 2 if work.is_mixed else 4
    if way == "ddp":
        return 1.0 * (4 if work.is_lora else work.weight) * trained if work.gpus > 1 else 0.0
    if way == "zero2":
        return half * min(BUCKET, trained)
    if way == "zero3":
        return half * (min(BUCKET, trained) + min(LIVE, model.parameters))
    gathered = 2 * model.block_parameters + model.parameters - model.layers * model.block_parameters
    return half * gathered * (1 if work.is_lora else 2)


def layer_bytes(model: Architecture, work: Work, way: str = "ddp") -> tuple[float, float]:
    """Bytes that a layer saves for its backward pass: (per token of the stream, per key attended to).

    For a Llama or Qwen layer with fused attention. s, r: bytes of an element of a matrix product and of the residual
    stream. h, a, i: hidden, attention and intermediate width. A: summed input widths of the adapted matrices.

        two norms       2 (4 h + r h)     in fp32, and scaled                      LoRA: 2 * 4 h
        matrices' input 2 s h             of both norms' results                   autocast: 5 s h, one copy per matrix
        attention       2 s a             queries and result
                        2 s a per key     keys and values, repeated for each head
        MLP             4 s i             gate, SiLU of it, up, product            LoRA: 3 s i
        LoRA            s A               replaces the matrices' inputs, which frozen ones do not save

    tests/sizing/test_memory.py compares it with what transformers saves.
    """
    s, r = _item(work), _residual(work, way)
    h, a, i = model.hidden, model.attention, model.intermediate
    if work.is_lora:
        token = 8 * h + s * model.adapter_inputs + 2 * s * a + 3 * s * i
    else:
        token = 2 * (4 + r) * h + (2 if s == r else 5) * s * h + 2 * s * a + 4 * s * i
    return float(token), 2.0 * s * a


def _item(work: Work) -> int:
    """Bytes per element of a matrix product."""
    return 2 if work.is_mixed else work.weight


def _residual(work: Work, way: str) -> int:
    """Bytes per element of the residual stream: the dtype of the embedding's weights."""
    return work.weight if way == "ddp" or not work.is_mixed else 2


def activations(model: Architecture, work: Work, way: str) -> dict[str, float]:
    """Activations for the backward pass of the largest micro-batch, of n tokens.

    With gradient checkpointing each layer's input is kept (r h n L), and one layer at a time is recomputed. "One layer
    at work" is that layer's saved tensors, if not already kept, plus 3 s i n bytes of gradients. The LM head needs a
    tile of TILE_TOKENS by TILE_VOCABULARY, the fp32 gradient of its hidden states and, if it is trained, the gradient
    of its V x h matrix in fp32 and in the weight's dtype (trl.kernels.chunked_logprob).
    """
    n, labelled, keys = work.micro_batch()
    s, r = _item(work), _residual(work, way)
    by_token, by_key = layer_bytes(model, work, way)
    layer = by_token * n + by_key * keys
    returning = 3.0 * s * model.intermediate * n
    final = n * model.hidden * (4 + r + s)
    kept = model.layers * (r * model.hidden * n if work.is_checkpointed else layer) + final
    tile = min(labelled, TILE_TOKENS) * TILE_VOCABULARY * s
    head = tile + labelled * model.hidden * (4 + s)
    if s != r:
        head += TILE_VOCABULARY * model.hidden * s
    if not work.is_lora:
        head += model.head_parameters * (4 + (work.weight if way == "ddp" else 2))
    return {
        "activations": kept,
        "one layer at work": returning + (layer if work.is_checkpointed else 0.0),
        "LM head tiles": head,
    }


def _cache(model: Architecture, work: Work, way: str) -> float:
    """KV cache of a rollout's responses at full length, and five fp32 copies of a step's logits.

    Prompts are stored once (share_prompts), or once per response where weights are gathered, since transformers
    generates there; repeated heads are not stored.
    """
    rows = work.rows * work.rounds
    prompts = -(-rows // work.group) if work.shares_prompts and way in ("ddp", "zero2") else rows
    tokens = prompts * work.prompt + rows * work.response
    return tokens * model.cache_bytes(work.weight) + 5 * 4 * rows * model.vocabulary
