"""What mypyc is given in place of our sources means the same, and a machine that cannot compile says so."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import get_type_hints

import pytest
from opus_controller.bench.compiled import build
from opus_controller.bench.compiled.rewrite import rewritten
from opus_controller.model.errors import PlatformError

SOURCE = '''
"""A module like ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from opus_node.core.quick import quicken

Name = str


@dataclass(frozen=True, slots=True)
class Part:
    name: Name
    size: int = 3
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Of parts."""

    kind: ClassVar[str] = "whole"
    parts: tuple[Part, ...]
    share: float = 0.5


@dataclass(frozen=True, slots=True)
class Nothing:
    """To be said."""


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    count: int
    writer: Name


@dataclass(slots=True, eq=False)
class Kept:
    name: Name
    table: dict[str, int] = field(default_factory=dict)


quicken(Part, Whole)
'''


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    """As it is, and rewritten."""
    made = []
    for name, source in (("as_it_is", SOURCE), ("as_rewritten", rewritten(SOURCE))):
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(source, name, "exec"), module.__dict__)
        made.append(module)
    return made[0], made[1]


def test_rewritten_records_are_made_compared_and_shown_as_before(modules: tuple[ModuleType, ModuleType]) -> None:
    for module in modules:
        part, whole, tag = module.Part, module.Whole, module.Tag
        assert part("a") == part("a", 3) != part("a", 4)
        assert part("a") != whole((part("a"),))
        assert hash(part("a")) == hash(("a", 3))
        assert len({whole((part("a"),)), whole((part("a"),), 0.5), module.Nothing(), module.Nothing()}) == 2
        assert replace(whole(()), share=1.0) == whole((), 1.0)
        assert max(tag(1, "b"), tag(2, "a"), tag(1, "c")) == tag(2, "a")
        assert tag(1, "b") <= tag(1, "b") < tag(1, "c")
        assert sorted([tag(1, "b"), tag(0, "z")])[0].count == 0
        assert repr(part("a")) == "Part(name='a', size=3)"
        assert module.Kept("a").table == {}
        assert module.Kept("a") != module.Kept("a")


def test_fields_class_variables_and_annotations_stay(modules: tuple[ModuleType, ModuleType]) -> None:
    for module in modules:
        assert [one.name for one in fields(module.Whole)] == ["parts", "share"]
        assert module.Whole.kind == "whole"
        (part,) = {one for one in get_type_hints(module.Whole)["parts"].__args__ if one is not Ellipsis}
        assert part is module.Part
        assert get_type_hints(module.Kept) == {"name": str, "table": dict[str, int]}


def test_lines_stay_in_their_order() -> None:
    lines = rewritten(SOURCE).splitlines()
    assert [line for line in lines if line.startswith("class ")] == [
        line for line in SOURCE.splitlines() if line.startswith("class ")
    ]
    assert not [line for line in lines if line.startswith("quicken")]


def test_no_compiler_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "place", lambda: tmp_path / "build" / "compiled")
    monkeypatch.setenv("CC", "no-such-compiler -O1")
    with pytest.raises(PlatformError, match=r"no C compiler \(no-such-compiler\).*apt-get install") as found:
        build.built(print)
    assert "\n" not in str(found.value)
    assert not (tmp_path / "build").exists()


def test_a_spawned_process_is_told_of_the_directory_and_no_other(tmp_path: Path) -> None:
    before = list(sys.path)
    with build.first_on_path(tmp_path):
        assert sys.path == [str(tmp_path), *before]
    with build.first_on_path(None):
        assert sys.path == before
    assert sys.path == before
