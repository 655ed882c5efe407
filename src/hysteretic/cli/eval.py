"""`hysteretic eval`: how good is a model, or a file of responses, on a task?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hysteretic.cli.options import (
    add_model,
    add_problems,
    add_task,
    check_least,
    output_path,
    page_path,
    task_and_problems,
)
from hysteretic.common.errors import UsageError, usage_errors
from hysteretic.evals.submission import RESPONSES, TRACKS, check_ids, write_submission
from hysteretic.tasks.task import RewardError

if TYPE_CHECKING:
    from hysteretic.evals.variants import Judged, Variant


def main(arguments: Sequence[str]) -> int:
    """Print metrics with intervals; write them to --output, and a page to --page."""
    options = build_parser().parse_args(arguments)
    page = _check(options)
    if page is not None:  # a missing package is reported before the model generates
        from hysteretic.evals.page import save_page
    task, problems = task_and_problems(options)
    from hysteretic.evals.summary import as_text, describe
    from hysteretic.evals.variants import of_file, variants
    from hysteretic.tasks.checked import is_labelled

    if options.submission is not None:
        check_ids(task, problems)
    if not is_labelled(task):
        _check_unlabelled(options)
    found = variants(task, problems, options.split, options.seed, options.plain_only or not is_labelled(task))
    with usage_errors(" Fix the reward function; no response was counted as 0.", RewardError):
        judged = _judged(found, options) if options.responses is None else of_file(found, Path(options.responses))
    if options.submission is not None:
        _submit(found[0], judged, options)
    if not is_labelled(task):
        return 0
    record = {
        **{key: getattr(options, key) for key in ("task", "model", "responses", "split", "seed")},
        **describe(found, judged),
    }
    print(as_text(record))
    if options.output is not None:
        try:
            Path(options.output).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"Cannot write {options.output} ({error.strerror}); give another --output.") from error
    if page is not None:
        save_page(record, found, judged, page)
        print(f"\nPage: {page}")
    return 0


def _submit(plain: Variant, judged: Judged, options: argparse.Namespace) -> None:
    """Write the sampled responses, or those of the file, to --submission. Raises UsageError."""
    by_decoding = judged.get(plain.name, {})
    rows = by_decoding.get("sampled", by_decoding.get("given", []))
    count = write_submission(Path(options.submission), options.submission_track, plain.task, rows)
    print(f"Submission: {options.submission}, {count} rows for {len(rows)} of {len(plain.problems)} problems.\n")


def _judged(found: Sequence[Variant], options: argparse.Namespace) -> Judged:
    """The responses of --model, scored. Raises UsageError, RewardError."""
    from hysteretic.evals.context import warn_context
    from hysteretic.evals.generate import respond
    from hysteretic.evals.variants import of_model
    from hysteretic.evals.vllm import responses_of
    from hysteretic.models import model_path
    from hysteretic.models.loading import load_model, warn_plain_prompts

    has_weights, longest, seed = not options.vllm, options.max_completion_length, options.seed
    template = options.chat_template_kwargs
    tokenizer, model = load_model(options.model, options.task, options.dtype, options.device, has_weights)
    warn_plain_prompts(tokenizer, found[0].problems[0], found[0].task, options.model)
    everything = [problem for variant in found for problem in variant.problems]
    count, sampled = len(found[0].problems), f" and {options.samples} sampled" if options.samples else ""
    print(f"Generating 1 greedy{sampled} responses to each of {count} problems …\n", flush=True)
    if has_weights:
        warn_context(model.config, options.model, tokenizer, everything, longest, template)
        how = {"max_new_tokens": longest, "seed": seed, "shows_progress": True, "template_options": template}
        respond_to = partial(respond, model, tokenizer, **how)
        return of_model(found, respond_to, options.samples)
    path = model_path(options.model, options.task)
    with responses_of(path, options.dtype, seed, tokenizer, everything, longest, template) as generate:
        return of_model(found, generate, options.samples)


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(
        prog="hysteretic eval",
        description="pass@1, greedy and sampled, with 95 % intervals over problems; where the task supports it, also "
        "majority votes, confusion matrices, and the same problems in a randomised variant.",
    )
    add_task(parser)
    add_model(parser, required=False)
    parser.add_argument(
        "--responses",
        metavar="FILE",
        help='evaluate these instead of a model: JSONL of {"problem": id, "response": text}, any number per problem, '
        "from either variant",
    )
    add_problems(parser, "test")
    parser.add_argument(
        "--samples",
        type=int,
        default=4,
        metavar="N",
        help="sampled responses per problem; 0 for none (default: 4)",
    )
    parser.add_argument("--plain-only", action="store_true", help="skip the task's randomised variant")
    parser.add_argument("--output", metavar="FILE", help="write the metrics to this JSON file")
    parser.add_argument(
        "--page", metavar="FILE", help="write an HTML page with metrics, confusion matrices and some wrong answers"
    )
    parser.add_argument(
        "--submission",
        metavar="FILE",
        help="write four sampled responses per problem as a CSV in the layout of the AI Telco Troubleshooting "
        "Challenge: one row per ID_1 to ID_4, for tasks whose data has ids, such as telelogs",
    )
    parser.add_argument(
        "--submission-track",
        choices=TRACKS,
        default=TRACKS[-1],
        metavar="NAME",
        help=f"the column of the responses in --submission: {', '.join(TRACKS)} (default: %(default)s)",
    )
    return parser


def _check_unlabelled(options: argparse.Namespace) -> None:
    """Raises UsageError for what needs right answers."""
    if options.submission is None or options.output is not None or options.page is not None:
        raise UsageError(
            "The problems have no answers (is_labelled is false), so nothing can be scored: give --submission FILE, "
            "without --output and --page."
        )


def _check(options: argparse.Namespace) -> Path | None:
    """The path of the page. Raises UsageError, before any work, for options that cannot work."""
    if (options.model is None) == (options.responses is None):
        raise UsageError("Give either --model NAME or --responses FILE.")
    if options.vllm and options.responses is not None:
        raise UsageError("--vllm generates with a model, but --responses gives the responses; leave one of them out.")
    limits = [
        ("problems", 1, "evaluate on at least 1"),
        ("samples", 0, "give 0 for greedy responses only (4 is the default)"),
        ("max_completion_length", 1, "give at least 1 token"),
    ]
    check_least(options, limits)
    if options.submission is not None and options.responses is None and options.samples < RESPONSES:
        raise UsageError(f"--samples is {options.samples}, but --submission needs {RESPONSES} responses per problem.")
    for flag in ("output", "submission"):
        if getattr(options, flag) is not None:
            output_path(getattr(options, flag), f"--{flag}")
    return None if options.page is None else page_path(options.page, "--page")
