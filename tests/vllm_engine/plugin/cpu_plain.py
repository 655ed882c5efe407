"""A plug-in of vLLM for these tests, loaded in every process: on a CPU, linear layers keep their weights.

vLLM packs the weights of linear layers for a CPU and drops the originals with their `weight_loader`, so that TRL's
weight sync, which calls `load_weights` at every rollout, would raise. On a GPU nothing is packed.
"""


def apply():
    import torch
    from vllm.model_executor.layers import utils

    def keep_weights(layer, remove_weight):
        layer.cpu_linear = torch.nn.functional.linear

    utils.dispatch_cpu_unquantized_gemm = keep_weights
