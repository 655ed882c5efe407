"""The published rules, applied to the text of a question with none of the package's code.

Columns are found by position, distances on a flat earth, and tables by the width of their lines.
"""

import itertools
from math import atan2, cos, degrees, hypot, radians
from statistics import fmean

LON, LAT, SPEED, SERVING, LEVEL, RATE, TOP_1, TOP_LEVEL, BLOCKS = 1, 2, 3, 4, 5, 7, 8, 13, 18
GNODEB, TILT, DIGITAL, BEAM, HEIGHT, PCI = 0, 5, 6, 8, 9, 10


def metres(row, cell):
    north = radians(float(row[LAT]) - float(cell[3])) * 6_371_000
    east = radians(float(row[LON]) - float(cell[2])) * cos(radians(float(row[LAT]))) * 6_371_000
    return hypot(north, east)


def edge_beyond_road(row, cell):
    """Degrees by which the main lobe ends short of the road."""
    digital = 6.0 if cell[DIGITAL] == "255" else float(cell[DIGITAL])
    number = int(cell[BEAM].removeprefix("SCENARIO_")) if cell[BEAM] != "DEFAULT" else 1
    width = 6 if number < 6 else 12 if number < 12 else 25
    return float(cell[TILT]) + digital - width / 2 - degrees(atan2(float(cell[HEIGHT]), metres(row, cell)))


def cause(question):
    tables = [line.split("|") for line in question.split("\n") if line.count("|") > 10]
    drive = [line for line in tables if len(line) == 19][1:]
    cells = {line[PCI]: line for line in tables if len(line) == 14}
    bad = [row for row in drive if float(row[RATE]) < 600]
    served = [row[SERVING] for row in bad]
    if max(float(row[SPEED]) for row in bad) > 40:
        return "C7"
    if fmean(float(row[BLOCKS]) for row in bad) < 160:
        return "C8"
    if max(metres(row, cells[row[SERVING]]) for row in bad) > 1000:
        return "C2"
    if len([1 for one, two in itertools.pairwise(served) if one != two]) > 2:
        return "C5"
    if all(int(row[SERVING]) % 30 in {int(pci) % 30 for pci in row[TOP_1:TOP_LEVEL] if pci != "-"} for row in bad):
        return "C6"
    if any(edge_beyond_road(row, cells[row[SERVING]]) > 0 for row in bad if row[SERVING] == drive[0][SERVING]):
        return "C1"
    near = [float(row[TOP_LEVEL]) - float(row[LEVEL]) >= -3.0001 for row in bad]
    other = [row[TOP_1] in cells and cells[row[TOP_1]][GNODEB] != cells[row[SERVING]][GNODEB] for row in bad]
    return "C4" if sum(map(min, near, other)) >= 3 else "C3"
