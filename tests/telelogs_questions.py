"""Questions for the TeleLogs tests: drawn drives, in this project's wording or with the data set's sentences."""

import random

from hysteretic.tasks.telelogs import CAUSES, Difficulty, draw, render

OFFICIAL = {
    "C1": "The serving cell's downtilt angle is too large, causing weak coverage at the far end.",
    "C2": "The serving cell's coverage distance exceeds 1km, resulting in over-shooting.",
    "C3": "A neighboring cell provides higher throughput.",
    "C4": "Non-colocated co-frequency neighboring cells cause severe overlapping coverage.",
    "C5": "Frequent handovers degrade performance.",
    "C6": "Neighbor cell and serving cell have the same PCI mod 30, leading to interference.",
    "C7": "Test vehicle speed exceeds 40km/h, impacting user throughput.",
    "C8": "Average scheduled RBs are below 160, affecting throughput.",
}
"""The options of the published prompt."""


def drive(key="example", cause="C3", **difficulty):
    return draw(key, cause, Difficulty(**difficulty))


def question(key="example", cause="C3", **options):
    return render(drive(key, cause), **options)


def shuffled_labels(key):
    """The label of each cause, in an order of the labels: C1 to C8 are listed, and stand for other causes."""
    labels = list(CAUSES)
    random.Random(key).shuffle(labels)
    return dict(sorted(zip(CAUSES, labels, strict=True), key=lambda pair: pair[1]))


def as_official(text):
    """The same question with the sentences of the data set around its tables."""
    for cause, words in CAUSES.items():
        text = text.replace(words, OFFICIAL[cause])
    text = text.replace("Drive test log:", "User plane drive test data as follows\uff1a")
    text = text.replace("Engineering parameters of the cells:", "Engeneering parameters data as follows\uff1a")
    return text.replace("\\boxed{}", "\\boxed{{}}")
