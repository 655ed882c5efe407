"""How does a scenario look as a question? Instructions, the options, and two tables, as in the TeleLogs data set."""

from __future__ import annotations

from collections.abc import Mapping

from .scenario import CAUSES, Cell, Row, Scenario

TOP = 5
"""Neighbours that the drive table has columns for."""

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
    """The question as text.

    labels: the label of each cause ("C1" to "C8"), in the order in which the options are listed; None: itself.
    """
    labels = {cause: cause for cause in CAUSES} if labels is None else labels
    tables = [
        "Drive test log:\n\n" + drive_table(scenario),
        "Engineering parameters of the cells:\n\n" + cell_table(scenario),
    ]
    return QUESTION.format(
        options="\n".join(f"{label}: {CAUSES[cause]}" for cause, label in labels.items()),
        tables="\n\n".join(tables if drive_first else tables[::-1]),
    )


def drive_table(scenario: Scenario) -> str:
    return "\n".join(["|".join(DRIVE_COLUMNS), *("|".join(_drive_cells(row)) for row in scenario.rows)])


def cell_table(scenario: Scenario) -> str:
    return "\n".join(["|".join(CELL_COLUMNS), *("|".join(_cell_cells(cell)) for cell in scenario.cells)])


def number(value: float | None) -> str:
    """As short as it is: 35, -70.5, 12.25; MISSING for None."""
    if value is None:
        return MISSING
    return str(int(value)) if value == int(value) else str(value)


def _drive_cells(row: Row) -> list[str]:
    heard = row.neighbours[:TOP]
    absent = [MISSING] * (TOP - len(heard))
    return [
        row.time,
        number(row.longitude),
        number(row.latitude),
        number(row.speed),
        str(row.pci),
        number(row.rsrp),
        number(row.sinr),
        number(row.throughput),
        *(str(neighbour.pci) for neighbour in heard),
        *absent,
        *(number(neighbour.level) for neighbour in heard),
        *absent,
        number(row.rb),
    ]


def _cell_cells(cell: Cell) -> list[str]:
    return [
        cell.gnodeb,
        str(cell.number),
        number(cell.longitude),
        number(cell.latitude),
        number(cell.azimuth),
        number(cell.mechanical_tilt),
        number(cell.digital_tilt),
        number(cell.digital_azimuth),
        cell.beam,
        number(cell.height),
        str(cell.pci),
        cell.mode,
        number(cell.power),
        cell.antenna,
    ]
