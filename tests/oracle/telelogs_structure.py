"""What can be told of a TeleLogs question without reading a single value? Counts, orders, lengths, repeats.

Written from the text alone, with none of the package's readers: a table is the lines with many '|'.
"""

from itertools import pairwise
from statistics import fmean, pstdev

TOPS = range(5)
SERVING, TOP_1, LEVEL_1, DRIVE_WIDTH = 4, 8, 13, 19
GNODEB, PCI = 0, 10


def structure(question: str) -> dict[str, float]:
    """Features by name."""
    lines = question.split("\n")
    tables = [line.split("|") for line in lines if line.count("|") > 5]
    drive = [row for row in tables if len(row) == DRIVE_WIDTH][1:]
    cells = [row for row in tables if len(row) != DRIVE_WIDTH][1:]
    served = [row[SERVING] for row in drive]
    heard = [[row[TOP_1 + top] for top in TOPS if row[TOP_1 + top] != "-"] for row in drive]
    listed = [row[PCI] for row in cells]
    logged = {*served, *(pci for row in heard for pci in row)}
    sites = [row[GNODEB] for row in cells]
    features: dict[str, float] = {
        "characters": len(question),
        "lines": len(lines),
        "rows": len(drive),
        "cells": len(cells),
        "PCIs served": len(set(served)),
        "PCIs heard": len({pci for row in heard for pci in row}),
        "PCIs logged": len(logged),
        "PCIs listed": len(set(listed)),
        "PCIs twice in the table": len(listed) - len(set(listed)),
        "PCIs logged, not listed": len(logged - set(listed)),
        "PCIs listed, not logged": len(set(listed) - logged),
        "PCIs served, not listed": len(set(served) - set(listed)),
        "rows with a PCI twice": sum(len({*row, pci}) < len(row) + 1 for row, pci in zip(heard, served, strict=True)),
        "sites": len(set(sites)),
        "largest site": max(map(sites.count, sites)),
        "places of cells": len({(row[2], row[3]) for row in cells}),
        "sites in order": sites == sorted(sites),
        "PCIs in order": listed == sorted(listed, key=int),
        "first served, its place": listed.index(served[0]) if served[0] in listed else -1,
        "last served, its place": listed.index(served[-1]) if served[-1] in listed else -1,
        "fewest neighbours": min(map(len, heard)),
        "most neighbours": max(map(len, heard)),
        "changes of their number": sum(len(one) != len(two) for one, two in pairwise(heard)),
        "neighbour lists": len({tuple(row) for row in heard}),
        "neighbour sets": len({frozenset(row) for row in heard}),
        "timestamps": len({row[0] for row in drive}),
        "places": len({(row[1], row[2]) for row in drive}),
    }
    for name, table in (("drive", drive), ("cells", cells)):
        lengths = [len("|".join(row)) for row in table]
        features |= {f"{name}, shortest": min(lengths), f"{name}, longest": max(lengths)}
        features |= {f"{name}, length": fmean(lengths), f"{name}, spread of length": pstdev(lengths)}
        for column in range(len(table[0])):
            entries = [row[column] for row in table]
            numbers = [entry for entry in entries if entry != "-"]
            decimals = [len(entry.partition(".")[2]) for entry in numbers]
            features |= {
                f"{name} {column}, missing": len(entries) - len(numbers),
                f"{name} {column}, distinct": len(set(entries)),
                f"{name} {column}, decimals": fmean(decimals) if decimals else -1,
                f"{name} {column}, most decimals": max(decimals, default=-1),
            }
    return {name: float(value) for name, value in features.items()}
