"""A YAML file says one thing: a key that stands twice is refused, wherever settings are read."""

import pytest
from compare.made_up_runs import comparison_folder

from hysteretic.cli import main
from hysteretic.common.errors import UsageError
from hysteretic.config.recipes import read_recipe, read_yaml


@pytest.mark.parametrize("command", ["train", "compare"])
@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("max_steps: 8\nalgorithm: hpo\nmax_steps: 80\n", "'max_steps'", (1, 3)),
        ("# a comment\nseeds: 4\n'seeds': 8\n", "'seeds'", (2, 3)),
        ("arms:\n  mine: {algorithm: grpo}\n  other: {algorithm: hpo}\n  mine: {algorithm: hpo}\n", "'mine'", (2, 4)),
        ("arms:\n  mine: {algorithm: hpo, alpha: 0.1, alpha: 0.2}\n", "'alpha'", (2, 2)),
        ("task_options:\n- largest: 9\n  largest: 30\n", "'largest'", (2, 3)),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_lines(command, text, key, lines, tmp_path, capsys):
    """PyYAML would take the last one and say nothing."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert main([command, "--config", str(path), "--output", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert f"{path} sets {key} twice" in said
    assert f"in line {lines[0]} and in line {lines[1]}" in said
    assert not (tmp_path / "out").exists()


def test_one_key_in_two_mappings_is_no_repetition(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("arms:\n  a: {algorithm: hpo, alpha: 0.1}\n  b: {algorithm: hpo, alpha: 0.2}\n1: x\n'1': y\n")
    content = read_recipe(str(path))
    assert content["arms"]["b"] == {"algorithm": "hpo", "alpha": 0.2}
    assert (content[1], content["1"]) == ("x", "y")


def test_what_a_merge_key_brings_may_be_overruled(tmp_path):
    """Also where the mapping it comes from has a merge key of its own, deeper than where it is used."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        "shared: &shared {algorithm: hpo, alpha: 0.1}\n"
        "deep: {one: &one {<<: *shared, alpha: 0.2}}\n"
        "arms: {two: {<<: *one, alpha: 0.3}, three: *one}\n"
    )
    arms = read_recipe(str(path))["arms"]
    assert arms == {"two": {"algorithm": "hpo", "alpha": 0.3}, "three": {"algorithm": "hpo", "alpha": 0.2}}


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    for content in (b"a: [", b"\xff\xfe\x00a", b"a: \x00"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="is not valid YAML"):
            read_yaml(path)
    with pytest.raises(UsageError, match="Cannot read"):
        read_yaml(tmp_path)
    path.write_text("# nothing\n")
    assert read_yaml(path) is None
    with pytest.raises(UsageError, match="NoneType"):
        read_recipe(str(path))


def test_a_comparison_kept_in_a_folder_is_read_the_same_way(tmp_path):
    """Edited by hand, it would otherwise be another comparison than it looks."""
    folder = comparison_folder(tmp_path / "c", {"grpo": [[0.1]]})
    folder.comparison.write_text(folder.comparison.read_text() + "seeds: [0, 1]\n")
    with pytest.raises(UsageError, match="'seeds' twice"):
        folder.read()
