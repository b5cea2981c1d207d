"""Results: what an experiment found, with its provenance, on disk as JSON and NetCDF."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twolayer.outcomes import (
    Assumption,
    Comparison,
    Convergence,
    Finding,
    PhaseDiagram,
    Prediction,
    Trajectory,
)

if TYPE_CHECKING:
    import xarray

_FORMAT = 1  # of the JSON file; raised when old readers would misread it


@dataclass(frozen=True)
class Result:
    """Everything one run of an experiment produced.

    Attributes
    ----------
    experiment
        Its name, as ``twolayer run`` takes it.
    parameters
        The values it ran with.
    statement, reference
        What it tests and where that stands.
    predictions, trajectories, comparisons, findings, diagrams
        The outcomes.
    quantity
        What the curves show, where their names are those of cases.
    details
        Anything else worth keeping that JSON can hold: a certificate, a table.
    provenance
        Versions, platform and seconds.
    """

    experiment: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    statement: str = ""
    reference: str = ""
    predictions: tuple[Prediction, ...] = ()
    trajectories: tuple[Trajectory, ...] = ()
    comparisons: tuple[Comparison | Convergence, ...] = ()
    findings: tuple[Finding, ...] = ()
    diagrams: tuple[PhaseDiagram, ...] = ()
    quantity: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


def provenance(seconds: float) -> dict[str, Any]:
    """Versions of what computed a result, the platform, the random generator and the seconds."""
    import jax

    packages = ("twolayer", "jax", "jaxlib", "equinox", "diffrax", "numpy", "scipy")
    return {
        "versions": {name: version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": jax.default_backend(),
        "random_generator": str(jax.config.jax_default_prng_impl),  # type: ignore[attr-defined]
        "float64": bool(jax.config.jax_enable_x64),  # type: ignore[attr-defined]
        "seconds": seconds,
    }


def save(result: Result, directory: str | Path) -> Path:
    """Write ``<experiment>.json`` and ``<experiment>.nc`` into `directory`; return the JSON's path.

    Raises
    ------
    OSError
        If the directory cannot be made or written.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{result.experiment}.json"
    content = {"format": _FORMAT, **as_json(result)}
    # The JSON file appears whole or not at all.
    draft = path.with_suffix(".json.part")
    draft.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    dataset(result).to_netcdf(path.with_suffix(".nc"), engine="h5netcdf")
    draft.replace(path)
    return path


def load(path: str | Path) -> Result:
    """Read a result that `save` wrote.

    Raises
    ------
    ValueError
        If the file is no result, or one that a newer version wrote.
    """
    message = f"Expected a result that twolayer saved. Received: {path}, which is not one."
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        found = content.pop("format")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(message) from error
    if not isinstance(found, int):
        raise ValueError(message)  # noqa: TRY004 (it is the file that is wrong)
    if found > _FORMAT:
        message = f"{path} was written by a newer twolayer (format {found}): upgrade to read it."
        raise ValueError(message)
    try:
        result = from_json(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(message) from error
    if not _is_sound(result):
        raise ValueError(message)
    return result


def _is_sound(result: Result) -> bool:
    """Whether every part is of its kind: a file may have been edited, or cut and mended."""
    texts = [result.experiment, result.statement, result.reference]
    for finding in result.findings:
        texts += [finding.name, finding.statement, finding.reference, finding.note, finding.verdict]
    tables = (result.parameters, result.details, result.provenance)
    errors = [finding.error for finding in result.findings]
    values = [v for finding in result.findings for v in (finding.predicted, finding.measured)]
    return (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(table, dict) for table in tables)
        and all(error is None or isinstance(error, (int, float)) for error in errors)
        and all(value is None or isinstance(value, (int, float, str)) for value in values)
    )


def from_json(content: dict[str, Any]) -> Result:
    """The result that `as_json` wrote.

    Examples
    --------
    >>> from_json(as_json(Result(experiment="flow", details={"rounds": 3}))).details
    {'rounds': 3}
    """
    content = dict(content)
    content["predictions"] = tuple(_outcome(Prediction, row) for row in content["predictions"])
    content["trajectories"] = tuple(_outcome(Trajectory, row) for row in content["trajectories"])
    content["comparisons"] = tuple(
        _outcome(Convergence if "slope" in row else Comparison, row)
        for row in content["comparisons"]
    )
    content["diagrams"] = tuple(_outcome(PhaseDiagram, row) for row in content.get("diagrams", []))
    content["findings"] = tuple(Finding(**row) for row in content["findings"])
    return Result(**content)


def dataset(result: Result) -> xarray.Dataset:
    """The curves as one labelled data set: a time axis a curve, trajectories by seed.

    Variables are ``prediction_0``, ``trajectory_0`` (dimensions ``seed_0``, ``time_...``), each
    with its name and reference as attributes; the parameters are attributes of the whole.
    """
    import xarray

    variables: dict[str, Any] = {}
    for k, prediction in enumerate(result.predictions):
        dims, name = (f"grid_prediction_{k}",), f"prediction_{k}"
        variables[dims[0]] = (dims, np.asarray(prediction.grid), {"name": prediction.grid_name})
        attributes = {"name": prediction.name, "kind": prediction.kind}
        attributes["reference"] = prediction.reference
        variables[name] = (dims, np.asarray(prediction.value), attributes)
    for k, trajectory in enumerate(result.trajectories):
        dims = (f"seed_{k}", f"time_trajectory_{k}")
        variables[dims[1]] = (dims[1:], np.asarray(trajectory.time), {"name": trajectory.grid_name})
        attributes = {"name": trajectory.name, "status": " ".join(trajectory.status)}
        variables[f"trajectory_{k}"] = (dims, np.asarray(trajectory.value), attributes)
    for k, diagram in enumerate(result.diagrams):
        dims = (f"row_{k}", f"column_{k}")
        variables[dims[0]] = (dims[:1], np.asarray(diagram.rows), {"name": diagram.row_name})
        variables[dims[1]] = (dims[1:], np.asarray(diagram.columns), {"name": diagram.column_name})
        variables[f"diagram_{k}"] = (dims, np.asarray(diagram.value), {"name": diagram.name})
        if diagram.error is not None:
            attributes = {"name": f"standard error of {diagram.name}"}
            variables[f"diagram_{k}_error"] = (dims, np.asarray(diagram.error), attributes)
    attributes = {"experiment": result.experiment, "parameters": json.dumps(result.parameters)}
    return xarray.Dataset(variables, attrs=attributes)


def as_json(value: Any) -> Any:
    """`value` as JSON holds it: arrays as lists, non-finite numbers as ``None``.

    Examples
    --------
    >>> as_json({"x": np.array([1.0, np.nan])})
    {'x': [1.0, None]}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {part.name: as_json(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): as_json(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(part) for part in value]
    if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__jax_array__"):
        return as_json(np.asarray(value).tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return as_json(np.asarray(value).tolist())


def _outcome(kind: type, row: dict[str, Any]) -> Any:
    for name, value in row.items():
        if isinstance(value, list) and name not in {"status", "assumptions"}:
            row[name] = np.asarray(value, dtype=np.float64)
    if "assumptions" in row:
        row["assumptions"] = tuple(Assumption(**part) for part in row["assumptions"])
    if isinstance(row.get("status"), list):
        row["status"] = tuple(row["status"])
    return kind(**row)
