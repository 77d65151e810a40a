"""XGBoost objectives and evaluation metrics from any loss.

``objective(loss)`` and ``metric(loss)`` are what :func:`xgboost.train` and the scikit-learn estimators of XGBoost take.
"""

from __future__ import annotations

from typing import Any

import xgboost

from . import boosting
from .loss import Loss

__all__ = ["Metric", "Objective", "metric", "objective"]


class Objective(boosting.Objective):
    """What :func:`objective` returns."""

    dataset = xgboost.DMatrix

    @staticmethod
    def class_scale(classes: int) -> float:
        """2, as in ``multi:softprob``."""
        return 2.0


class Metric(boosting.Metric):
    """What :func:`metric` returns."""

    dataset = xgboost.DMatrix

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """``(name, mean)`` of ``(preds, dtrain)``, or the mean of ``(y_true, y_pred, sample_weight)``."""
        mean = self.mean(y_true, y_pred, sample_weight)
        return (self.__name__, mean) if isinstance(y_pred, self.dataset) else mean


def objective(loss: Loss[...], *, floor: float = 1e-16, hess_scale: float | None = None, **options: Any) -> Objective:
    """Make an XGBoost objective from a loss.

    Works as ``xgboost.train(params, dtrain, obj=...)`` and as ``XGBClassifier(objective=...)``. Weights of the rows are
    applied here, once: XGBoost leaves them to the objective. The arrays returned are float32 and
    serve again in the next round, unless you keep them.

    Parameters
    ----------
    loss : Loss
        One with ``grad_hess``: of one number per prediction, or :func:`fastloss.cross_entropy` for ``num_class``
        classes.
    floor : float
        What no Hessian is less than, before weights: XGBoost's own objectives have 1e-16. A Hessian that may be
        negative, as that of :func:`fastloss.sigmoid_focal_loss`, wants one.
    hess_scale : float, optional
        Factor of the Hessian. Default: 2 for :func:`fastloss.cross_entropy`, as in ``multi:softprob``, else 1.
        ``count:poisson`` has ``exp(max_delta_step)``, by default ``exp(0.7)``.
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
        If `floor` or `hess_scale` is negative; when called, if the shapes of labels, predictions and weights do not
        fit, or a class is no whole number.
    IndexError
        When called, if a class is out of range.

    Notes
    -----
    Labels may be 0 and 1 for the losses of signs too, such as :func:`fastloss.exponential_loss`.

    Predictions are raw margins, and boosting starts from the parameter ``base_score``, which XGBoost does not estimate
    for an objective that is a function: it is 0.5 unless you say 0. A built-in ``objective`` in the parameters beside
    ``obj=`` says what ``predict`` makes of margins, and of ``base_score``. For the same trees as of a built-in one:

    ====================  ============================================================================
    ``reg:squarederror``  ``objective(fl.mse_loss, weight=0.5)``
    ``binary:logistic``   ``objective(fl.binary_cross_entropy_with_logits)``
    ``count:poisson``     ``objective(fl.poisson_nll_loss, hess_scale=np.exp(0.7))``, ``max_delta_step=0.7``
    ``multi:softprob``    ``objective(fl.cross_entropy)``
    ====================  ============================================================================

    Examples
    --------
    >>> import numpy as np, xgboost
    >>> import fastloss as fl
    >>> from fastloss.xgboost import metric, objective
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(1000, 3))
    >>> data = xgboost.DMatrix(x, x[:, 0] > 1)
    >>> log = {}
    >>> booster = xgboost.train(
    ...     {"base_score": 0.0}, data, 20, evals=[(data, "train")], evals_result=log, verbose_eval=False,
    ...     obj=objective(fl.sigmoid_focal_loss, alpha=0.25),
    ...     custom_metric=metric(fl.sigmoid_focal_loss, alpha=0.25),
    ... )
    >>> losses = log["train"]["sigmoid_focal_loss"]
    >>> losses[-1] < losses[0]
    True
    """
    return Objective(loss, floor=floor, hess_scale=hess_scale, **options)


def metric(loss: Loss[...], **options: Any) -> Metric:
    """Make an evaluation metric from a loss: its mean, weighted by the rows' weights.

    Works as ``xgboost.train(..., custom_metric=...)`` and as ``XGBClassifier(eval_metric=...)``. XGBoost hands it raw
    margins where the objective is a function, such as :func:`objective` makes, and what the model predicts (a
    probability, a rate) where the objective is built in.

    Parameters
    ----------
    loss : Loss
        One with a gradient, of one number per prediction or per row of classes.
    **options
        Parameters of the loss.

    Returns
    -------
    Metric
        Its name in XGBoost's logs is the loss's. Can be pickled and copied.

    Raises
    ------
    TypeError, ValueError, IndexError
        As :func:`objective`.

    Examples
    --------
    >>> import fastloss as fl
    >>> from fastloss.xgboost import metric
    >>> metric(fl.mse_loss)([1.0, 2.0], [1.0, 4.0], sample_weight=[3.0, 1.0])
    1.0
    """
    return Metric(loss, **options)
