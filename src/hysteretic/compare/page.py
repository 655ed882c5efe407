"""The page of a comparison: verdict, tables, charts and samples in one HTML file that works without a network.

Without scripts the charts are missing, and their first and last values are given in words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hysteretic.compare import sections
from hysteretic.compare.charts import (
    SIGNS,
    Results,
    arm_colours,
    arm_dashes,
    curve_chart,
    curve_note,
    forest_chart,
    label,
    pair_rows,
    panel_in_words,
    panel_title,
    percent,
)
from hysteretic.compare.curves import thin
from hysteretic.compare.samples import LONGEST_TEXT, samples
from hysteretic.compare.verdicts import WORDS, next_step
from hysteretic.html import page
from hysteretic.html.theme import VARIABLES
from hysteretic.statistics import FEWEST_SEEDS


def save_page(results: Results, path: Path) -> None:
    """Write the page of a comparison (results.json, schema 1)."""
    head, rest, sentences = sections.lead(results)
    looks = zip(results["arms"], arm_colours(results), arm_dashes(results), strict=True)
    file = results.get("comparison")
    page.save_page(
        path,
        "compare/report.html",
        title=results["title"],
        results=results,
        facts=sections.facts(results),
        lead=(head, rest),
        sentences=sentences,
        next_step=next_step(results),
        boxes=sections.boxes(results),
        primary_label=label(results, results["primary"]),
        notes=[sections.in_page(results, note) for note in results["notes"]],
        pair_tables=sections.pair_tables(results),
        forest=forest_chart(results, VARIABLES) if pair_rows(results) else None,
        signs=SIGNS,
        words=WORDS,
        fewest_seeds=FEWEST_SEEDS,
        confidence=percent(results["confidence"]),
        summary=sections.summary(results),
        spread=sections.spread(results),
        arms=[{**arm, "colour": colour, "dash": dash} for arm, colour, dash in looks],
        panels=_panels(results),
        common=sections.shared_settings(results),
        written=sections.written,
        runs=sections.runs(results),
        samples=samples(results),
        longest_text=LONGEST_TEXT,
        comparison=yaml.safe_dump(file, sort_keys=False, allow_unicode=True, width=100) if file else None,
    )


def _panels(results: Results) -> list[dict[str, Any]]:
    return [
        {
            "key": panel["key"],
            "x": panel["x"],
            "place": place,
            "title": panel_title(panel),
            "note": curve_note(results, panel),
            "chart": curve_chart(results, panel, VARIABLES, 320 if place == 0 else 210),
            "words": panel_in_words(results, panel),
        }
        for place, panel in enumerate(thin(results))
    ]
