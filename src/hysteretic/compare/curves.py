"""Which curves does a comparison show? Means over seeds with bands, by update, token and second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hysteretic.common import metric_names as names
from hysteretic.compare.measures import Record
from hysteretic.statistics import mean_band

WINDOW = 5
"""Rollouts in the moving mean of a curve (the last ones, fewer at the start), taken run by run before the band."""
POINTS = 60
"""Points of a curve by token or second."""

PANELS = {
    names.ALPHA: ("Weight of failures (alpha)", ""),
    names.POSITIVE_SHARE: ("Share of positive responses", ""),
    names.NEGATIVE_SHARE: ("Share of negative responses", ""),
    names.SILENT_SHARE: ("Share of responses in silent groups", ""),
    names.MEAN_LENGTH: ("Mean response length", "tokens"),
    "clip_ratio/low_mean": ("Tokens clipped from below", ""),
    "clip_ratio/high_mean": ("Tokens clipped from above", ""),
    names.POSITIVE_MASS: ("Gradient mass of positive responses", ""),
    names.NEGATIVE_MASS: ("Gradient mass of negative responses", ""),
}
"""Title and unit of what is shown by update, besides the reward; keys as logged."""

LOGGED = tuple(PANELS)
MOST = {key: np.inf if "mass" in key or "length" in key else 1.0 for key in PANELS}
"""The largest possible value; the smallest is 0. Student's bands of few seeds know no bounds and are cut there."""


def panels(runs: Mapping[str, Sequence[Record]], least: float = -np.inf) -> list[dict[str, Any]]:
    """Every panel with a curve for each arm that has a finished run. least: what a reward can be at least."""
    shown = [
        {
            "key": "reward",
            "title": f"Mean reward (moving mean of {WINDOW} rollouts)",
            "unit": "",
            "x": x,
            "curves": [
                _curve(arm, [record.rewards for record in records], _axis(records, x), (least, np.inf))
                for arm, records in found
            ],
        }
        for found in [[(arm, records) for arm, records in runs.items() if records]]
        for x in ("update", "token", "second")
    ]
    for key, (title, unit) in PANELS.items():
        curves = []
        for arm, records in runs.items():
            logged = [record.panels[key] for record in records]
            whole = [(row, record) for row, record in zip(logged, records, strict=True) if None not in row]
            if whole:
                rows = [[float(value or 0.0) for value in row] for row, _ in whole]
                axis = _axis([record for _, record in whole], "update")
                curves.append(_curve(arm, rows, axis, (0.0, MOST[key])))
        if curves:
            shown.append({"key": key, "title": title, "unit": unit, "x": "update", "curves": curves})
    return [panel for panel in shown if panel["curves"]]


def _axis(records: Sequence[Record], x: str) -> list[list[float]]:
    if x == "update":
        return [[float(update) for update in record.updates] for record in records]
    return [record.tokens if x == "token" else record.seconds for record in records]


def _curve(
    arm: str,
    rows: Sequence[Sequence[float]],
    axes: Sequence[Sequence[float]],
    possible: tuple[float, float],
) -> dict[str, Any]:
    """Mean and 95 % band over seeds; runs whose axes differ are read off at common points, up to the shortest."""
    smooth = [_moving_mean(row) for row in rows]
    first = list(axes[0])
    if any(list(axis) != first for axis in axes):
        points = np.linspace(max(axis[0] for axis in axes), min(axis[-1] for axis in axes), POINTS)
        smooth = [np.interp(points, axis, row) for axis, row in zip(axes, smooth, strict=True)]
        first = points.tolist()
    mean, low, high = mean_band(np.array(smooth))
    low, high = np.clip(low, *possible), np.clip(high, *possible)
    band = len(rows) > 1
    return {
        "arm": arm,
        "x": [_short(x) for x in first],
        "mean": [_short(y) for y in mean],
        "low": [_short(y) for y in low] if band else None,
        "high": [_short(y) for y in high] if band else None,
        "seeds": len(rows),
    }


def _moving_mean(row: Sequence[float]) -> np.ndarray:
    sums = np.cumsum(np.concatenate([[0.0], np.asarray(row, dtype=float)]))
    ends = np.arange(1, len(row) + 1)
    starts = np.maximum(ends - WINDOW, 0)
    means: np.ndarray = (sums[ends] - sums[starts]) / (ends - starts)
    return means


def _short(value: float) -> float:
    """Five digits are more than a curve shows."""
    return float(f"{value:.5g}")
