"""One fresh environment: a Python with Airflow and the wheel, and an Airflow home beside it."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.airflow_env import airflow_env
from dev.matrix.cells import Cell
from dev.matrix.commands import Commands

UV = Path(sys.executable).parent / "uv"


@dataclass
class Environment:
    """Where one row of the matrix runs.

    :param folder: holds all of it; what was there before goes.
    :param interpreter: the command of the Python.
    :param dags: folders of DAGs, whose files are copied.
    :param more: variables of Airflow's processes.
    """

    folder: Path
    cell: Cell
    interpreter: str
    commands: Commands
    dags: Sequence[Path]
    more: Mapping[str, str]

    def create(self) -> None:
        """Make the folders, and the virtual environment, in which there is nothing yet."""
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.home / "dags").mkdir(parents=True)
        for file in (file for folder in self.dags for file in folder.glob("*.py")):
            shutil.copy(file, self.home / "dags")
        self.elsewhere.mkdir()
        self.uv("venv", "--python", self.interpreter, str(self.venv))

    @property
    def home(self) -> Path:
        """Airflow's home."""
        return self.folder / "airflow"

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.folder / "venv"

    @property
    def elsewhere(self) -> Path:
        """An empty folder: a command that runs there cannot import the source tree."""
        return self.folder / "empty"

    @property
    def log(self) -> Path:
        """The output of all commands."""
        return self.folder / "log.txt"

    def uv(self, *arguments: str) -> str:
        """Run uv.

        :raises CommandFailed: it could not do it.
        """
        return self._run(str(UV), *arguments)

    def install(self, *what: str) -> None:
        """Install requirements within the cell's constraints."""
        pins = ["--constraint", str(self.cell.pins)]
        self.uv("pip", "install", "--quiet", "--python", str(self.venv), *pins, *what)

    def installed(self) -> set[str]:
        """Return name and version of each distribution, as ``name==version``."""
        listed = self.uv("pip", "list", "--quiet", "--format=freeze", "--python", str(self.venv))
        return set(listed.split())

    def python(self, *arguments: str) -> str:
        """Run the environment's Python, which sees nothing but what is installed in it.

        :raises CommandFailed: it ended with another code than 0.
        """
        return self._run(str(self.venv / "bin" / "python"), "-I", *arguments)

    def airflow(self, *arguments: str) -> str:
        """Run a command of Airflow's."""
        return self.python("-m", "airflow", *arguments)

    def _run(self, *command: str) -> str:
        more = {"AIRFLOW__CORE__EXECUTOR": self.cell.executor, **self.more}
        variables = airflow_env(self.home, self.home / "dags", 0, more)
        return self.commands.run(command, variables, self.elsewhere, self.log)
