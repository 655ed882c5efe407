"""The learning curves of a comparison: means over seeds with bands, by update, token and second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hysteretic.common import metric_names as names
from hysteretic.compare.measures import Record
from hysteretic.statistics import mean_band

WINDOW = 5
"""Rollouts in a curve's moving mean (fewer at the start), computed for each run before the band."""
POINTS = 60
"""Number of points of a curve over tokens or seconds."""

PANELS = {
    names.ALPHA: ("Weight of failures (alpha)", "", 1.0),
    names.POSITIVE_SHARE: ("Fraction of positive responses", "", 1.0),
    names.NEGATIVE_SHARE: ("Fraction of negative responses", "", 1.0),
    names.SILENT_SHARE: ("Fraction of responses in silent groups", "", 1.0),
    names.MEAN_LENGTH: ("Mean response length", "tokens", np.inf),
    "clip_ratio/low_mean": ("Tokens clipped from below", "", 1.0),
    "clip_ratio/high_mean": ("Tokens clipped from above", "", 1.0),
    names.POSITIVE_MASS: ("Gradient mass of positive responses", "", np.inf),
    names.NEGATIVE_MASS: ("Gradient mass of negative responses", "", np.inf),
}
"""Title, unit and largest possible value of the metrics shown by update besides the reward; keys as logged."""

LONGEST_CURVE = 400
MOST_POINTS = 40_000
"""The limit on points over all curves."""

LOGGED = tuple(PANELS)


def panels(runs: Mapping[str, Sequence[Record]], least: float = -np.inf) -> list[dict[str, Any]]:
    """Every panel, with a curve for each arm that has a finished run. least: the smallest possible reward."""
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
    for key, (title, unit, most) in PANELS.items():
        curves = []
        for arm, records in runs.items():
            logged = [record.panels[key] for record in records]
            whole = [(row, record) for row, record in zip(logged, records, strict=True) if None not in row]
            if whole:
                rows = [[float(value or 0.0) for value in row] for row, _ in whole]
                axis = _axis([record for _, record in whole], "update")
                curves.append(_curve(arm, rows, axis, (0.0, most)))
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
    """Mean and 95 % band over seeds; runs whose axes differ are interpolated at common points, up to the shortest."""
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
    """Rounded to five digits, more than a curve shows."""
    return float(f"{value:.5g}")


def thin(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The panels with a limited number of points, and in each panel the same x for every arm.

    At most LONGEST_CURVE points per curve and MOST_POINTS in all, evenly spaced, first and last kept. An arm has no
    values (None) at an x outside its own range; between its points the line is straight, as drawn.
    """
    count = sum(len(panel["curves"]) for panel in results["panels"])
    most = max(2, min(LONGEST_CURVE, MOST_POINTS // max(count, 1)))
    places = {arm["name"]: i for i, arm in enumerate(results["arms"])}
    panels = []
    for panel in results["panels"]:
        known = [curve for curve in panel["curves"] if curve["x"]]
        if known:
            ends = {x for curve in known for x in (curve["x"][0], curve["x"][-1])}
            between = sorted({x for curve in known for x in curve["x"]})
            x = sorted({*_evenly(between, min(most - len(ends), max(len(curve["x"]) for curve in known))), *ends})
            panels.append({**panel, "curves": [_at(curve, x) | {"arm": places[curve["arm"]]} for curve in known]})
    return panels


def _evenly(values: Sequence[float], most: int) -> list[float]:
    """At most `most` of the values, evenly spaced; both ends are always kept."""
    last = len(values) - 1
    if last < most:
        return list(values)
    return [values[round(i * last / (most - 1))] for i in range(most)] if most > 1 else []


def _at(curve: Mapping[str, Any], x: Sequence[float]) -> dict[str, Any]:
    """The curve at these x, by linear interpolation within its own range."""

    def values(name: str) -> list[float | None] | None:
        if not curve.get(name):
            return None
        own = [np.nan if value is None else value for value in curve[name]]
        found = np.interp(x, curve["x"], own, left=np.nan, right=np.nan)
        return [None if np.isnan(value) else float(f"{value:.4g}") for value in found]

    return {
        **curve,
        "x": [float(f"{value:.6g}") for value in x],
        **{key: values(key) for key in ("mean", "low", "high")},
    }
