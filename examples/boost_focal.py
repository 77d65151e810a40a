"""Focal loss in LightGBM, beside log loss, where one row in a hundred is positive.

fastloss.lightgbm makes an objective of a loss that has a Hessian. Focal loss counts rows that are predicted well for
less; whether that finds the rare rows better is asked of average precision on rows not trained on, over several data
sets.
"""

import lightgbm
import matplotlib.pyplot as plt
import numpy as np
from _common import Size, options, save, say
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score, precision_recall_curve
from sklearn.model_selection import train_test_split

import fastloss as fl
from fastloss.lightgbm import metric, objective

chosen = options(
    __doc__,
    rows=Size(100_000, 20_000, "rows of a data set"),
    rounds=Size(150, 40, "trees"),
    datasets=Size(5, 1, "data sets"),
)

losses = {
    "log loss": (fl.binary_cross_entropy_with_logits, {}),
    "focal loss, gamma 1": (fl.sigmoid_focal_loss, {"alpha": None, "gamma": 1.0}),
    "focal loss, gamma 2": (fl.sigmoid_focal_loss, {"alpha": None, "gamma": 2.0}),
    "focal loss, gamma 2, alpha 0.25": (fl.sigmoid_focal_loss, {"alpha": 0.25, "gamma": 2.0}),
}
settings = {"learning_rate": 0.1, "num_leaves": 31, "seed": 0, "verbose": -1}


def dataset(seed):
    """Return training and test rows: 1 % positive, and 1 % of the labels drawn by lot."""
    x, y = make_classification(
        chosen.rows, 20, n_informative=8, weights=[0.99], flip_y=0.01, class_sep=0.8, random_state=seed
    )
    return train_test_split(x, y, test_size=0.5, stratify=y, random_state=seed)


def boost(train_x, train_y, loss, parameters):
    """Return a model's function from rows to logits, and its training loss after every tree."""
    data = lightgbm.Dataset(train_x, train_y)
    log = {}
    booster = lightgbm.train(
        {**settings, "objective": objective(loss, **parameters)},
        data,
        chosen.rounds,
        valid_sets=[data],
        valid_names=["train"],
        feval=metric(loss, **parameters),
        callbacks=[lightgbm.record_evaluation(log)],
    )
    return booster.predict, log["train"][metric(loss).__name__]


figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
scores = {name: [] for name in losses}
for seed in range(chosen.datasets):
    train_x, test_x, train_y, test_y = dataset(seed)
    for name, (loss, parameters) in losses.items():
        predict, history = boost(train_x, train_y, loss, parameters)
        logits = predict(test_x)
        scores[name].append(average_precision_score(test_y, logits))
        if seed == 0:
            say(f"{name}: training loss, first tree", history[0])
            say(f"{name}: training loss, last tree", history[-1])
            left.semilogy(range(1, chosen.rounds + 1), np.array(history) / history[0], label=name)
            precision, recall, _ = precision_recall_curve(test_y, logits)
            right.plot(recall, precision, label=f"{name}: {scores[name][0]:.3f}")

say("positive rows", 100 * test_y.mean(), "%")
for name, each in scores.items():
    say(f"{name}: average precision", np.mean(each))
    if name != "log loss" and chosen.datasets > 1:
        over = np.subtract(each, scores["log loss"])
        say(f"{name}: over log loss", np.mean(over))
        say(f"{name}: standard error of that", np.std(over, ddof=1) / np.sqrt(len(over)))

left.set(xlabel="tree", ylabel="training loss (1 after the first tree)", title="Loss, each its own")
right.axhline(test_y.mean(), color="0.5", linestyle=":", label=f"by lot: {test_y.mean():.3f}")
right.set(xlabel="recall", ylabel="precision", title="First data set: average precision")
left.legend()
right.legend(loc="lower left", bbox_to_anchor=(0, 0.06), fontsize=7)
figure.suptitle("One row in a hundred is positive: LightGBM with fastloss's objectives")
save(figure, chosen.out, __file__)
