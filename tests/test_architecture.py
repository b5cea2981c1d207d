"""Who may import whom, how large a file is, what a public function looks like."""

import ast
import inspect
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import twolayer

SOURCE = Path(twolayer.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

# From the ground up; a module may import from its own floor's package and from lower floors.
FLOORS = (
    {"numerics"},
    {
        "activations", "free_energy", "inner_products", "inputs", "kinked_curvature", "language",
        "losses", "networks", "outcomes", "pair_kernels", "risks", "sparse_coding", "targets",
        "tasks", "teacher_student",
    },
    {"datasets"},
    {"dynamics", "theory"},
    {
        "baselines", "citations", "compare", "data_files", "diagnose", "engines", "estimators",
        "experiments", "grids", "report", "reproduce", "results", "store", "study_view", "sweep",
        "trained",
    },
    {"cli", "cli_data", "cli_guard", "cli_store", "cli_studies"},
    {"__main__"},
)  # fmt: skip
# On one floor, who may import whom.
SIDEWAYS = {
    ("citations", "experiments"), ("citations", "results"), ("cli", "cli_data"),
    ("cli", "cli_guard"), ("cli", "cli_store"), ("cli", "cli_studies"),
    ("cli_studies", "cli_guard"), ("cli_studies", "cli_store"), ("data_files", "experiments"),
    ("diagnose", "estimators"),
    ("diagnose", "experiments"), ("experiments", "baselines"), ("experiments", "compare"),
    ("experiments", "results"), ("grids", "experiments"), ("grids", "store"),
    ("report", "citations"), ("report", "diagnose"), ("report", "experiments"),
    ("report", "results"), ("reproduce", "engines"), ("reproduce", "experiments"),
    ("reproduce", "report"), ("reproduce", "results"), ("study_view", "experiments"),
    ("study_view", "results"), ("study_view", "store"), ("sweep", "engines"),
    ("sweep", "experiments"), ("sweep", "grids"), ("sweep", "results"), ("sweep", "store"),
    ("sweep", "study_view"),
}  # fmt: skip
# The polynomial language and the facts stand on exact polynomials, which know no noun of ours.
NOUNS = FLOORS[1]


def part(path):
    relative = path.relative_to(SOURCE).with_suffix("")
    return relative.parts[0]


@cache
def imports(path, *, typing_only=False):
    """The twolayer parts and outside packages that a file imports, at any depth of nesting."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    if not typing_only:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                skipped |= {id(inner) for inner in ast.walk(node)}
    names = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names.append(node.module)
    return names


def inside(names):
    return {name.split(".")[1] for name in names if name.startswith("twolayer.")}


def test_no_module_hides_a_public_function():
    """``tl.compare`` stays the function after its module, of the same name, was imported."""
    program = (
        "import twolayer.experiments.subspace_sparse, twolayer.compare, twolayer as tl\n"
        "assert all(callable(getattr(tl, name)) for name in 2 * tl.__all__)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_to_lower_floors(path):
    """No module imports from a higher floor, nor sideways where it is not foreseen."""
    own = part(path)
    if own == "__init__":
        return
    floor = next(k for k, names in enumerate(FLOORS) if own in names)
    for other in inside(imports(path)):
        if other == own:
            continue
        level = next(k for k, names in enumerate(FLOORS) if other in names)
        sideways = level == floor and (own in NOUNS or (own, other) in SIDEWAYS)
        assert level < floor or sideways, f"{own} imports {other}"


def test_theory_and_dynamics_never_meet():
    """Theory imports no dynamics and dynamics no theory, not even for type checkers."""
    for own, other in (("theory", "dynamics"), ("dynamics", "theory")):
        for path in (SOURCE / own).rglob("*.py"):
            assert other not in inside(imports(path, typing_only=True)), path


@pytest.mark.parametrize(
    ("package", "homes"),
    [
        ("matplotlib", {"report/figures.py"}),
        ("plotly", {"report/interactive.py"}),
        ("jinja2", {"report/diagnosis.py", "report/html.py"}),
        ("rich", {"report/tables.py"}),
        ("typer", {f"cli{part}.py" for part in ("", "_data", "_guard", "_store", "_studies")}),
        ("xarray", {"results.py", "study_view.py"}),
        ("distributed", {"engines.py"}),
        ("submitit", {"engines.py"}),
        ("diffrax", {"numerics/ode.py"}),
        (
            "sklearn",
            {"baselines", "datasets/digits.py", "datasets/fashion.py", "diagnose", "estimators"},
        ),
    ],
)
def test_each_edge_package_has_one_home(package, homes):
    """Packages for the edges are imported in one place each: a file, or a package of ours."""
    found = {
        part(path) if part(path) in homes else str(path.relative_to(SOURCE))
        for path in FILES
        if any(name.split(".")[0] == package for name in imports(path))
    }
    assert found == homes


def test_only_public_names_of_jax():
    """Nothing reaches into JAX's private or deprecated modules."""
    for path in FILES:
        for name in imports(path):
            assert not name.startswith(("jax._", "jax.core", "jax.interpreters", "jaxlib")), path


def test_the_exact_part_imports_no_jax():
    """Certificates load without JAX or NumPy, experiments and commands without JAX."""
    program = (
        "import sys, twolayer as tl\n"
        "tl.verify(tl.certify('z1 + z1*z2', activation='gelu'))\n"
        "loaded = {'jax', 'equinox', 'numpy', 'scipy'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "import twolayer.experiments, twolayer.cli\n"
        "loaded = {'jax', 'equinox', 'matplotlib', 'rich'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()


def test_importing_changes_no_global_setting():
    """Importing everything leaves JAX's precision as it was."""
    program = (
        "import jax, twolayer as tl\n"
        "before = jax.config.jax_enable_x64\n"
        "[getattr(tl, name) for name in tl.__all__]\n"
        "tl.mean_field_flow('z1', activation='cos_sin', times=[0, 1])\n"
        "assert jax.config.jax_enable_x64 == before == False"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_are_short(path):
    """No source file has more than 400 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("name", twolayer.__all__)
def test_public_names(name):
    """Every public name is documented, and every public function takes at most 8 parameters."""
    value = getattr(twolayer, name)
    assert value.__doc__
    if inspect.isfunction(value):
        assert len(inspect.signature(value).parameters) <= 8
