import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from twolayer import outcomes

RECORDS = [
    value
    for value in vars(outcomes).values()
    if dataclasses.is_dataclass(value) and value.__module__ == outcomes.__name__
]


@pytest.mark.parametrize("record", RECORDS)
def test_outcomes_are_frozen_and_documented(record):
    """Every outcome is immutable data and its docstring explains each field."""
    assert record.__dataclass_params__.frozen
    for field in dataclasses.fields(record):
        assert field.name in record.__doc__, f"{record.__name__}.{field.name} is not documented"


@pytest.mark.parametrize("record", RECORDS)
def test_outcomes_have_no_behaviour(record):
    """They are data: no public methods of their own."""
    own = [name for name, value in vars(record).items() if callable(value)]
    assert [name for name in own if not name.startswith("_")] == []


def test_fields_cannot_be_changed():
    """Assigning to a field raises."""
    prediction = outcomes.Prediction("loss", np.zeros(2), np.ones(2), "exact", "derived here")
    with pytest.raises(dataclasses.FrozenInstanceError):
        prediction.kind = "upper"
    assert prediction.assumptions == ()
    assert prediction.status == "finished"


def test_trajectories_do_not_share_their_details():
    """The default dictionary of one trajectory is not that of another."""
    one, two = (
        outcomes.Trajectory("loss", np.zeros(1), np.zeros((1, 1)), ("finished",)) for _ in "ab"
    )
    one.details["width"] = 3
    assert two.details == {}


def test_outcomes_do_not_import_jax():
    """Results can be read where JAX is not wanted."""
    code = "import sys, twolayer.outcomes; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
