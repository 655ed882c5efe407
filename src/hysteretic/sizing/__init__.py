"""Whether a run fits and how long it takes: arithmetic from configurations, before any weight is loaded.

gpus.py           memory and speed of GPUs
architecture.py   a model's parameters, counted on the meta device
work.py           the settings of a run that cost memory or time
memory.py         bytes per GPU, by part and by way of sharding
pace.py           tokens and seconds per rollout and per update
fixes.py          the smallest change that makes it fit, and warnings
plan.py           all of it for one run

Uncalibrated: no GPU has been compared with these formulas.
"""
