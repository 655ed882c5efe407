"""What must hold for every plan: each row once, bounds kept, ranks in step, work spread, prompts together."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hysteretic.lean.plan import Budget, Row, plan

EXAMPLES = settings(max_examples=80, deadline=None, derandomize=True, database=None)


@st.composite
def batches(draw, min_rows=0):
    """Rows of a few prompts, in any order; the length of a prompt belongs to it."""
    prompt_tokens = draw(st.lists(st.integers(1, 60), min_size=1, max_size=6))
    pairs = st.tuples(st.integers(0, len(prompt_tokens) - 1), st.integers(0, 40))
    drawn = draw(st.lists(pairs, min_size=min_rows, max_size=24))
    return [Row(prompt, prompt_tokens[prompt], length) for prompt, length in drawn]


bounds = st.one_of(st.none(), st.integers(1, 10)), st.one_of(st.none(), st.integers(1, 250))
budgets = st.builds(Budget, *bounds, st.booleans())
free = Budget(None, None, is_packed=True)


def together(prompts, responses, prompt_tokens=30, response_tokens=50):
    return [Row(p, prompt_tokens, response_tokens) for p in range(prompts) for _ in range(responses)]


def counted(rows, is_packed):
    """Tokens, counted one by one: the stream's as a set of (whose, which), the rectangle's cell by cell."""
    if is_packed:
        stream = {("prompt", row.prompt, t) for row in rows for t in range(row.prompt_tokens - 1)}
        return len(stream | {("response", i, t) for i, row in enumerate(rows) for t in range(row.response_tokens)})
    width = max([row.prompt_tokens for row in rows], default=0) + max([row.response_tokens for row in rows], default=0)
    return len([(i, t) for i in range(len(rows)) for t in range(width)])


def loads(rows, shares):
    """Tokens of the streams of every rank."""
    return [sum(counted([rows[i] for i in micro_batch], True) for micro_batch in share) for share in shares]


def without_parting(rows, ranks):
    """The busiest rank's tokens when whole prompts go, longest first, to the rank with the least."""
    groups = {row.prompt: [other for other in rows if other.prompt == row.prompt] for row in rows}
    work = [0] * ranks
    for tokens in sorted((counted(group, True) for group in groups.values()), reverse=True):
        work[work.index(min(work))] += tokens
    return max(work)


@EXAMPLES
@given(batches(), st.integers(1, 4), budgets)
def test_every_row_is_in_exactly_one_micro_batch(rows, ranks, budget):
    """A row left out loses its gradient, a row taken twice counts double."""
    shares = plan(rows, ranks, budget)
    planned = [i for share in shares for micro_batch in share for i in micro_batch]
    assert Counter(planned) == Counter(range(len(rows)))


@EXAMPLES
@given(batches(), st.integers(1, 4), budgets)
def test_ranks_take_as_many_micro_batches(rows, ranks, budget):
    """Ranks wait for each other at every micro-batch; one without a counterpart would wait forever."""
    shares = plan(rows, ranks, budget)
    assert len(shares) == ranks
    assert len({len(share) for share in shares}) == 1


@EXAMPLES
@given(batches(), st.integers(1, 4), budgets)
def test_micro_batches_keep_the_bounds(rows, ranks, budget):
    """They are there for memory's sake; only a row that is too long by itself may break one, and then alone."""
    for share in plan(rows, ranks, budget):
        for micro_batch in share:
            if len(micro_batch) > 1:
                assert budget.max_rows is None or len(micro_batch) <= budget.max_rows
                tokens = counted([rows[i] for i in micro_batch], budget.is_packed)
                assert budget.max_tokens is None or tokens <= budget.max_tokens


@EXAMPLES
@given(batches(), st.integers(1, 4), budgets)
def test_a_plan_depends_on_the_rows_alone(rows, ranks, budget):
    """Every rank plans for itself; equal rows in other objects must give equal plans, however prompts are numbered."""
    renumbered = [Row(1000 - row.prompt, row.prompt_tokens, row.response_tokens) for row in rows]
    assert plan(rows, ranks, budget) == plan(list(rows), ranks, budget) == plan(renumbered, ranks, budget)


@EXAMPLES
@given(batches(), st.booleans())
def test_a_budget_counts_the_tokens_that_go_through_the_model(rows, is_packed):
    """A bound that counts something else bounds nothing."""
    assert Budget(None, None, is_packed).tokens(rows) == counted(rows, is_packed)


@EXAMPLES
@given(batches(min_rows=1))
def test_one_unbounded_rank_reads_everything_at_once(rows):
    """Nothing asks for parting, so every prompt is read once."""
    ((micro_batch,),) = plan(rows, 1, free)
    assert sorted(micro_batch) == list(range(len(rows)))


@EXAMPLES
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(1, 50))
def test_prompts_that_divide_evenly_stay_whole(ranks, prompts_a_rank, responses, prompt_tokens):
    """Parting them would read prompts twice and spread the work no better."""
    rows = together(ranks * prompts_a_rank, responses, prompt_tokens)
    for share in plan(rows, ranks, free):
        (micro_batch,) = share
        assert Counter(rows[i].prompt for i in micro_batch) == dict.fromkeys(
            {rows[i].prompt for i in micro_batch}, responses
        )


@EXAMPLES
@given(batches(min_rows=1), st.integers(2, 4))
def test_prompts_are_parted_only_to_relieve_the_busiest_rank(rows, ranks):
    """A parted prompt is read twice: that must buy a shorter step than whole prompts, longest first, would take."""
    shares = plan(rows, ranks, free)
    readers = {
        row.prompt: {r for r, share in enumerate(shares) for b in share for i in b if rows[i].prompt == row.prompt}
        for row in rows
    }
    if any(len(ranks_of) > 1 for ranks_of in readers.values()):
        assert max(loads(rows, shares)) < without_parting(rows, ranks)
    else:
        assert max(loads(rows, shares)) <= without_parting(rows, ranks)


@EXAMPLES
@given(batches(min_rows=1), st.integers(2, 4))
def test_the_busiest_rank_has_at_most_the_mean_and_a_prompt_more(rows, ranks):
    """Before its last unit came, the rank that ends busiest was the idlest, so at most at the mean of the other units:
    max <= (all - unit) / ranks + unit, with a prompt and its responses as unit. Halves are kept when they lower it."""
    unit = max(counted([other for other in rows if other.prompt == row.prompt], True) for row in rows)
    assert max(loads(rows, plan(rows, ranks, free))) <= (counted(rows, True) - unit) / ranks + unit + 1e-9


@EXAMPLES
@given(batches(min_rows=1), st.integers(2, 4), st.integers(1, 6))
def test_padded_rows_are_spread_to_within_the_longest(rows, ranks, max_rows):
    """The same bound with rows as units, which nothing keeps together."""
    shares = plan(rows, ranks, Budget(max_rows, None, is_packed=False))
    lengths = [row.prompt_tokens + row.response_tokens for row in rows]
    work = [sum(lengths[i] for b in share for i in b) for share in shares]
    assert max(work) <= (sum(lengths) - max(lengths)) / ranks + max(lengths) + 1e-9


@pytest.mark.parametrize(
    ("prompts", "responses", "ranks"),
    [
        (1, 16, 2),
        (3, 16, 2),
        (5, 16, 4),
        (1, 16, 3),
        (1, 16, 4),
        (2, 16, 3),
        (2, 16, 4),
        (3, 16, 4),
    ],
)
def test_few_prompts_are_parted_over_many_ranks(prompts, responses, ranks):
    """With fewer prompts than ranks, or not a multiple of them, ranks would idle: prompts short beside their responses
    are parted until the busiest rank is within one response, and one reading of each prompt, of the mean."""
    rows = together(prompts, responses, prompt_tokens=10, response_tokens=50)
    mean = counted(rows, True) / ranks
    assert max(loads(rows, plan(rows, ranks, free))) <= mean + 50 + 9 * prompts


@EXAMPLES
@given(batches(min_rows=1), st.integers(1, 6))
def test_padded_rows_go_by_length_into_full_micro_batches(rows, max_rows):
    """Rows of like length waste least padding, and no micro-batch more than needed is run."""
    (share,) = plan(rows, 1, Budget(max_rows, None, is_packed=False))
    lengths = [[rows[i].prompt_tokens + rows[i].response_tokens for i in micro_batch] for micro_batch in share]
    assert len(share) == -(-len(rows) // max_rows)
    assert all(min(longer) >= max(shorter) for longer, shorter in pairwise(lengths))


def test_streams_of_a_rank_are_made_even():
    """First-fit leaves the last one short; time and memory go by the largest."""
    rows = [Row(i, 1, 10) for i in range(10)]
    (share,) = plan(rows, 1, Budget(None, 60, is_packed=True))
    assert [len(micro_batch) for micro_batch in share] == [5, 5]


def test_a_bound_parts_the_responses_to_a_prompt():
    """Then, and in as few pieces as hold them, its prompt is read more than once."""
    (share,) = plan(together(1, 6, prompt_tokens=11, response_tokens=20), 1, Budget(None, 50, is_packed=True))
    assert sorted(map(len, share)) == [2, 2, 2]


def test_a_row_too_long_goes_alone():
    """It cannot be cut, and skipping it would bias the batch towards short responses."""
    rows = [Row(0, 5, 10), Row(0, 5, 500), Row(1, 5, 10)]
    for is_packed in (True, False):
        (share,) = plan(rows, 1, Budget(None, 40, is_packed))
        assert sorted(map(sorted, share)) == [[0, 2], [1]]


def test_no_rows_need_no_micro_batch():
    """A batch without a signal is an empty plan, not an error."""
    assert plan([], 3, free) == [[], [], []]


@pytest.mark.parametrize("name", ["max_rows", "max_tokens"])
@pytest.mark.parametrize("bound", [0, -3])
def test_bounds_below_one_are_refused(name, bound):
    """No row would ever fit, and an oversized one would be taken for the exception."""
    with pytest.raises(ValueError, match=f"{name} is {bound}"):
        Budget(**{"max_rows": None, "max_tokens": None, "is_packed": True, name: bound})


def test_a_stream_is_read_where_it_saves_tokens_or_is_needed_to_fit():
    """Two rows of two prompts save little, two of one prompt much; a bound below the rectangle leaves no choice."""
    apart, together = [Row(0, 10, 90), Row(1, 10, 90)], [Row(0, 60, 40), Row(0, 60, 40)]
    free, packed = Budget(None, None, is_packed=False), Budget(None, None, is_packed=True)
    assert not free.reads_stream(together)
    assert packed.reads_stream(together)
    assert not packed.reads_stream(apart)
    assert Budget(None, 199, is_packed=True).reads_stream(apart)
    assert [packed.forwarded(apart), packed.forwarded(together)] == [200, 139]
