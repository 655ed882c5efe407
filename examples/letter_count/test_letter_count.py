"""Run with `pytest`."""

from letter_count import LetterCount


def test_the_right_number_is_rewarded_and_nothing_else() -> None:
    task = LetterCount()
    for problem in task.problems("train", count=50):
        right = str(problem.answer)
        assert task.score(problem, f" {right}\n").reward == 1
        for wrong in ["", right + "0", f"{right} or 0", "\x00", "²", "9" * 100_000]:
            assert task.score(problem, wrong).reward == 0


def test_splits_are_disjoint_and_the_order_is_that_of_the_seed() -> None:
    task = LetterCount()
    train, test = task.problems("train"), task.problems("test")
    assert len({problem.id for problem in train + test}) == len(train) + len(test)
    assert task.problems("train", seed=0, count=5) == train[:5] != task.problems("train", seed=1, count=5)
