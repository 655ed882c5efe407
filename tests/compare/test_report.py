"""What the report of a comparison says and cannot be made to say, read as HTML without a browser."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from results_sample import ARMS, HOSTILE, MEASURES, sample_results

from hysteretic.compare.page import save_page
from hysteretic.html.text import interval, number, true_minus, visible

VOID = {"meta", "link", "input"}


class Outline(HTMLParser):
    """A page's tags, text and nesting. Raises AssertionError where a tag is closed that is not the open one."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def page_of(results, folder):
    save_page(results, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return page_of(sample_results(), tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def outline(page):
    return Outline(page)


def test_the_verdict_comes_before_tables_charts_and_curves(page):
    """Who opens the page wants to know who is better; the rest is for those who doubt it."""
    places = [page.index(text) for text in ["a-hpo is better than grpo", 'class="cautions"', "<table", 'id="chart0"']]
    assert places == sorted(places)


def test_a_verdict_has_a_word_and_a_sign_besides_its_colour(outline):
    for words in ["▲ Better than grpo", "○ No clear difference from grpo", "▼ Worse than grpo", "▲ better", "▼ worse"]:
        assert words in outline.text.replace("  ", " ")


def test_text_of_models_and_errors_stays_text(page, outline):
    """Samples, errors, names and settings come from outside and hold tags, quotes and controls."""
    assert len(outline.all("script")) == 3
    assert page.lower().count("<script") == page.lower().count("</script") == 3
    assert not outline.all("img")
    assert not [key for _, attributes in outline.tags for key in attributes if key.startswith("on")]
    assert len(outline.all("title")) == 1
    assert len(outline.all("textarea")) == 0
    for text in HOSTILE:
        assert " ".join(visible(text).split()) in outline.text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", outline.text)


def test_nothing_is_loaded_from_anywhere(page, outline):
    """It is opened from a mail attachment, in a train, on a cluster without a network."""
    places = [a[key] for _, a in outline.tags for key in ("src", "href", "srcset", "action", "data") if key in a]
    assert {place for place in places if not place.startswith("#")} == {"data:,"}
    style = re.search("<style>(.*?)</style>", page, re.S)[1]
    assert "url(" not in style
    assert "@import" not in style


def test_every_panel_is_a_chart_with_every_arm(page):
    data = json.loads(re.search('<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])
    assert len(data) == 13  # the paired differences, and twelve panels
    curves = data[1]["data"]["values"]
    assert [curve["name"] for curve in curves] == list(ARMS)
    assert curves[1]["mean"] == pytest.approx(sample_results()["panels"][0]["curves"][1]["mean"], rel=1e-3)


def test_everything_in_the_results_is_shown(outline):
    results = sample_results()
    texts = [
        *ARMS,
        *(label for label, _ in MEASURES.values()),
        *(panel["title"] for panel in results["panels"]),
        *(true_minus(said, ARMS) for said in results["verdicts"]),
        *(visible(note) for note in results["notes"]),
        *results["settings"],
        *results["versions"],
        *results["source_sha256"],
        "39 of 40 runs finished, 1 failed",
        "Run this in the directory where the comparison was started",
        "seed 7 failed",
        "1.5e\u22124: 0.170",
        "on seeds 100, 101",
        "the best rate is at the edge of the grid",
        results["arms"][0]["objective"],
        visible(results["command"]),
        "seeds: 8 settings:",
        "runs reached, here 1,100,000 (the median run took 1,200,000).",
    ]
    assert [text for text in texts if " ".join(text.split()) not in outline.text] == []


def test_a_pair_shows_difference_interval_p_and_seeds(page):
    pair = sample_results()["pairs"][1]
    row = next(row for row in re.findall("<tr>.*?</tr>", page, re.S) if "hpo alpha=0.3" in row and "Holm" in row)
    for text in [
        number(pair["mean_difference"], signed=True),
        interval(pair["interval"], signed=True),
        interval(pair["relative_interval"], percent=True),
        "Holm 0.630",
        "34 needed",
        "no clear difference",
    ]:
        assert text in row


def test_the_headline_is_short_and_its_figures_are_plain(page):
    """Nobody reads three bold lines of numbers."""
    lead = re.search('<p class="lead">(.*?)</p>', page)[1]
    assert lead.startswith("<b>a-hpo is better than grpo</b> (reward, whole run): +0.0")


def test_figures_have_one_minus(page):
    """The hyphen stays in what is to be copied: code, settings, names."""
    shown = re.sub("<(script|style|pre|code|dd|option)\\b.*?</\\1>", "", page, flags=re.S)
    assert "\u2212" in shown
    assert re.findall(r"(?<![\w.=/-])-\d|\de-\d", re.sub("<[^>]*>", " ", shown)) == []


def test_pairs_without_the_baseline_are_apart(page):
    """The verdict is about the baseline; all other pairs are there for those who look for them."""
    assert page.count("The other 6 pairs") == len(MEASURES)
    board = page[page.index('class="board"') : page.index('class="cautions"')]
    assert board.count("<li>") == 4


def test_headings_tables_and_controls_can_be_found_without_eyes(page, outline):
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    tables = re.findall("<table.*?</table>", page[: page.index('id="data"')], re.S)
    assert all("<caption>" in text for text in tables)
    assert all("scope" in attributes for attributes in outline.all("th"))
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in outline.tags:
        for key in ("aria-describedby", "aria-labelledby"):
            assert attributes.get(key) is None or attributes[key] in ids
        assert attributes.get("href", "#verdict")[1:] in [*ids, "ata:,"]
    charts = [a for a in outline.all("div") if "chart" in a.get("class", "").split()]
    assert all(attributes["aria-label"] for attributes in charts)
    assert len(charts) == 13


def test_a_chart_is_also_there_in_words(page):
    """For who cannot see it, or has no script."""
    assert re.search('id="sum0" class="summary">First to last value: grpo 0.0\\d\\d to 0.\\d{3}; a-hpo', page)
    assert page.count("<noscript>") == 2


def without(**changes):
    return {**sample_results(), **changes}


def one_seed():
    results = sample_results()
    for pair in results["pairs"]:
        nothing = {"interval": None, "relative_interval": None, "p": None, "p_holm": None, "seeds_to_tell": None}
        pair |= nothing | {"seeds": 1, "verdict": "too few seeds", "probability_of_improvement": 1.0}
    for line in results["summary"]:
        line |= {"interval": None, "seeds": 1}
    for panel in results["panels"]:
        for curve in panel["curves"]:
            curve |= {"low": None, "high": None, "seeds": 1}
    return results


def only_failures():
    results = sample_results()
    for run in results["runs"]:
        run |= {"state": "failed", "error": None, "measures": {}, "updates": 0, "tokens": 0.0, "seconds": 0.0}
    nothing = {"pairs": [], "summary": [], "panels": [], "samples": [], "measures": {}, "verdicts": [], "versions": {}}
    return (
        results
        | nothing
        | {"settings": {}, "source_sha256": [], "progress": {"planned": 40, "finished": 0, "failed": 40}}
    )


def one_arm():
    results = sample_results()
    results |= {
        "pairs": [],
        "arms": results["arms"][:1],
        "verdicts": ["grpo alone was run: there is nothing to compare it with."],
    }
    for key in ("runs", "summary", "samples"):
        results[key] = [line for line in results[key] if line["arm"] == "grpo"]
    for panel in results["panels"]:
        panel["curves"] = panel["curves"][:1]
    return results


@pytest.mark.parametrize(
    ("results", "said"),
    [
        (without(pairs=[]), "No two arms have finished on the same seeds"),
        (without(verdicts=[]), "No verdict yet"),
        (without(panels=[]), "No run has recorded a rollout yet"),
        (without(samples=[]), "No responses were kept."),
        (without(summary=[]), "No arm has a finished run yet"),
        (without(runs=[]), "No run is recorded."),
        (without(notes=[]), "Differences"),
        (without(comparison=None), "Repeat it"),
        (one_seed(), "Too few seeds"),
        (one_arm(), "there is nothing to compare it with"),
        (only_failures(), "No error was recorded."),
    ],
)
def test_what_is_missing_is_said(results, said, tmp_path):
    """A report is written while runs go on, and after they failed."""
    outline = Outline(page_of(results, tmp_path))
    assert said in outline.text
    assert "None" not in outline.text
    assert "nan" not in outline.text.lower().split()


def test_one_seed_gives_no_probability(tmp_path):
    """P(better) 1.00 would be the most certain number on the page."""
    cells = re.findall(r'<td data-column="P\(better\)">(.*?)</td>', page_of(one_seed(), tmp_path))
    assert set(cells) == {"\u2013"}


def test_identical_arms_have_a_box_of_their_own(tmp_path):
    results = sample_results()
    for pair in results["pairs"]:
        pair["verdict"] = "identical" if pair["treatment"] == ARMS[1] else pair["verdict"]
    text = Outline(page_of(results, tmp_path)).text.replace("  ", " ")
    assert "= Identical to grpo a-hpo" in text
    assert "= identical" in text


def test_a_large_comparison_stays_under_six_megabytes(tmp_path):
    """Twenty arms of 2,000 rollouts each, and responses of 100,000 characters that escaping makes six times as long."""
    results = sample_results()
    names = [f"arm {i}" for i in range(20)]
    results["arms"] = [{**results["arms"][0], "name": name} for name in names]
    for panel in results["panels"]:
        x = list(range(2000))
        values = [1 / 3 + i / 7 for i in x]
        curve = {"x": x, "mean": values, "low": values, "high": values, "seeds": 8}
        panel["curves"] = [{**curve, "arm": name} for name in names]
    sample = {**results["samples"][0], "response": "&" * 100_000}
    results["samples"] = [{**sample, "arm": name, "problem": str(i)} for name in names for i in range(50)]
    results["pairs"], results["summary"], results["baseline"] = [], [], names[0]
    text = page_of(results, tmp_path)
    assert len(text.encode()) < 6e6
    assert re.search(r"\d+ more in results.json\.", text)
    assert "[94,000 more characters]" in text
