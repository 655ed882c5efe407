"""What other rooms need to know about a setting stands beside it, and the short help is made from it."""

from dataclasses import fields

import pytest

from hysteretic.config import help_pages, settings
from hysteretic.config.facts import OWN, TRL, facts, named, verl_defaults
from hysteretic.config.run import RunConfig
from hysteretic.trl import HPOConfig


def own_of_hpo_config():
    return set(HPOConfig.__annotations__) & {each.name for each in fields(HPOConfig)}


def test_every_setting_of_ours_states_how_verl_takes_it():
    """A new field without facts would be refused by `launch verl` and missing from `train --help`."""
    assert set(OWN) == own_of_hpo_config(), "each field of HPOConfig needs its facts: OWN in config/facts.py"
    assert all(found.verl is not None for found in OWN.values())
    for each in fields(RunConfig):
        assert each.metadata["help"]
        assert each.metadata["facts"].verl is not None, (
            f"setting(verl=...) of {each.name}: True, or why it has no effect"
        )
        assert each.metadata["facts"].group, f"setting(group=...) of {each.name}: one of config/help_pages.GROUPS"


def test_every_name_in_the_table_is_a_setting():
    """A field that TRL renames must not leave its facts behind."""
    assert set(facts()) <= {*settings.setting_names(), "config"}
    assert set(verl_defaults()) <= named(lambda found: found.verl is True)
    assert not set(TRL) & {*OWN, *(each.name for each in fields(RunConfig))}
    assert {found.group for found in facts().values() if found.group} == set(help_pages.GROUPS)


def test_what_a_resumed_run_may_change():
    """Length, checkpoints, reports, and how failures are handled: nothing that an update depends on."""
    assert named(lambda found: found.resume) == {
        *("max_steps", "save_steps", "save_total_limit", "report_to", "disable_tqdm", "stop_seconds"),
        *("max_bad_updates", "max_unscored", "reward_processes", "reward_seconds", "reward_gib"),
    }


def test_the_short_help_has_our_flags_and_those_that_matter(capsys, monkeypatch):
    """In about two screens."""
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as stop:
        settings.parse(["--help"])
    assert stop.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    shown = {word[2:] for line in lines for word in line.split()[:1] if word.startswith("--")}
    assert own_of_hpo_config() - {"loss_type", "importance_sampling_level"} <= shown  # these follow the algorithm
    assert {each.name for each in fields(RunConfig)} <= shown
    assert {"learning_rate", "max_steps", "num_generations", "temperature", "use_peft", "use_vllm"} <= shown
    assert len(lines) <= 100
    assert max(map(len, lines)) <= 120


def test_all_flags_are_under_help_all(capsys):
    with pytest.raises(SystemExit) as stop:
        settings.parse(["--help-all"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert all(f"--{name}" in printed for name in settings.setting_names())
