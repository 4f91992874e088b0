"""Help comes at once: it loads none of what a command needs to run."""

import json
import subprocess
import sys

_CODE = """
import json
import sys

import click

from pipelines.cli import cli


def paths(command, path):
    yield path
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from paths(command.get_command(click.Context(command), name), [*path, name])


told = {}
for path in paths(cli, []):
    cli([*path, "--help"], standalone_mode=False)
    told[" ".join(path)] = [name for name in HEAVY if name in sys.modules]
print("\\n" + json.dumps(told))
"""
_HEAVY = ("torch", "transformers", "mteb", "ray", "zarr", "pyarrow", "datasets", "matplotlib")


def test_no_help_loads_what_is_large():
    code = f"HEAVY = {_HEAVY!r}\n{_CODE}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert {"eval", "run", "store verify", "corpus show", ""} <= set(told)
    assert not any(told.values()), told
