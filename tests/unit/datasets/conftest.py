"""The real images, where they are installed."""

import os

import pytest

from twolayer.datasets import fashion_mnist
from twolayer.datasets.fashion import VARIABLE, local_files


@pytest.fixture(scope="session")
def real_images():
    """Fashion-MNIST's training images; without them a skip that says how to get them."""
    if not os.environ.get(VARIABLE) and local_files() is None:
        pytest.skip("no Fashion-MNIST images here: apt-get install dataset-fashion-mnist")
    return fashion_mnist()
