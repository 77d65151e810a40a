"""Losses of regression on data with outliers: a line fitted by gradient descent under each of them.

A squared error is ruled by its largest terms, so that a few outliers bend the line. Losses that grow no faster than the
error let them pull no harder than other points. The quantile loss looks for another line: one with a share q of the
points below it.
"""

import matplotlib.pyplot as plt
import numpy as np
from _common import Size, options, save, say

import fastloss as fl

chosen = options(__doc__, points=Size(240, 240, "points"), steps=Size(3000, 1000, "steps of gradient descent"))
rng = np.random.default_rng(0)

# y = 2 x + 1 and noise of 0.3; of the points on the right every fourth is an outlier, 6 too low.
slope, intercept = 2.0, 1.0
x = np.sort(rng.uniform(-2, 2, chosen.points))
y = slope * x + intercept + rng.normal(0, 0.3, len(x))
outliers = np.arange(len(x) // 2, len(x), 4)
y[outliers] -= 6

losses = {
    "MSE": (fl.mse_loss, {}),
    "MAE": (fl.l1_loss, {}),
    "Huber, delta 0.5": (fl.huber_loss, {"delta": 0.5}),
    "log-cosh": (fl.log_cosh_loss, {}),
    "quantile, q 0.75": (fl.quantile_loss, {"q": 0.75}),
}


def fit(loss, parameters):
    """Return slope and intercept of the line that minimises the loss."""
    a, b = 0.0, 0.0
    prediction = np.empty_like(x)
    for step in range(chosen.steps):
        np.add(a * x, b, out=prediction)
        _, grad = loss.value_and_grad(prediction, y, out=prediction, **parameters)
        rate = 0.3 * (1 - step / chosen.steps)  # falls to 0: the gradient of MAE does not
        a -= rate * (grad @ x)
        b -= rate * grad.sum()
    return a, b


figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 4), width_ratios=[1.4, 1, 1])
left.plot(x, y, ".", color="0.6", markersize=4)
left.plot(x[outliers], y[outliers], "x", color="0.3", markersize=4, label="outliers")
left.plot(x, slope * x + intercept, color="black", linewidth=4, alpha=0.2, label="truth: 2 x + 1")
error = np.linspace(-3, 3, 601)
for name, (loss, parameters) in losses.items():
    a, b = fit(loss, parameters)
    say(f"{name}: slope", a)
    say(f"{name}: points below the line", 100 * np.mean(y < a * x + b), "%")
    style = "--" if loss is fl.quantile_loss else "-"
    left.plot(x, a * x + b, style, label=f"{name}: {a:.2f} x + {b:.2f}")
    # reduction="none": a value per element, and the gradient of their sum.
    value, grad = loss.value_and_grad(error, 0, reduction="none", **parameters)
    middle.plot(error, value, style, label=name)
    right.plot(error, grad, style)
left.set(xlabel="x", ylabel="y", ylim=(-5.5, 10.5), title="Fits")
middle.set(xlabel="error (prediction - y)", ylabel="loss", ylim=(0, 4), title="Loss of an error")
right.set(xlabel="error (prediction - y)", ylabel="gradient", ylim=(-3, 3), title="Its gradient: how hard it pulls")
left.legend(loc="upper left")
middle.legend()
save(figure, chosen.out, __file__)
