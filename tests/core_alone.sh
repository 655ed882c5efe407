#!/bin/sh
# Do the objectives, tasks and statistics work without TRL? Run from the repository's root:
#     sh tests/core_alone.sh [arguments of pytest]
# The environment .venv-core is made once and kept; PYTHON chooses another interpreter (3.10 or newer), TORCH another torch.
set -eu

python=${PYTHON:-python3}
torch=${TORCH:-torch==2.13.0}
here=.venv-core

if [ ! -e "$here/complete" ]; then
    "$python" -m venv --clear "$here"
    # torch by itself first: the rest must not replace it by another build.
    "$here/bin/pip" install --quiet "$torch"
    "$here/bin/pip" install --quiet --editable ".[report]" hypothesis pytest pyarrow scikit-learn
    touch "$here/complete"
fi

export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# conftest.py, test_exported.py and test_installed.py need transformers and datasets, which are not installed here.
exec "$here/bin/python" -m pytest --noconftest --ignore tests/tasks/test_exported.py --ignore tests/tasks/test_installed.py tests/test_advantages.py tests/test_batch_statistics_ranks.py \
    tests/test_objective.py tests/test_objective_properties.py tests/test_parts.py tests/test_sparsity.py \
    tests/test_statistics.py tests/tasks "$@"
