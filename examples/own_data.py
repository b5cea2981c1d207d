"""Whether learned features beat a kernel on a table of your own, and which they are.

Without arguments it makes a table as tables are, with words, gaps and columns that don't matter.

    python examples/own_data.py
    python examples/own_data.py measurements.csv yield
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import twolayer as tl
from twolayer.data_files import read_table
from twolayer.report.diagnosis import write_diagnosis

METHODS = ("linear", "rbf kernel", "tangent kernel", "one step", "layer-wise")


def orchard(path: Path, rows: int = 2000, columns: int = 20) -> None:
    """Fruit ripens where water and light are both high or both low; nothing else matters."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((rows, columns))
    ripe = np.where(x[:, 0] * x[:, 1] > 0.0, "ripe", "green")
    names = ["water", "light", *(f"sensor {k}" for k in range(1, columns - 1)), "soil", "fruit"]
    soil = generator.choice(["clay", "sand"], rows)
    lines = [",".join(names)]
    for k, numbers in enumerate(x):
        cells = [f"{number:.5f}" for number in numbers]
        if k % 50 == 0:
            cells[-1] = ""  # a sensor that failed
        lines.append(",".join([*cells, soil[k], ripe[k]]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(file: str = "", label: str = "fruit", folder: str = "twolayer-results") -> tl.Diagnosis:
    """Diagnose the file, write a page about it, and draw the errors."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    source = Path(file) if file else Path(folder) / "orchard.csv"
    if not file:
        orchard(source)
    table = read_table(source, label, most=3000)
    found = tl.diagnose(table.x, table.y, methods=METHODS)
    print(found)
    if found.directions is not None:
        weights = np.linalg.norm(found.directions.vectors[:2], axis=0)
        parts = []
        for k in np.argsort(-weights)[:4]:
            column = table.names[int(found.names[k].removeprefix("x")) - 1]
            parts.append(f"{column} {weights[k]:.2f}")
        print(f"The two leading directions read: {', '.join(parts)} (length of the weights).")
    page = write_diagnosis(found, Path(folder) / "own-data.html", source.name)
    print(f"Page: {page}")
    _draw(found).savefig(Path(folder) / "own-data.png", dpi=150)
    return found


def _draw(found: tl.Diagnosis) -> Figure:
    """Errors of all methods with their standard errors, the best on top."""
    ranked = sorted(found.methods, key=lambda method: -method.error)
    drawing = Figure(figsize=(6.4, 0.45 * len(ranked) + 1.4), layout="constrained")
    axes = drawing.add_subplot()
    axes.errorbar(
        [method.error for method in ranked], [method.name for method in ranked],
        xerr=[method.standard_error for method in ranked], fmt="o", capsize=3,
    )  # fmt: skip
    axes.set_xlim(left=0.0)
    axes.set_xlabel("error on held-out samples")
    axes.set_title(f"verdict: {found.verdict}")
    return drawing


if __name__ == "__main__":
    main(*sys.argv[1:])
