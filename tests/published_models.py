"""The published architectures of the recipes' models, as config.json files: the hub is out of reach of a test."""

import json

from hysteretic.sizing.published import CONFIGS


def write_config(folder, name):
    """A folder with the config.json of a model, and nothing else; its path as text."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIGS[name]))
    return str(folder)
