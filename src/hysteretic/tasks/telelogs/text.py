"""A scenario as a question: instructions, options and two tables, as in the TeleLogs data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .scenario import CAUSES, Row, Scenario

TOP = 5
"""Number of neighbours in the drive table."""

DRIVE_COLUMNS = (
    "Timestamp",
    "Longitude",
    "Latitude",
    "GPS Speed (km/h)",
    "5G KPI PCell RF Serving PCI",
    "5G KPI PCell RF Serving SS-RSRP [dBm]",
    "5G KPI PCell RF Serving SS-SINR [dB]",
    "5G KPI PCell Layer2 MAC DL Throughput [Mbps]",
    *(f"Measurement PCell Neighbor Cell Top Set(Cell Level) Top {top + 1} PCI" for top in range(TOP)),
    *(
        f"Measurement PCell Neighbor Cell Top Set(Cell Level) Top {top + 1} Filtered Tx BRSRP [dBm]"
        for top in range(TOP)
    ),
    "5G KPI PCell Layer1 DL RB Num (Including 0)",
)

# In the order of the fields of a Cell.
CELL_COLUMNS = (
    "gNodeB ID",
    "Cell ID",
    "Longitude",
    "Latitude",
    "Mechanical Azimuth",
    "Mechanical Downtilt",
    "Digital Tilt",
    "Digital Azimuth",
    "Beam Scenario",
    "Height",
    "PCI",
    "TxRx Mode",
    "Max Transmit Power",
    "Antenna Model",
)

MISSING = "-"

QUESTION = """\
A drive test of a 5G network shows a stretch of road where the downlink throughput falls below 600 Mbps. Find out why \
from the log of the drive and the engineering parameters of the cells.

Which of these root causes is the most likely one?

{options}

Good to know:
- A digital tilt of 255 is the default, 6 degrees; any other value is the tilt itself.
- Vertical beamwidth by beam scenario: DEFAULT and SCENARIO_1 to SCENARIO_5, 6 degrees; SCENARIO_6 to SCENARIO_11, 12 \
degrees; SCENARIO_12 and above, 25 degrees.

{tables}

Reason step by step, then give the label of the cause inside \\boxed{{}}.
"""


def render(scenario: Scenario, labels: Mapping[str, str] | None = None, drive_first: bool = True) -> str:
    """A scenario as the text of a question.

    Args:
        labels: the label of each cause ("C1" to "C8"), in the order in which the options are listed; None: itself.
        drive_first: whether the drive log comes before the table of cells.

    Example:
        >>> from hysteretic.tasks.telelogs import Difficulty, draw
        >>> render(draw("example", "C7", Difficulty())).splitlines()[4]
        'C1: The serving cell is tilted down too far, so that its beam ends before the road.'
    """
    labels = {cause: cause for cause in CAUSES} if labels is None else labels
    tables = [
        "Drive test log:\n\n" + _table(DRIVE_COLUMNS, map(_drive_values, scenario.rows)),
        "Engineering parameters of the cells:\n\n"
        + _table(CELL_COLUMNS, (vars(cell).values() for cell in scenario.cells)),
    ]
    return QUESTION.format(
        options="\n".join(f"{label}: {CAUSES[cause]}" for cause, label in labels.items()),
        tables="\n\n".join(tables if drive_first else tables[::-1]),
    )


def _table(columns: Sequence[str], rows: Iterable[Iterable[float | str | None]]) -> str:
    return "\n".join(["|".join(columns), *("|".join(map(_text, row)) for row in rows)])


def _text(value: float | str | None) -> str:
    """As short as possible: 35, -70.5, 12.25; MISSING for None."""
    if value is None:
        return MISSING
    return str(value) if isinstance(value, str) or value != int(value) else str(int(value))


def _drive_values(row: Row) -> list[float | str | None]:
    heard = row.neighbours[:TOP]
    absent = [None] * (TOP - len(heard))
    before: list[float | str | None]
    before = [row.time, row.longitude, row.latitude, row.speed, row.pci, row.rsrp, row.sinr, row.throughput]
    return [*before, *(n.pci for n in heard), *absent, *(n.level for n in heard), *absent, row.rb]
