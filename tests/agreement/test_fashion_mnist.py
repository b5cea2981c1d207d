"""Networks after one step on the real images, against an independent NumPy program's errors."""

import numpy as np
import pytest

from twolayer.compare import student_factor
from twolayer.datasets import fashion_mnist
from twolayer.experiments import find_experiment
from twolayer.numerics.montecarlo import mean_and_error

# Half mean square errors on fresh samples of an implementation that shares no code with this
# one, over two seeds: network and Hermite model of degree 4, at 1 and 5 neurons a sample.
MEASURED = {
    ("0,1", "relu"): ((0.486, 0.503), (0.270, 0.276)),
    ("0,1", "tanh"): ((0.812, 0.794), (0.675, 0.651)),
    ("0,1", "sigmoid"): ((0.552, 0.551), (0.543, 0.539)),
    ("5,9", "relu"): ((0.560, 0.554), (0.336, 0.340)),
    ("5,9", "tanh"): ((0.823, 0.812), (0.714, 0.687)),
    ("5,9", "sigmoid"): ((0.561, 0.559), (0.550, 0.549)),
}
DRAWS, TRIALS = 16, 2  # data sets, and networks on each


@pytest.fixture(scope="module")
def images():
    try:
        return fashion_mnist(announce=lambda _: pytest.skip("Fashion-MNIST is not on this machine"))
    except ValueError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.parametrize(("pair", "activation"), MEASURED)
def test_errors_on_real_images(images, pair, activation):
    """Within 5 % and the three standard errors of our own mean over draws of the data."""
    del images  # they are there
    network, model = [], []
    for draw in range(DRAWS):
        result = find_experiment("image-widths").run(
            pair=pair, activations=activation, ratios="1,5", trials=TRIALS, seed=draw
        )
        network.append(result.trajectories[0].value.mean(axis=0))
        model.append(result.predictions[0].value)
    for found, expected in zip(
        (network, model), np.transpose(MEASURED[pair, activation]), strict=True
    ):
        mean, error = mean_and_error(np.stack(found))
        margin = student_factor(DRAWS) * error
        assert np.all(margin < 0.1 * expected)  # so that agreement says something
        assert np.all(np.abs(mean - expected) <= 0.05 * expected + margin)
