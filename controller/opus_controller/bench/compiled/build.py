"""build/compiled: both packages laid out as in a wheel, with extension modules beside the sources of those that are compiled.

build/compiled/sources              of what it was compiled: a digest; written last
build/compiled/opus_node, ...       to be put before all else on the path of a new process (`first_on_path`)
build/compiled.log                  what mypyc and the compiler said

Nothing finds it by itself: `opus` runs what it was installed from, unless somebody puts it there.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import opus_node
from opus_node.sizes import written

import opus_controller
from opus_controller.bench.compiled.rewrite import rewritten
from opus_controller.model.errors import PlatformError
from opus_controller.model.sources import Source, digest_of, files_of

Say = Callable[[str], None]

FLAGS = "-g0 -fvisibility=hidden"
"""Nobody steps through it; calls from one module to another need not go through a table."""
PACKAGES = (opus_node, opus_controller)
COMPILED = (
    "opus_node/core/",
    *(f"opus_node/{name}.py" for name in ("clock", "folds", "sizes", "workload")),
    "opus_controller/runtimes/sim/",
    "opus_controller/bench/scale/small.py",
)
"""Whole packages and modules ..."""
INTERPRETED = ("opus_node/core/quick.py", "opus_controller/runtimes/sim/runtime.py", "opus_controller/runtimes/sim/trace.py")
"""... but these: made of what dataclasses look like at run time, or of coroutines; none of them is met in each step. Nor are
packages' own files, which are doc strings."""
MATTER = (
    *("opus_node/", *COMPILED),
    *(f"opus_controller/{name}/" for name in ("model", "engine", "runtimes/sim", "bench/compiled")),
)
"""On which they depend: themselves, and those whose types they take for granted."""
VALUES = ("opus_node/core/events.py", "opus_node/core/messages.py")
"""Modules whose records hold values only."""
SIZES = "opus_node/sizes.py"
MYPY = "[mypy]\nexplicit_package_bases = True\nfollow_imports_for_stubs = True\nignore_missing_imports = True\n"
SETUP = """
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from mypyc.build import mypycify
from mypyc.codegen import emitclass
from setuptools import setup
from setuptools._distutils.ccompiler import CCompiler

def together(self, sources, output_dir=None, macros=None, include_dirs=None, debug=0, extra_preargs=None, extra_postargs=None,
             depends=None):
    # as CCompiler.compile, but as many at once as there are processors
    macros, objects, postargs, preargs, build = self._setup_compile(
        output_dir, macros, include_dirs, sources, depends, extra_postargs)
    flags = self._get_cc_args(preargs, debug, extra_preargs)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(lambda one: self._compile(one, *build[one], flags, postargs, preargs) if one in build else None, objects))
    return objects

def made(cls, init, emitter):
    # `__new__` of what can be pickled leaves `__init__` to Python, which mypyc 2.4 then has do nothing
    name = f"{{cls.name_prefix(emitter.names)}}_init"
    call = f"return {{emitter.wrapper_function_call(init.decl)}}(self, args, kwds) != NULL ? 0 : -1;"
    emitter.emit_lines("static int", f"{{name}}(PyObject *self, PyObject *args, PyObject *kwds)", "{{")
    emitter.emit_lines(call if cls.is_serializable() or cls.builtin_base else "return 0;", "}}")
    return name

CCompiler.compile = together
emitclass.SLOT_DEFS["__init__"] = ("tp_init", made)
setup(name="compiled", ext_modules=mypycify({arguments!r}, opt_level="2", debug_level="0", multi_file=True))
sys.stdout.flush()
os._exit(0)  # not to take apart, object by object, all that mypy knows
"""


def place() -> Path:
    """Where it is to be. Raises PlatformError if this is no checkout."""
    root = Path(opus_controller.__file__).parents[2]
    if not (root / "pyproject.toml").is_file():
        raise PlatformError(
            "compiled modules are built in a checkout of Opus only, and this one is installed; leave out --compiled"
        )
    return root / "build" / "compiled"


def built(say: Say) -> Path:
    """Its directory, made now unless it is there. Raises PlatformError where it cannot be made."""
    target = place()
    mark, digest = target / "sources", digest_of(_matter(), f"{sys.implementation.cache_tag} {FLAGS}")
    if not mark.is_file() or mark.read_text() != digest:
        _build(digest, target, say)
    _lay_out(target)
    return target


def _build(digest: str, target: Path, say: Say) -> None:
    check_tools()
    chosen = [name for _, name in _matter() if _is_compiled(name)]
    say(f"compiling {len(chosen)} modules, which takes some minutes; what the compiler says is in {target.with_suffix('.log')}")
    began = time.monotonic()
    target.parent.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix="compiling-") as temporary:
        made = Path(temporary) / "made"
        _compile(chosen, Path(temporary) / "sources", made, target.with_suffix(".log"))
        (made / "opus_controller").mkdir(exist_ok=True)
        for data in ("topologies", "scenarios"):
            (made / "opus_controller" / data).symlink_to(target.parents[1] / data, target_is_directory=True)
        (made / "sources").write_text(digest)
        if target.exists():
            os.rename(target, Path(temporary) / "former")
        os.rename(made, target)
    say(f"compiled in {time.monotonic() - began:.0f} s")


@contextmanager
def first_on_path(directory: Path | None) -> Iterator[None]:
    """A process that is spawned meanwhile imports from there first; this one has imported all it needs. None: as always."""
    if directory is None:
        yield
        return
    sys.path.insert(0, str(directory))
    try:
        yield
    finally:
        sys.path.remove(str(directory))


def check_tools() -> None:
    """Raises PlatformError for what compiling takes and is not there."""
    missing = [name for name in ("mypyc", "setuptools") if find_spec(name) is None]
    if missing:
        raise PlatformError(f"{' and '.join(missing)} not found, which compiling takes; install the development tools: make dev")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        raise PlatformError(f"there is no C compiler ({compiler}); install one: apt-get install gcc libc6-dev")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        raise PlatformError("Python's headers are not there, which compiling takes; install them: apt-get install python3-dev")


def _matter() -> list[Source]:
    return [source for source in files_of(package.__name__ for package in PACKAGES) if source[1].startswith(MATTER)]


def _is_compiled(name: str) -> bool:
    return name.startswith(COMPILED) and name not in INTERPRETED and not name.endswith("__init__.py")


def _lay_out(into: Path) -> None:
    """All that belongs to the packages, as it is now."""
    for package in PACKAGES:
        source = Path(package.__path__[0])
        shutil.copytree(source, into / source.name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)


def _compile(chosen: list[str], sources: Path, into: Path, log: Path) -> None:
    _lay_out(sources)
    for name in chosen:
        text = (sources / name).read_text()
        (sources / name).write_text(rewritten(text, written() if name == SIZES else "", values=name in VALUES))
    (sources / "mypy.ini").write_text(MYPY)
    (sources / "setup.py").write_text(SETUP.format(arguments=["--config-file", "mypy.ini", *chosen]))
    order = [sys.executable, "setup.py", "build_ext", "--build-lib", str(into), "--build-temp", "temporary"]
    env = {**os.environ, "CFLAGS": f"{FLAGS} {os.environ.get('CFLAGS', '')}"}
    with log.open("w") as told:
        status = subprocess.run(order, cwd=sources, env=env, stdout=told, stderr=subprocess.STDOUT, check=False).returncode
    if status:
        raise PlatformError(f"the modules could not be compiled; see {log}")
