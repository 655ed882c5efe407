#!/bin/sh
# Do the trainer's tests pass with the oldest TRL that hysteretic.trl admits? Run from the repository's root:
#     sh tests/oldest_trl.sh [arguments of pytest]
# It takes about 6 minutes of CPU time on two cores, and 1.5 more to make the environment .venv-oldest, which is kept.
# PYTHON chooses another interpreter, TORCH another torch.
#
# transformers 5.0 is the first whose Qwen2 tokenizer can be built from a vocabulary, as the tiny model's is.
# TRL 1.15 computes log-probabilities in Triton kernels alone, and Triton needs a GPU: TRITON_INTERPRET=1 runs the
# same kernels on a CPU, slowly. So the tests use tests/plain_logprobs.py in their place, and the gradient cases the
# kernels. (From TRL 1.16 on a CPU needs no Triton.)
set -eu

python=${PYTHON:-python3}
torch=${TORCH:-torch==2.13.0}
here=.venv-oldest

if [ ! -e "$here/complete" ] || [ tests/oldest_trl.sh -nt "$here/complete" ]; then
    "$python" -m venv --clear "$here"
    # torch by itself first: the rest must not replace it by another build.
    "$here/bin/pip" install --quiet "$torch"
    "$here/bin/pip" install --quiet "$torch" triton \
        trl==1.15.0 transformers==5.0.0 accelerate==1.10.1 datasets==4.7.0 peft==0.18.0 pyyaml==6.0.1 \
        hypothesis pytest pytest-xdist scipy
    "$here/bin/pip" install --quiet --no-deps --editable .
    touch "$here/complete"
fi

"$here/bin/python" -c "import accelerate, torch, transformers, trl
print(f'trl {trl.__version__}, transformers {transformers.__version__}, accelerate {accelerate.__version__}, '
      f'torch {torch.__version__}')"
export TRITON_INTERPRET=1 OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# test_sharded.py shards on CPUs, for which hysteretic.dry_run.sharding needs a newer accelerate.
PLAIN_LOGPROBS=1 "$here/bin/python" -m pytest -n 2 tests/trl tests/lean --ignore tests/trl/test_gradients.py \
    --ignore tests/trl/test_sharded.py \
    --deselect tests/trl/test_packing.py::test_the_tiny_models_learning_curve_is_that_of_the_plain_way "$@"

# In place of test_gradients.py, which is slow in the interpreter: seven of its cases, one process.
PYTHONPATH=tests "$here/bin/python" -W ignore tests/trl/gradient_worker.py "a-hpo accumulation 2" "a-hpo 2 updates of 2" \
    "a-hpo truncation masked" "a-hpo lora" "gspo adaptive" "sapo adaptive batch" "cispo response fixed" |
    tail -n 1 |
    "$here/bin/python" -c "import json, sys
errors = json.load(sys.stdin)
print('relative errors of the gradient:', errors)
sys.exit(len(errors) != 7 or not all(error < 1e-5 for error in errors.values()))"
