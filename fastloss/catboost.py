"""CatBoost objectives and evaluation metrics from any loss.

CatBoost calls methods of an object, for pieces of the rows from several threads, and wants the derivatives of what it
maximises: the negative loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import boosting
from .arrays import Array
from .loss import Loss

__all__ = ["Metric", "Objective", "metric", "objective"]


class Objective(boosting.Objective):
    """What :func:`objective` returns."""

    no_jit = True
    """Or CatBoost would have numba compile the methods."""

    @staticmethod
    def class_scale(classes: int) -> float:
        """2: with this its diagonal bounds the Hessian of softmax."""
        return 2.0

    def calc_ders_range(self, approxes: Array, targets: Array, weights: Array | None) -> Array:
        """First and second derivatives of the rows: the columns of an array, which CatBoost reads in a C loop."""
        pairs = np.empty((len(approxes), 2))
        self.derive(targets, approxes, weights, out=(pairs[:, 0], pairs[:, 1]))
        return np.negative(pairs, out=pairs)

    def calc_ders_multi(self, approxes: Array, target: float, weight: float) -> tuple[Array, Array]:
        """The derivatives of one row of classes: a vector and, of the diagonal alone, a matrix."""
        row = np.asarray(approxes)[None]
        pair = np.empty_like(row), np.empty_like(row)
        grad, hess = self.derive(np.atleast_1d(target), row, np.atleast_1d(weight), out=pair)
        return -grad[0], np.diag(-hess[0])


class Metric(boosting.Metric):
    """What :func:`metric` returns."""

    no_jit = True
    """As of :class:`Objective`."""

    def evaluate(self, approxes: Sequence[Array], target: Array, weight: Array | None) -> tuple[float, float]:
        """The sums that a mean is made of."""
        predictions = approxes[0] if len(approxes) == 1 else np.stack(approxes, axis=1)
        return self.sums(target, predictions, weight)

    def get_final_error(self, error: float, weight: float) -> float:
        """The mean."""
        return error / weight if weight else np.nan

    def is_max_optimal(self) -> bool:
        """Less is better."""
        return False


def objective(loss: Loss[...], *, floor: float = 0.0, hess_scale: float | None = None, **options: Any) -> Objective:
    """Make a CatBoost objective from a loss: ``CatBoost({"loss_function": objective(loss), ...})``.

    CatBoost wants an ``eval_metric`` beside it, such as :func:`metric` makes. Weights of the rows are applied here,
    once: CatBoost leaves them to the objective. The computation is in float64.

    Losses of one prediction are computed for all rows of a piece at once. For several classes CatBoost calls a Python
    function for every single row, which no objective can make fast: some hundred times as long as ``MultiClass``.

    Parameters
    ----------
    loss : Loss
        One with ``grad_hess``: of one number per prediction, or :func:`fastloss.cross_entropy` for classes.
    floor : float
        What no Hessian is less than, before weights. The default only makes negative ones 0, as
        :func:`fastloss.sigmoid_focal_loss` has.
    hess_scale : float, optional
        Factor of the Hessian. Default: 2 for :func:`fastloss.cross_entropy`, of whose Hessian CatBoost gets the
        diagonal, else 1.
    **options
        Parameters of the loss; `hess`, which :func:`fastloss.l1_loss` and :func:`fastloss.quantile_loss` have, is 1 by
        default.

    Returns
    -------
    Objective
        Can be pickled and copied.

    Raises
    ------
    TypeError
        If `loss` has no Hessian, or an option is none of its parameters.
    ValueError
        If `floor` or `hess_scale` is negative. What is wrong with the rows is a ``CatBoostError`` with the traceback.

    Notes
    -----
    Labels may be 0 and 1 for the losses of signs too, such as :func:`fastloss.exponential_loss`.

    Predictions are raw, and boosting starts from 0. For the same trees as of a built-in objective with
    ``boost_from_average=False`` and the same ``leaf_estimation_method`` and number of ``leaf_estimation_iterations``:

    ==============  =================================================================
    ``RMSE``        ``objective(fl.mse_loss, weight=0.5)``
    ``Logloss``     ``objective(fl.binary_cross_entropy_with_logits)``
    ``Poisson``     ``objective(fl.poisson_nll_loss)``
    ``MultiClass``  ``objective(fl.cross_entropy)`` with the method "Gradient"
    ==============  =================================================================

    Examples
    --------
    >>> import numpy as np, catboost
    >>> import fastloss as fl
    >>> from fastloss.catboost import metric, objective
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(1000, 3))
    >>> model = catboost.CatBoost({
    ...     "loss_function": objective(fl.sigmoid_focal_loss, alpha=0.25), "iterations": 20, "verbose": False,
    ...     "eval_metric": metric(fl.sigmoid_focal_loss, alpha=0.25), "allow_writing_files": False,
    ... })
    >>> losses = model.fit(x, x[:, 0] > 1).get_evals_result()["learn"]["Metric"]
    >>> losses[-1] < losses[0]
    True
    """
    return Objective(loss, floor=floor, hess_scale=hess_scale, **options)


def metric(loss: Loss[...], **options: Any) -> Metric:
    """Make an evaluation metric from a loss: its mean over raw predictions, weighted by the rows' weights.

    It is ``CatBoost({"eval_metric": metric(loss), ...})``; its name in CatBoost's logs is "Metric".

    Parameters
    ----------
    loss : Loss
        One with a gradient, of one number per prediction or per row of classes.
    **options
        Parameters of the loss.

    Returns
    -------
    Metric
        Can be pickled and copied.

    Raises
    ------
    TypeError
        If `loss` is not such a loss, or an option is none of its parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> from fastloss.catboost import metric
    >>> metric(fl.mse_loss).evaluate([np.array([1.0, 4.0])], np.array([1.0, 2.0]), np.array([3.0, 1.0]))
    (4.0, 4.0)
    """
    return Metric(loss, **options)
