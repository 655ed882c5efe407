"""Python imports this at start-up when its folder is on PYTHONPATH.

It loads `cpu_verl` before the modules that the printed command names, so that the command can be run as it was printed.
"""

import os

_modules = os.environ.get("VERL_USE_EXTERNAL_MODULES", "")
if _modules and "cpu_verl" not in _modules.split(","):
    os.environ["VERL_USE_EXTERNAL_MODULES"] = f"cpu_verl,{_modules}"
