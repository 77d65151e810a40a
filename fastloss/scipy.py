"""Losses in SciPy: functions of a flat vector of parameters, for ``scipy.optimize.minimize(..., jac=True)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from .arrays import number_in
from .loss import Loss

__all__ = ["LinearObjective", "linear_objective", "objective"]

Vector = NDArray[np.float64]
Pullback = Callable[[NDArray[Any]], ArrayLike]


def objective(
    loss: Loss[...], predict: Callable[[Vector], tuple[NDArray[Any], Pullback]], target: ArrayLike, **options: Any
) -> Callable[[Vector], tuple[float, Vector]]:
    """Make a function of parameters from a loss and a model of any kind.

    Parameters
    ----------
    loss : Loss
        One with a gradient by a single prediction.
    predict : callable
        The model: from the vector of parameters to the predictions and their pullback, which makes of a gradient by the
        predictions that by the parameters, in any shape.
    target : array_like
        What `loss` compares the predictions with.
    **options
        Parameters of the loss.

    Returns
    -------
    callable
        From the parameters to value and gradient, a float and a float64 vector: what
        ``scipy.optimize.minimize(..., jac=True)`` wants.

    Raises
    ------
    TypeError
        If `loss` has no gradient by a single prediction.

    Examples
    --------
    The rate of a decay, from noisy measurements with an outlier:

    >>> import numpy as np
    >>> import fastloss as fl
    >>> from fastloss.scipy import objective
    >>> from scipy.optimize import minimize
    >>> t = np.linspace(0, 2, 50)
    >>> y = 3 * np.exp(-1.5 * t) + 0.01 * np.sin(40 * t)
    >>> y[10] = 9
    >>> def decay(w):
    ...     shape = np.exp(-w[1] * t)
    ...     return w[0] * shape, lambda g: [g @ shape, -w[0] * (g * t) @ shape]
    >>> minimize(objective(fl.huber_loss, decay, y, delta=0.01), [1.0, 1.0], jac=True).x.round(1)
    array([3. , 1.5])
    """
    if len(loss.predictions) != 1:
        raise TypeError(f"{loss.name}: an objective needs a loss with a gradient by one prediction")

    def value_and_grad(w: Vector) -> tuple[float, Vector]:
        predictions, pull = predict(w)
        value, grad = loss.value_and_grad(predictions, target, **options)
        return value, np.asarray(pull(grad), np.float64).reshape(-1)

    return value_and_grad


class LinearObjective:
    """What :func:`linear_objective` returns.

    Attributes
    ----------
    initial : ndarray
        Zeros, as many as there are parameters.
    """

    def __init__(
        self, loss: Loss[...], X: Any, y: ArrayLike, outputs: int, fit_intercept: bool, alpha: float, **options: Any
    ) -> None:
        self.X, self.alpha = X, alpha
        self.shape = (X.shape[1] + fit_intercept, *[outputs] * (outputs > 1))
        self.initial: Vector = np.zeros(int(np.prod(self.shape)))
        self._loss = objective(loss, self._predict, y, **options)

    def coef(self, w: Vector) -> Vector:
        """The coefficients in a vector of parameters: (features,), or (features, outputs); a view."""
        return w.reshape(self.shape)[: self.X.shape[1]]

    def intercept(self, w: Vector) -> Vector:
        """The intercepts: (1,), or (1, outputs); empty where there are none."""
        return w.reshape(self.shape)[self.X.shape[1] :]

    def _predict(self, w: Vector) -> tuple[NDArray[Any], Pullback]:
        predictions = self.X @ self.coef(w).astype(self.X.dtype, copy=False)
        for intercept in self.intercept(w).astype(self.X.dtype, copy=False):
            predictions += intercept

        def pull(grad: NDArray[Any]) -> Vector:
            by_w = np.empty(self.shape)
            by_w[: self.X.shape[1]] = self.X.T @ grad
            by_w[self.X.shape[1] :] = grad.sum(axis=0, dtype=np.float64)
            return by_w

        return predictions, pull

    def __call__(self, w: Vector) -> tuple[float, Vector]:
        """Value and gradient at a vector of parameters."""
        value, grad = self._loss(w)
        coef = self.coef(w)
        self.coef(grad)[...] += self.alpha * coef
        return value + self.alpha / 2 * float(np.vdot(coef, coef)), grad


def linear_objective(
    loss: Loss[...], X: Any, y: ArrayLike, *, fit_intercept: bool = True, alpha: float = 0.0, **options: Any
) -> LinearObjective:
    r"""Make a function of the parameters of a linear model: the mean loss of ``X @ coef + intercept``, and a penalty.

    The penalty is :math:`\tfrac{\alpha}{2} \|\mathrm{coef}\|^2`, of which intercepts are free. With `alpha` of
    ``1 / (C * n)`` this is what ``sklearn.linear_model.LogisticRegression`` minimises, divided by ``C * n``.

    Parameters
    ----------
    loss : Loss
        Of one number per prediction, or of rows of classes, such as :func:`fastloss.cross_entropy`.
    X : ndarray or sparse array of shape (n, features)
        Floating. Products are of its dtype: float32 halves the time, and ends the search some digits earlier.
    y : array_like
        Targets: (n,), or (n, outputs); for rows of classes their numbers, of which the largest says how many there are.
    fit_intercept : bool
        Whether there are intercepts.
    alpha : float
        At least 0.
    **options
        Parameters of the loss.

    Returns
    -------
    LinearObjective
        Of a float64 vector; it tells its ``initial`` point and takes parameters apart: ``coef(w)``, ``intercept(w)``.

    Raises
    ------
    TypeError
        If `loss` has no gradient by a single prediction, or `X` is not floating.
    ValueError
        If `X` has not two dimensions, `y` has another number of rows, or `alpha` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> from fastloss.scipy import linear_objective
    >>> from scipy.optimize import minimize
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 2))
    >>> y = rng.random(1000) < 1 / (1 + np.exp(-(2 * X[:, 0] - X[:, 1] + 0.5)))
    >>> f = linear_objective(fl.binary_cross_entropy_with_logits, X, y)
    >>> w = minimize(f, f.initial, jac=True).x
    >>> f.coef(w).round(1), f.intercept(w).round(1)
    (array([ 1.9, -0.9]), array([0.5]))
    """
    if not scipy.sparse.issparse(X):
        X = np.asarray(X)
    if X.ndim != 2:
        raise ValueError(f"linear_objective: X must have shape (n, features), has {X.shape}")
    if X.dtype not in (np.float32, np.float64):
        raise TypeError(f"linear_objective: X must be float32 or float64, is {X.dtype}")
    y = np.asarray(y)
    if y.shape[:1] != X.shape[:1]:
        raise ValueError(f"linear_objective: X has {X.shape[0]} rows, y has shape {y.shape}")
    alpha = number_in(alpha, "linear_objective", "alpha", 0.0)
    outputs = y.shape[1] if y.ndim == 2 else int(y.max()) + 1 if loss.family == "rowwise" else 1
    return LinearObjective(loss, X, y, outputs, fit_intercept, alpha, **options)
