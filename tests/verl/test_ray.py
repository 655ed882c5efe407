"""Does it work where verl works: in Ray actors on two nodes, on verl's own queue and worker groups?"""

import os
import signal

import pytest
import ray
import torch
from batches import algorithm, by_hand, sparse_batch
from hydra import compose, initialize_config_module
from ray.cluster_utils import Cluster

NODES = ("first", "second")


@pytest.fixture(scope="module")
def cluster():
    """Two nodes on this machine, distinguished by a resource."""
    nodes = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 4, "include_dashboard": False, "resources": {NODES[0]: 1}},
    )
    nodes.add_node(num_cpus=4, resources={NODES[1]: 1})
    path = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}
    ray.init(address=nodes.address, log_to_driver=False, runtime_env={"env_vars": environment})
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@ray.remote(num_cpus=1)
class Anywhere:
    """A process of a run that has imported verl and nothing else, as TaskRunner has."""

    def estimate(self, name, batch):
        from verl import DataProto
        from verl.trainer.ppo.ray_trainer import compute_advantage

        rewards, mask, uid, *_ = batch
        data = DataProto.from_dict(
            tensors={"token_level_rewards": rewards, "response_mask": mask}, non_tensors={"uid": uid}
        )
        data = compute_advantage(data, adv_estimator=name, config=algorithm())
        return data.batch["advantages"], ray.get_runtime_context().get_node_id()

    def trainers(self):
        from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY

        return sorted(TRAINER_REGISTRY)

    def process(self):
        return os.getpid()

    def wait(self):
        import time

        time.sleep(600)


def test_actors_on_both_nodes_have_the_estimators(cluster):
    """By the entry point, without a word in the configuration but the estimator's name; equal to the driver's."""
    batch = sparse_batch()
    weighted, _, _ = by_hand(batch[3], batch[2], batch[4])
    expected = torch.tensor(weighted).float()[:, None] * batch[1]
    actors = [Anywhere.options(resources={node: 0.1}).remote() for node in NODES]
    found = ray.get([actor.estimate.remote("a_hpo", batch) for actor in actors], timeout=120)
    assert len({node for _, node in found}) == 2
    for advantages, _ in found:
        torch.testing.assert_close(advantages, expected, atol=1e-6, rtol=1e-6)


def test_the_environment_of_a_job_brings_the_trainers(cluster):
    """As `ray job submit --runtime-env-json` and ray_kwargs.ray_init.runtime_env do."""
    environment = {"env_vars": {"VERL_USE_EXTERNAL_MODULES": "hysteretic.verl.trainer"}}
    actor = Anywhere.options(runtime_env=environment, resources={NODES[1]: 0.1}).remote()
    assert "hpo_sync" in ray.get(actor.trainers.remote(), timeout=120)


def test_a_module_that_cannot_be_imported_stops_the_actor_with_its_name(cluster):
    """A node on which hysteretic is missing or another: the loud way says which module."""
    environment = {"env_vars": {"VERL_USE_EXTERNAL_MODULES": "hysteretic.verl.no_such"}}
    actor = Anywhere.options(runtime_env=environment).remote()
    with pytest.raises(ModuleNotFoundError, match=r"hysteretic\.verl\.no_such"):
        ray.get(actor.estimate.remote("a_hpo", sparse_batch()), timeout=120)


def test_verls_trainer_reports_alpha_through_its_queue(cluster):
    """_compute_advantage of HPOTrainerSync on rows in TransferQueue, where verl 0.9 keeps a rollout."""
    import transfer_queue
    from transfer_queue import KVBatchMeta
    from verl.trainer.ppo.padding_utils import list_of_dict_to_tensordict

    from hysteretic.verl.trainer import HPOTrainerSync

    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose(
            "ppo_trainer",
            [
                "algorithm.adv_estimator=a_hpo",
                "actor_rollout_ref.rollout.n=8",
                "transfer_queue.enable=true",
                "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
                "actor_rollout_ref.actor.ppo_mini_batch_size=6",
                "data.train_batch_size=6",
            ],
        )
    rewards, mask, uid, plain, lengths = sparse_batch()
    keys = [f"{name}_{row % 8}_0" for row, name in enumerate(uid)]
    rows = [
        {
            "uid": str(uid[row]),
            "response_mask": mask[row, : lengths[row]].long(),
            "rm_scores": rewards[row, : lengths[row]],
            "old_log_probs": -torch.ones(int(lengths[row])),
        }
        for row in range(len(uid))
    ]
    transfer_queue.init(config.transfer_queue)
    try:
        fields = list_of_dict_to_tensordict(rows)
        transfer_queue.kv_batch_put(keys=keys, partition_id="train", fields=fields, tags=[{} for _ in keys])
        trainer = object.__new__(HPOTrainerSync)  # its __init__ needs GPUs and vLLM
        trainer.config = config
        metrics = {}
        trainer._compute_advantage(KVBatchMeta(partition_id="train", keys=keys, tags=[{} for _ in keys]), metrics)
        found = transfer_queue.kv_batch_get(keys=keys, partition_id="train", select_fields=["advantages"])
    finally:
        transfer_queue.close()
    weighted, _, alpha = by_hand(plain, uid, lengths)
    assert metrics["hpo/alpha"] == pytest.approx(alpha)
    torch.testing.assert_close(
        found["advantages"].to_padded_tensor(0.0), torch.tensor(weighted).float()[:, None] * mask, atol=1e-6, rtol=1e-6
    )


def test_a_killed_worker_ends_the_wait_with_a_clear_failure(cluster):
    """Out of memory, a lost node: the driver hears of it and is not left waiting."""
    actor = Anywhere.options(resources={NODES[1]: 0.1}).remote()
    process = ray.get(actor.process.remote(), timeout=60)
    waiting = actor.wait.remote()
    os.kill(process, signal.SIGKILL)
    with pytest.raises(ray.exceptions.RayActorError, match=r"(?i)died|dead|crash"):
        ray.get(waiting, timeout=120)


def test_a_worker_of_verls_own_group_that_is_killed_is_reported(cluster):
    """RayWorkerGroup is what actors and rollouts run in; one of its two workers is lost."""
    from verl.single_controller.base import Worker
    from verl.single_controller.base.decorator import Dispatch, register
    from verl.single_controller.ray.base import RayClassWithInitArgs, RayResourcePool, RayWorkerGroup

    @ray.remote
    class Counting(Worker):
        @register(dispatch_mode=Dispatch.ONE_TO_ALL)
        def known(self):
            from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

            return "a_hpo" in ADV_ESTIMATOR_REGISTRY

        @register(dispatch_mode=Dispatch.ONE_TO_ALL)
        def die_on_the_second(self):
            if self.rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return self.rank

    pool = RayResourcePool(process_on_nodes=[1, 1], use_gpu=False, name_prefix="tests", max_colocate_count=1)
    group = RayWorkerGroup(pool, RayClassWithInitArgs(cls=Counting), name_prefix="tests", device_name="cpu")
    assert group.known() == [True, True]
    with pytest.raises(ray.exceptions.RayActorError, match=r"(?i)died|dead|crash"):
        group.die_on_the_second()
