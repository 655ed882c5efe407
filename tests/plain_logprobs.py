"""TRL 1.15's log-probabilities in torch instead of Triton, where PLAIN_LOGPROBS is set (see policy.py).

On a CPU Triton's kernels are interpreted: nine tenths of the time of an update. The formula is TRL's own, and
what these tests are about is around it. The gradient cases of oldest_trl.sh run the kernels themselves.
"""

import torch
import trl.trainer.utils
from torch.nn.functional import linear


class PlainLogProbs:
    @staticmethod
    def apply(hidden_NH, weight_VH, bias_V, targets_N, temperature, _chunk, softcap, scale, outputs):
        device = hidden_NH.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_NH.dtype
        logits_NV = (
            scale
            * linear(hidden_NH.to(dtype), weight_VH.to(dtype), None if bias_V is None else bias_V.to(dtype)).float()
        )
        if softcap is not None:
            logits_NV = softcap * torch.tanh(logits_NV / softcap)
        logits_NV = logits_NV / temperature
        logprobs_NV = logits_NV.log_softmax(-1)
        probs_NV = logprobs_NV.exp()
        found = {
            "entropy": -(probs_NV * logprobs_NV).sum(-1),
            "log_sum_sq_probs": probs_NV.square().sum(-1).log().detach(),
            "mean_logits": logits_NV.mean(-1).detach(),
            "is_top1": logits_NV.argmax(-1) == targets_N,
        }
        chosen_N = logprobs_NV.gather(1, targets_N[:, None])[:, 0]
        return chosen_N, *(value if name in outputs else None for name, value in found.items())


assert trl.trainer.utils._ChunkedLogProbFunction is not None, "this TRL has no Triton kernels to replace"
trl.trainer.utils._ChunkedLogProbFunction = PlainLogProbs
