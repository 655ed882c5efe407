"""The physics of the generated drives: level of a cell at a place, interference, and throughput.

    level      = power - 17 + 24 - horizontal loss - vertical loss - path loss - car            dBm per resource element
    path loss  = 32.4 + 21 log10 d + 20 log10 f        from the serving site (line of sight)
                 22.4 + 31 log10 d + 21.3 log10 f      from the others
    horizontal = min(12 (azimuth error / 65)^2, 24)    vertical = min(12 (angle error / 2 beamwidth)^2, 8)
    SINR       = level / (sum over the other cells of load x level + noise)                 in mW per resource element
    throughput = RBs x 0.36 MHz x 0.7 x layers(SINR) x efficiency(SINR) x speed loss x handover loss

d: metres along the ray; f: 2.6 GHz. Simplified from 3GPP TR 38.901 (urban micro cell; antenna element).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .scenario import Cell

GHZ = 2.6
BEST_SINR = 38.0
WORST_SINR = -9.0
NOISE = 10 ** (-122 / 10)
"""mW: 30 kHz at 290 K, and 7 dB of the phone."""
LIGHTEST = 0.005
"""Least load of cells that interfere."""


def level(cell: Cell, east: float, north: float, is_in_sight: bool) -> float:
    """dBm at a place `east` and `north` metres from the foot of the antenna."""
    ground = math.hypot(east, north)
    metres = max(math.hypot(ground, cell.height), 5.0)
    off = (math.degrees(math.atan2(east, north)) - cell.azimuth + 180) % 360 - 180
    horizontal = min(12 * (off / 65) ** 2, 24.0)
    below = math.degrees(math.atan2(cell.height, ground))
    vertical = min(12 * ((below - cell.tilt) / (2 * cell.beamwidth)) ** 2, 8.0)
    loss = (32.4 + 21.0 * math.log10(metres) + 20.0 * math.log10(GHZ)) if is_in_sight else 0.0
    if not is_in_sight:
        loss = 22.4 + 31.0 * math.log10(metres) + 21.3 * math.log10(GHZ)
    return cell.power - 17 + 24 - horizontal - vertical - loss - 8


def free_space(cell: Cell, metres: float) -> float:
    """Upper bound on the level, dBm: free space over the ground distance with the full antenna gain."""
    ray = max(math.hypot(metres, cell.height), 5.0)
    return cell.power - 17 + 24 - (32.4 + 20.0 * math.log10(ray) - 60 + 20.0 * math.log10(1000 * GHZ))


def rate(sinr: float) -> float:
    """Mbit/s of one resource block at a SINR, before losses: layers (1 to 4) times bit/s/Hz."""
    layers = 1 + 3 / (1 + math.exp(-(sinr - 7) / 4))
    efficiency = min(0.75 * math.log2(1 + 10 ** ((sinr - 1) / 10)), 7.4)
    return 0.36 * 0.7 * layers * efficiency


def sinr_for(wanted: float) -> float:
    """The SINR at which a resource block carries `wanted` Mbit/s (the inverse of `rate`, to 0.01 dB)."""
    low, high = WORST_SINR, BEST_SINR
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if rate(middle) < wanted else (low, middle)
    return (low + high) / 2


def interference(cells: Iterable[tuple[float, float]]) -> float:
    """mW from cells given as (level in dBm, load)."""
    return sum(load * 10 ** (level / 10) for level, load in cells)


def sinr_under(level: float, interference: float) -> float:
    """dB, within what a phone reports. level: dBm. interference: mW."""
    return min(max(level - 10 * math.log10(interference + NOISE), WORST_SINR), BEST_SINR)


def load_for(wanted: float, levels: Sequence[float], others: Sequence[float]) -> float:
    """The load at which resource blocks of several rows carry `wanted` Mbit/s together, or the nearest possible.

    levels: dBm of the serving cell in each row. others: mW of the other cells at full load.
    """
    low, high = LIGHTEST, 1.0
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        carried = sum(rate(sinr_under(own, middle * other)) for own, other in zip(levels, others, strict=True))
        low, high = (middle, high) if carried > wanted else (low, middle)
    return math.sqrt(low * high)


def speed_loss(speed: float) -> float:
    """Fraction of the throughput left at a speed in km/h: the channel changes faster than it is reported."""
    return 1 / (1 + (max(speed - 40, 0.0) / 45) ** 2)


def handover_loss(recent_handovers: int) -> float:
    """Fraction of the throughput left after that many handovers within two seconds."""
    return float(0.72**recent_handovers)
