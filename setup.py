"""What pyproject.toml cannot say: a wheel holds copies of train.py and recipes/, for `lejepa`."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithProgram(build_py):
    """Copies the program into `lejepa_jax/program/files`, where `lejepa` looks for it."""

    def run(self):
        """Build the packages, then put the program beside them."""
        super().run()
        if self.editable_mode:
            return  # the clone itself has it
        folder = Path(self.build_lib, "lejepa_jax", "program", "files")
        (folder / "recipes").mkdir(parents=True, exist_ok=True)
        for path in (Path("train.py"), *Path("recipes").glob("*.py")):
            shutil.copyfile(path, folder / path)


setup(cmdclass={"build_py": BuildWithProgram})
