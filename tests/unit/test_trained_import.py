"""Networks trained elsewhere: the imported network computes what the original does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor
from tests.helpers import numpy_value

from twolayer.activations import activation_of
from twolayer.estimators import TwoLayerClassifier, TwoLayerRegressor
from twolayer.trained import from_arrays, from_sklearn, from_torch
from twolayer.trained.measures import Neurons, outputs

M, D, N = 12, 4, 9
GENERATOR = np.random.default_rng(5)
W, B, A = GENERATOR.normal(size=(M, D)), GENERATOR.normal(size=M), GENERATOR.normal(size=M)
X = GENERATOR.normal(size=(N, D))
SAMPLES = GENERATOR.normal(size=(80, D))
CURVED = SAMPLES[:, 0] ** 2 + SAMPLES[:, 1]


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_regressor_of_scikit_learn_keeps_its_predictions(activation):
    """The imported network predicts what MLPRegressor.predict does, for each of two outputs."""
    targets = np.stack([CURVED, -3 * CURVED + 1], axis=1)
    mlp = MLPRegressor(
        hidden_layer_sizes=(M - 1,), activation=activation, max_iter=5, random_state=0
    ).fit(SAMPLES, targets)
    expected = mlp.predict(X)
    for k in range(2):
        network = from_sklearn(mlp, output=k)
        assert network.W.shape == (M, D)  # the intercept is the last neuron
        np.testing.assert_allclose(jax.vmap(network)(jnp.asarray(X)), expected[:, k], atol=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_classifier_of_scikit_learn_keeps_its_odds(classes):
    """Logistic function, or softmax, of the imported outputs are MLPClassifier's probabilities."""
    labels = np.digitize(CURVED, [1.0, 2.0][: classes - 1])
    mlp = MLPClassifier(hidden_layer_sizes=(M - 1,), max_iter=5, random_state=0)
    mlp.fit(SAMPLES, labels)
    chosen = [None] if classes == 2 else range(3)
    raw = np.stack([outputs(Neurons.of(from_sklearn(mlp, output=k)), X) for k in chosen], axis=1)
    if classes == 2:
        raw = np.concatenate([np.zeros((N, 1)), raw], axis=1)
    odds = np.exp(raw)
    np.testing.assert_allclose(
        odds / odds.sum(axis=1, keepdims=True), mlp.predict_proba(X), atol=1e-10
    )


def test_our_estimators_keep_their_predictions():
    """The weights absorb the scaling of inputs and targets."""
    inputs, at = 5.0 + 3.0 * SAMPLES, 5.0 + 3.0 * X
    regressor = TwoLayerRegressor(M - 1, random_state=0).fit(inputs, 100 + 7 * CURVED)
    expected = regressor.predict(at)
    # the estimator computes its features in single precision, of numbers up to 100
    np.testing.assert_allclose(
        outputs(Neurons.of(from_sklearn(regressor)), at), expected, rtol=1e-4
    )
    classifier = TwoLayerClassifier(M - 1, random_state=0).fit(inputs, CURVED > 1)
    expected = classifier.decision_function(at)
    found = outputs(Neurons.of(from_sklearn(classifier)), at)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.max(np.abs(expected)))


class Tensor:
    """The part of torch.Tensor that an import touches."""

    def __init__(self, array, dtype="torch.float64"):
        self.array, self.dtype = np.asarray(array, np.float64), dtype

    def detach(self):
        return self

    cpu = double = detach

    def new_tensor(self, rows):
        return Tensor(rows, self.dtype)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype=dtype)


class Module:
    """A module with one hidden layer, as torch would show it; `top` is what follows the output."""

    def __init__(self, function, top=lambda out: out, *, reverse=False, dtype="torch.float64"):
        layers = {
            "hidden.weight": W, "hidden.bias": B,
            "out.weight": np.stack([A, A**2]), "out.bias": np.asarray([0.5, -2.0]),
        }  # fmt: skip
        names = list(layers)[::-1] if reverse else list(layers)
        self.parameters = {name: Tensor(layers[name], dtype) for name in names}
        self.function, self.top = function, top

    def state_dict(self):
        return self.parameters

    def __call__(self, x):
        hidden = self.function(np.asarray(x) @ W.T + B)
        return Tensor(self.top(hidden @ np.stack([A, A**2]).T + [0.5, -2.0]))


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "softplus"])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_module_shows_its_own_activation(name, reverse):
    """The activation is the one that gives the module's outputs, in whatever order layers come."""
    function = numpy_value(activation_of(name))
    network = from_torch(Module(function, reverse=reverse), output=1)
    assert network.activation.facts.name == name
    expected = function(X @ W.T + B) @ A**2 - 2.0
    np.testing.assert_allclose(outputs(Neurons.of(network), X), expected, atol=1e-12)


def test_a_factor_in_front_of_a_module_must_be_named():
    """A mean-field module is refused without its scale and exact with it."""
    module = Module(np.tanh, lambda out: out / M)
    with pytest.raises(ValueError, match="fit none of those"):
        from_torch(module, output=0)
    network = from_torch(module, scale=1 / M, output=0)
    expected = (np.tanh(X @ W.T + B) @ A + 0.5) / M
    np.testing.assert_allclose(outputs(Neurons.of(network), X), expected, atol=1e-12)


@pytest.mark.parametrize(
    "module",
    [
        Module(np.tanh, lambda out: np.exp(out)),
        Module(lambda z: np.where(z > 0, z, 0.01 * z)),
        Module(np.tanh, lambda out: out[:, :1]),
    ],
)
def test_a_module_that_computes_something_else_is_refused(module):
    """A softmax on top, an unknown activation, an output that is missing."""
    with pytest.raises(ValueError, match="Expected a module that computes"):
        from_torch(module, output=0)


@pytest.mark.parametrize("names", [["hidden.weight"], ["hidden.weight", "hidden.bias"]])
def test_a_module_of_other_layers_is_refused(names):
    """The message lists the parameters that there are."""
    module = Module(np.tanh)
    module.parameters = {name: module.parameters[name] for name in names}
    with pytest.raises(ValueError, match=r"hidden\.weight \(12, 4\)"):
        from_torch(module)


@pytest.mark.parametrize(
    ("arguments", "options", "match"),
    [
        ((A[:-1], W), {}, "Expected input weights"),
        ((A, W[0]), {}, "Expected input weights"),
        ((A, W, B[:-1]), {}, "Expected input weights"),
        ((A, np.where(W[0, 0] == W, np.nan, W)), {}, "finite"),
        ((A > 0, W), {}, "finite numbers"),
        ((A, [["x"]]), {}, "numbers"),
        ((A, W), {"scale": -1.0}, "positive scale"),
        ((A, W), {"scale": True}, "positive scale"),
        ((A, W), {"intercept": [1.0, 2.0]}, "one intercept"),
        ((A, W), {"output": 1}, "`output` from 0 to 0"),
        ((np.stack([A, A], axis=1), W), {}, "`output` from 0 to 1"),
        ((np.stack([A, A], axis=1), W), {"output": True}, "`output` from 0 to 1"),
        ((A, W), {"activation": "nothing"}, "nothing"),
        ((A, W), {"activation": "1 - x", "intercept": 1.0}, "not 0 at 1"),
    ],
)
def test_arrays_that_make_no_network_are_refused(arguments, options, match):
    """One sentence says what was expected."""
    with pytest.raises(ValueError, match=match):
        from_arrays(*arguments, **options)


def test_models_of_other_kinds_are_refused():
    """Neither an unfitted model nor one of two hidden layers is taken for a network."""
    with pytest.raises(ValueError, match="call its fit first"):
        from_sklearn(MLPRegressor())
    deep = MLPRegressor(hidden_layer_sizes=(3, 3))
    deep.coefs_, deep.intercepts_ = [1, 2, 3], [1, 2, 3]
    with pytest.raises(ValueError, match="one hidden layer"):
        from_sklearn(deep)
    with pytest.raises(ValueError, match="Expected a PyTorch module"):
        from_torch(lambda x: x)


def test_an_activation_that_is_cut_off_is_no_relu():
    """min(max(z, 0), 6) agrees with relu up to 6: inputs beyond show it."""
    with pytest.raises(ValueError, match="none of those tried"):
        from_torch(Module(lambda z: np.clip(z, 0.0, 6.0)))


def test_square_layers_in_either_order():
    """d = m = k says nothing of which matrix comes first: the outputs do."""

    class Square(Module):
        def __init__(self):
            first, second = GENERATOR.normal(size=(2, D, D))
            self.first, self.second = first, second
            self.parameters = {"a.weight": Tensor(second), "b.weight": Tensor(first)}

        def __call__(self, x):
            return Tensor(np.maximum(np.asarray(x) @ self.first.T, 0) @ self.second.T)

    module = Square()
    network = from_torch(module, output=1)
    expected = np.maximum(X @ module.first.T, 0) @ module.second[1]
    np.testing.assert_allclose(outputs(Neurons.of(network), X), expected, atol=1e-10)


def test_a_module_of_transposed_weights_is_refused():
    """PyTorch's complaint about shapes becomes one sentence."""

    class Transposed(Module):
        def __call__(self, x):
            message = "mat1 and mat2 shapes cannot be multiplied"
            raise RuntimeError(message)

    with pytest.raises(ValueError, match="that refuses them: mat1 and mat2"):
        from_torch(Transposed(np.tanh))
