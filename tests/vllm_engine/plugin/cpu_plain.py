"""A plug-in of vLLM for these tests, loaded in every process. On a CPU, linear layers keep their weights, and no engine
compiles.

vLLM packs the weights of linear layers for a CPU and drops the originals with their `weight_loader`, so that TRL's
weight sync, which calls `load_weights` at every rollout, would raise. On a GPU nothing is packed. Compiling the tiny
model takes longer than all that it generates here.
"""

from functools import wraps


def apply():
    import torch
    from vllm.engine.arg_utils import EngineArgs
    from vllm.model_executor.layers import utils

    def keep_weights(layer, remove_weight):
        layer.cpu_linear = torch.nn.functional.linear

    utils.dispatch_cpu_unquantized_gemm = keep_weights
    create = EngineArgs.create_engine_config
    if hasattr(create, "__wrapped__"):  # applied before, in this process
        return

    @wraps(create)
    def eager(self, *arguments, **options):
        self.enforce_eager = True
        return create(self, *arguments, **options)

    EngineArgs.create_engine_config = eager
