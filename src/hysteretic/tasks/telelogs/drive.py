"""Generate a drive with a known root cause: a base drive, one fault, some false leads, then throughput from physics.

    scenario = draw("any text as a key", "C4", Difficulty())

The base: a vehicle passes a main site and is handed over from its first to its second cell in the third row of a bad
window of four. All causes share the same base, so that only the fault distinguishes them. A drive is kept if the rules
find the fault and no other cause (apart from C3, which always holds).
"""

from __future__ import annotations

import math
import random
from dataclasses import replace

from .difficulty import Difficulty, Ranges
from .faults import FALSE_LEADS, FAULTS, ORDER, Draft, Place, UnsuitableDraftError, lift_far, lift_stranger, wide_enough
from .logged import METRES_PER_DEGREE, WEAKEST, logged, longitude_of
from .radio import free_space, level
from .rules import findings
from .scenario import DEFAULT_TILT, Cell, Scenario

ROWS = 10
WINDOW = 4
TRIES = 20

BEAMS = ("DEFAULT", *(f"SCENARIO_{number}" for number in range(1, 17)))
BEAM_WEIGHTS = (60, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2, 2, 2)


def draw(key: str, cause: str, difficulty: Difficulty) -> Scenario:
    """Generate the drive of a key with a given root cause.

    Args:
        key: any text; the same key, cause and difficulty always give the same drive.
        cause: "C1" to "C8".
        difficulty: size of the table of cells, and frequency of false leads.

    Returns:
        A drive of ten rows; `root_cause` finds the cause.

    Example:
        >>> drive = draw("example", "C8", Difficulty())
        >>> len(drive.rows), drive.bad_rows
        (10, (5, 6, 7, 8))
    """
    rng, ranges = random.Random(f"{key} {cause}"), difficulty.ranges
    cells = rng.randint(*difficulty.cells)
    shadow = random.Random(f"shadow {key} {cause}").uniform(0, 20)
    step = random.Random(f"step {key} {cause}").uniform(*ranges.steps)
    while True:
        leads = [lead for lead in ranges.leads[cause] if rng.random() < difficulty.false_leads]
        if {"C2", "C5"} <= set(leads) and not ranges.is_loaded:
            leads.remove(rng.choice(["C2", "C5"]))
        for _ in range(TRIES):  # keep the leads, so that those that are harder to place do not become rarer
            try:
                scenario = _attempt(rng, cause, leads, cells, shadow, step, ranges)
            except UnsuitableDraftError:
                continue
            if is_clear(scenario, cause):
                shuffled = rng.sample(scenario.cells, len(scenario.cells))
                return Scenario(scenario.rows, tuple(shuffled))


def is_clear(scenario: Scenario, cause: str) -> bool:
    """Whether the bad rows are four in succession, and the rules find this cause and no other."""
    bad = scenario.bad_rows
    if len(bad) != WINDOW or bad[-1] - bad[0] != WINDOW - 1:
        return False
    return all(finding.holds == (finding.cause == cause) for finding in findings(scenario) if finding.cause != "C3")


def _attempt(
    rng: random.Random, cause: str, leads: list[str], cells: int, shadow: float, step: float, ranges: Ranges
) -> Scenario:
    """One try, which may not be clear. shadow: dB that every cell loses in this place. step: see `_speeds`."""
    draft = _base(rng, cause, leads, cells, step, ranges)
    faults = {lead: FALSE_LEADS[lead] for lead in leads} | {cause: FAULTS[cause]}
    for name in ORDER:
        if name in faults:
            faults[name].before(draft)
    if "C1" not in faults:
        wide_enough(draft)
    _hear(draft)
    if draft.far in draft.serving:
        lift_far(draft)
    for row in range(ROWS):
        draft.attenuate_strangers(row, draft.serving[row])
    if "C4" not in faults and rng.random() < 0.9:
        lift_stranger(draft, 3.6, 6)
    for fault in faults.values():
        fault.levels(draft)
    _turn_far_site(draft)
    _shade(draft, shadow)
    return logged(draft, ranges)


def _base(rng: random.Random, cause: str, leads: list[str], count: int, step: float, ranges: Ranges) -> Draft:
    """A drive past a main site, without fault and throughput."""
    start = rng.randint(1, ROWS - WINDOW - 1)
    window = range(start, start + WINDOW)
    speeds = _speeds(rng, window, cause == "C7", "C7" in leads, step, ranges.speeds)
    places = _places(rng, speeds, window[2])
    sites, site_of = _sites(rng, places[window[2]], count, cause, leads)
    after = rng.choice([0, 1])
    cells = _cells(rng, sites, site_of, places[0], places[window[2] if after else ROWS - 1], ranges.steepest)
    serving = [0] * window[2] + [1] * 2 + [after] * (ROWS - window[3] - 1)
    blocks = [rng.uniform(172, 211) for _ in range(ROWS)]
    targets = [rng.uniform(190, 560) for _ in range(ROWS)]
    if rng.random() < 0.6:  # worse after the handover, by as much as it is better for C3
        better = rng.uniform(350, 570)
        targets = [better + rng.uniform(-25, 25) - (row >= window[2]) * rng.uniform(160, 180) for row in range(ROWS)]
    return Draft(rng, cells, site_of, sites, places, speeds, blocks, serving, window, targets, far=site_of.index(1))


def _hear(draft: Draft) -> None:
    """Compute the level of every cell in every row; the serving one is at most 3 dB below the strongest of its site."""
    rng = draft.rng
    for cell, site in zip(draft.cells, draft.site_of, strict=True):
        shadow, (east, north) = rng.gauss(0, 3), draft.sites[site]
        draft.levels.append(
            [level(cell, x - east, y - north, site == 0) + shadow + rng.gauss(0, 0.7) for x, y in draft.places]
        )
    for row, served in enumerate(draft.serving):
        siblings = [c for c, site in enumerate(draft.site_of) if site == draft.site_of[served] and c != served]
        strongest = max((draft.levels[c][row] for c in siblings), default=WEAKEST)
        draft.levels[served][row] = max(draft.levels[served][row], strongest - rng.uniform(0, 3))
        if row in draft.window and draft.far not in draft.serving:  # both cells are heard around a handover
            other = draft.first + draft.second - served
            draft.levels[other][row] = max(draft.levels[other][row], draft.levels[served][row] - rng.uniform(2, 5))


def _turn_far_site(draft: Draft) -> None:
    """If the far cell serves, turn its site so that the antenna points at the road within 40 degrees."""
    if draft.far in draft.serving:
        (east, north), (x, y) = draft.sites[draft.site_of[draft.far]], draft.places[draft.handover]
        old = draft.cells[draft.far].azimuth
        turn = math.degrees(math.atan2(x - east, y - north)) + old % 80 - 40 - old
        for c, site in enumerate(draft.site_of):
            if site == draft.site_of[draft.far]:
                azimuth = float(round(draft.cells[c].azimuth + turn) % 360)
                draft.cells[c] = replace(draft.cells[c], azimuth=azimuth)


def _shade(draft: Draft, shadow: float) -> None:
    """Weaken all cells equally, by the shadow or until none is stronger than in free space."""
    excess = max(
        level - free_space(cell, draft.distance(c, row))
        for c, (cell, levels) in enumerate(zip(draft.cells, draft.levels, strict=True))
        for row, level in enumerate(levels)
    )
    draft.shadow = math.ceil(100 * max(shadow, excess)) / 100


def _speeds(
    rng: random.Random, window: range, is_fast: bool, is_nearly_fast: bool, step: float, limits: tuple[int, int]
) -> list[float]:
    """Integers in km/h within the limits, unless the drive is meant to be fast. step: how much they change, km/h."""
    low, high = limits
    speed, speeds = rng.uniform(low, high - 2), []
    for row in range(ROWS):
        speed = low + abs(speed - low + rng.gauss(0, step))  # reflected, so that values do not pile up at the limits
        speed = high - abs(high - speed)
        speeds.append(float(round(speed + 40 * (row in window and is_fast))))
    if is_nearly_fast and not is_fast:
        for row in rng.sample(list(window), rng.randint(1, 3)):
            speeds[row] = float(rng.randint(37, 39))
    return speeds


def _places(rng: random.Random, speeds: list[float], middle: int) -> list[Place]:
    """A slightly curved road past the main site, in steps of one second at the given speeds."""
    distance, bearing = min(max(rng.lognormvariate(math.log(130), 0.6), 35), 480), rng.uniform(0, 2 * math.pi)
    heading = rng.uniform(0, 2 * math.pi)
    places = [(0.0, 0.0)]
    for speed in speeds[1:]:
        heading += rng.gauss(0, 0.04)
        x, y = places[-1]
        places.append((x + speed / 3.6 * math.sin(heading), y + speed / 3.6 * math.cos(heading)))
    shift_x = distance * math.sin(bearing) - places[middle][0]
    shift_y = distance * math.cos(bearing) - places[middle][1]
    return [(x + shift_x, y + shift_y) for x, y in places]


def _sites(rng: random.Random, place: Place, cells: int, cause: str, leads: list[str]) -> tuple[list[Place], list[int]]:
    """Place of each site, and site of each cell: the main one (0) with 2 or 3 cells, a far one (1), others."""
    main = 3 if cells > 4 else 2
    site_of, site = [0] * main + [1], 2
    if cells - len(site_of) > 3 and rng.random() < 0.5:
        site_of.append(1)
    while len(site_of) < cells:
        site_of += [site] * min(rng.randint(1, 3), cells - len(site_of))
        site += 1
    sites = [(0.0, 0.0)]
    for index in range(1, site):
        away = rng.uniform(200, 800)
        if index == 1:
            away = 1000 * (rng.uniform(1.06, 3.4) if rng.random() < 0.5 else rng.uniform(0.7, 1.4))
            if cause == "C2":
                away = 1000 * rng.uniform(1.06, 3.4)
            elif "C2" in leads:
                away = rng.uniform(880, 980)
        bearing = rng.uniform(0, 2 * math.pi)
        sites.append((place[0] + away * math.sin(bearing), place[1] + away * math.cos(bearing)))
    return sites, site_of


def _cells(
    rng: random.Random, sites: list[Place], site_of: list[int], begin: Place, border: Place, steepest: int
) -> list[Cell]:
    """Cells with their antennas; no two PCIs are equal modulo 30.

    begin: start of the drive, on the side of the first cell of the main site. border: where its second cell takes over.
    """
    longitude, latitude = rng.uniform(-170, 170), rng.uniform(-55, 55)
    remainders = rng.sample(range(30), len(site_of))
    gnodebs = [f"{number:07d}" for number in rng.sample(range(1, 10_000), len(sites))]
    models = [
        (rng.choice(["32T32R", "64T64R"]), rng.choice([31.9, 34.9, 37.0]), f"NR AAU {rng.randint(1, 4)}") for _ in sites
    ]
    heights = [round(min(max(rng.lognormvariate(math.log(24), 0.45), 8), 85), 1) for _ in sites]
    boundary = math.degrees(math.atan2(*border))
    side = 1 if (math.degrees(math.atan2(*begin)) - boundary) % 360 < 180 else -1
    cells: list[Cell] = []
    for c, site in enumerate(site_of):
        sector = site_of[:c].count(site)
        azimuth = rng.uniform(0, 360) if sector == 0 else cells[-1].azimuth + 120
        if site == 0:
            azimuth = boundary + side * (60 - 120 * sector) + rng.uniform(-8, 8)
        east, north = sites[site]
        mode, power, antenna = models[site]
        cells.append(
            Cell(
                gnodeb=gnodebs[site],
                number=sector + 1,
                longitude=longitude_of(longitude, latitude, east),
                latitude=round(latitude + north / METRES_PER_DEGREE, 6),
                azimuth=float(round(azimuth) % 360),
                mechanical_tilt=float(rng.randint(0, steepest)) if site != 1 else 0.0,
                digital_tilt=float(rng.choice([DEFAULT_TILT, DEFAULT_TILT, *range(13)]) if site != 1 else sector % 3),
                digital_azimuth=float(rng.choice([0, 0, 0, 5, 10, -5, -10])),
                beam=rng.choices(BEAMS, BEAM_WEIGHTS)[0],
                height=heights[site],
                pci=remainders[c] + 30 * rng.randint(0, 32),
                mode=mode,
                power=power,
                antenna=antenna,
            )
        )
    return cells
