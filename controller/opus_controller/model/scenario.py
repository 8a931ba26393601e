"""A scenario that has been read, with the topology it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opus_controller.model.document import Document, load_document
from opus_controller.model.errors import ScenarioError
from opus_controller.model.explain import read_form
from opus_controller.model.fields import listed, suggestion
from opus_controller.model.scenario_form import ScenarioForm
from opus_controller.model.settings import Setting, applied
from opus_controller.model.topology import Topology, load_topology
from opus_controller.model.units import shown

_PACKAGE: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Scenario:
    """Read and well-formed; whether it fits its topology is checked by `compile_plan`."""

    document: Document
    form: ScenarioForm
    topology: Topology

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it was read from: its own file, its topology's, matrices and traces. No two alike."""
        traces = [self.document.path.parent / churn.trace.file for churn in self.form.churn if churn.trace is not None]
        return tuple(dict.fromkeys((self.document.path, *self.topology.files, *traces)))


def load_scenario(path: Path, settings: Sequence[Setting] = ()) -> Scenario:
    """Read a scenario and its topology; `settings` stand in for what the file says.

    Raises ScenarioError: one line with file, line, key and what is allowed.
    """
    document = applied(load_document(path), settings)
    form = read_form(document, ScenarioForm)
    return Scenario(document, form, load_topology(_topology_path(document, form.topology)))


def shipped(kind: str) -> dict[str, Path]:
    """Files that come with Opus, by name; `kind` is topologies or scenarios. In a checkout they are at its root, in an
    installed wheel inside the package."""
    for folder in (_PACKAGE / kind, _PACKAGE.parent.parent / kind):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}


def find(kind: str, given: str) -> Path:
    """The path of a file named on the command line: itself if there is one, else what comes with Opus under that name.

    Raises ScenarioError if there is neither.
    """
    path, known = Path(given), shipped(kind)
    if path.exists():
        return path
    if given in known:
        return known[given]
    hint = suggestion(given, list(known)) if path.parent == Path() else ""
    raise ScenarioError(f"{given}: there is no such file; {hint}allowed: a path, or {listed(list(known))}")


def _topology_path(document: Document, given: str) -> Path:
    beside = document.path.parent / given
    known = shipped("topologies")
    if beside.is_file():
        return beside
    if given in known:
        return known[given]
    hint = suggestion(given, list(known))
    raise document.error(
        ("topology",),
        f"there is no file {shown(given)} beside the scenario; {hint}allowed: a path from there, or {listed(list(known))}",
    )
