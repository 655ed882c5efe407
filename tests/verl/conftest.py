"""These tests need verl, which cannot share the environment of the others: `make test-verl`. Elsewhere they are not
collected."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("verl") and find_spec("ray") else ["test_*.py"]
