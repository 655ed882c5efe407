"""Two processes, each with its rows: the counts, alpha and the summed gradient are those of the whole batch."""

from unittest import mock

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from rollouts import rollout

import hysteretic as hy

OBJECTIVE = hy.a_hpo()


def prepared():
    """Batch, its advantages and a split that is not even: rank 0 has 5 of the 16 rows, most of them silent."""
    batch = rollout()
    return batch, OBJECTIVE.advantages(batch.rewards, batch.group_size), [slice(0, 5), slice(5, 16)]


def one_rank(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    batch, advantages, rows_of = prepared()
    rows = rows_of[rank]
    statistics = hy.BatchStatistics.of(advantages[rows], batch.mask[rows]).across_ranks()
    weighted = OBJECTIVE.weigh(advantages[rows], statistics)
    output = OBJECTIVE.loss(batch.logprobs[rows], batch.old[rows], weighted, batch.mask[rows], statistics)
    output.loss.backward()
    total = torch.cat([batch.logprobs.grad.flatten(), output.loss.detach()[None]])
    torch.distributed.all_reduce(total)
    torch.save((statistics, total), f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_ranks_make_the_gradient_of_one(tmp_path):
    """Nothing may be computed on a part of the batch: either rank's own counts would give another alpha."""
    torch.multiprocessing.spawn(one_rank, args=(str(tmp_path),), nprocs=2)
    batch, advantages, rows_of = prepared()
    whole = hy.BatchStatistics.of(advantages, batch.mask)
    parts = [hy.BatchStatistics.of(advantages[rows], batch.mask[rows]) for rows in rows_of]
    assert all(OBJECTIVE.alpha(part) != OBJECTIVE.alpha(whole) for part in parts)
    output = OBJECTIVE.loss(batch.logprobs, batch.old, OBJECTIVE.weigh(advantages, whole), batch.mask, whole)
    output.loss.backward()
    expected = torch.cat([batch.logprobs.grad.flatten(), output.loss.detach()[None]])
    for rank in [0, 1]:
        statistics, total = torch.load(tmp_path / f"rank{rank}.pt", weights_only=False)
        assert statistics == whole
        torch.testing.assert_close(total, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("backend", "asked", "device"),
    [("nccl", None, "cuda:1"), ("gloo", None, "cpu"), ("mpi", None, "cpu"), ("hccl", "meta", "meta")],
)
def test_ranks_talk_where_their_backend_can(backend, asked, device, monkeypatch):
    """NCCL knows nothing of a CPU's memory, gloo nothing of a GPU's; a caller may overrule."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_backend", lambda: backend)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    counts = torch.tensor([8, 80, 1, 7])
    with mock.patch.object(torch, "tensor", return_value=counts) as tensor:
        assert hy.BatchStatistics(8, 80, 1, 7).across_ranks(asked) == hy.BatchStatistics(8, 80, 1, 7)
    assert torch.device(tensor.call_args.kwargs["device"]) == torch.device(device)
