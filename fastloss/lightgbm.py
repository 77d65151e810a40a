"""LightGBM objectives and evaluation metrics from any loss.

``objective(loss)`` and ``metric(loss)`` are what :func:`lightgbm.train` and LightGBM's scikit-learn estimators take.
"""

from __future__ import annotations

from typing import Any

import lightgbm

from . import boosting
from .loss import Loss

__all__ = ["Metric", "Objective", "metric", "objective"]


class Objective(boosting.Objective):
    """What :func:`objective` returns."""

    dataset = lightgbm.Dataset

    @staticmethod
    def class_scale(classes: int) -> float:
        """``K / (K - 1)``, as in ``multiclass``."""
        return classes / (classes - 1) if classes > 1 else 1.0


class Metric(boosting.Metric):
    """What :func:`metric` returns."""

    dataset = lightgbm.Dataset

    def __call__(self, y_true: Any, y_pred: Any, weight: Any = None) -> tuple[str, float, bool]:
        """``(name, mean, False)``, of ``(preds, eval_data)`` or of ``(y_true, y_pred, weight)``."""
        return self.__name__, self.mean(y_true, y_pred, weight), False


def objective(loss: Loss[...], *, floor: float = 0.0, hess_scale: float | None = None, **options: Any) -> Objective:
    """Make a LightGBM objective from a loss.

    Works as ``lightgbm.train({"objective": ...}, train_data)`` and as ``LGBMClassifier(objective=...)``. Weights of the
    rows are applied here, once: LightGBM leaves them to the objective. The computation is in float64, as LightGBM's
    predictions are; the arrays returned are float32, with classes in the layout that LightGBM reads without a copy, and
    serve again in the next round, unless you keep them.

    Parameters
    ----------
    loss : Loss
        One with ``grad_hess``: of one number per prediction, or :func:`fastloss.cross_entropy` for ``num_class``
        classes.
    floor : float
        What no Hessian is less than, before weights. The default only makes negative ones 0, as
        :func:`fastloss.sigmoid_focal_loss` has.
    hess_scale : float, optional
        Factor of the Hessian. Default: ``K / (K - 1)`` for :func:`fastloss.cross_entropy` of K classes, as in
        ``multiclass``, else 1. ``poisson`` has ``exp(poisson_max_delta_step)``, by default ``exp(0.7)``.
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

    Predictions are raw scores. ``boost_from_average`` has no effect on an objective that is a function: boosting starts
    from 0, or from the ``init_score`` of the data set, which ``predict`` does not add. For the same trees as a built-in
    objective with ``boost_from_average=False``:

    ==============  ==========================================================
    ``regression``  ``objective(fl.mse_loss, weight=0.5)``
    ``binary``      ``objective(fl.binary_cross_entropy_with_logits)``
    ``poisson``     ``objective(fl.poisson_nll_loss, hess_scale=np.exp(0.7))``
    ``multiclass``  ``objective(fl.cross_entropy)``
    ==============  ==========================================================

    Examples
    --------
    >>> import numpy as np, lightgbm
    >>> import fastloss as fl
    >>> from fastloss.lightgbm import metric, objective
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(1000, 3))
    >>> data = lightgbm.Dataset(x, x[:, 0] > 1)
    >>> log = {}
    >>> booster = lightgbm.train(
    ...     {"objective": objective(fl.sigmoid_focal_loss, alpha=0.25), "verbose": -1}, data, 20,
    ...     valid_sets=[data], valid_names=["train"], feval=metric(fl.sigmoid_focal_loss, alpha=0.25),
    ...     callbacks=[lightgbm.record_evaluation(log)],
    ... )
    >>> losses = log["train"]["sigmoid_focal_loss"]
    >>> losses[-1] < losses[0]
    True
    """
    return Objective(loss, floor=floor, hess_scale=hess_scale, **options)


def metric(loss: Loss[...], **options: Any) -> Metric:
    """Make an evaluation metric from a loss: its mean, weighted by the rows' weights; lower is better.

    Works as ``lightgbm.train(..., feval=...)`` and as ``LGBMClassifier().fit(..., eval_metric=...)``. LightGBM hands it
    raw scores where the objective is a function, such as :func:`objective` makes, and what the model predicts (a
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
        Its name in LightGBM's logs is the loss's. Can be pickled and copied.

    Raises
    ------
    TypeError, ValueError, IndexError
        As :func:`objective`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> from fastloss.lightgbm import metric
    >>> metric(fl.mse_loss)(np.array([1.0, 2.0]), np.array([1.0, 4.0]), np.array([3.0, 1.0]))
    ('mse_loss', 1.0, False)
    """
    return Metric(loss, **options)
