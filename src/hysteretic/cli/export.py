"""`hysteretic export`: a task's problems as parquet files for another trainer."""

from hysteretic.launch.export import main

__all__ = ["main"]
