"""Embeddings learned from labels: triplets and supervised contrast (SupCon) on handwritten digits.

A network takes an image to two numbers, so that the embeddings can be drawn as they are. No output stands for a class:
the losses only ask that images of one digit come near each other and those of others far. How well that holds for
images not trained on is told by the nearest of the training images: how often does it have the same label?
"""

import matplotlib.pyplot as plt
import numpy as np
from _common import Size, options, save, say
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

import fastloss as fl

chosen = options(__doc__, epochs=Size(200, 30, "passes over the training images"))

digits = load_digits()
images = (digits.data / 16).astype(np.float32)
train_x, test_x, train_y, test_y = train_test_split(
    images, digits.target, test_size=0.25, stratify=digits.target, random_state=0
)


class Network:
    """64 pixels -> 128 hidden units -> 2 numbers, trained by Adam."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.parameters = [
            rng.normal(0, np.sqrt(2 / 64), (64, 128)).astype(np.float32),
            np.zeros(128, np.float32),
            rng.normal(0, np.sqrt(1 / 128), (128, 2)).astype(np.float32),
        ]
        self.means = [np.zeros_like(each) for each in self.parameters]
        self.squares = [np.zeros_like(each) for each in self.parameters]
        self.steps = 0

    def embed(self, x):
        first, bias, second = self.parameters
        return np.maximum(x @ first + bias, 0) @ second

    def step(self, x, labels, loss, **options):
        """Move all parameters against their gradients; return the loss."""
        first, bias, second = self.parameters
        hidden = np.maximum(x @ first + bias, 0)
        embeddings = hidden @ second
        value, grad = loss.value_and_grad(embeddings, labels, out=embeddings, **options)
        hidden_grad = (grad @ second.T) * (hidden > 0)
        grads = (x.T @ hidden_grad, hidden_grad.sum(axis=0), hidden.T @ grad)
        self.steps += 1
        for parameter, mean, square, each in zip(self.parameters, self.means, self.squares, grads, strict=True):
            mean += 0.1 * (each - mean)
            square += 0.001 * (each * each - square)
            step = mean / (1 - 0.9**self.steps) / (np.sqrt(square / (1 - 0.999**self.steps)) + 1e-8)
            parameter -= 0.003 * step
        return value


def accuracy(embed, metric):
    """Return how often the nearest training image has the test image's label, in percent."""
    neighbours = KNeighborsClassifier(n_neighbors=1, metric=metric).fit(embed(train_x), train_y)
    return 100 * neighbours.score(embed(test_x), test_y)


def train(loss, **options):
    """Return a network trained on batches of 128, and the mean loss of every epoch."""
    rng = np.random.default_rng(0)
    network, history = Network(), []
    for _ in range(chosen.epochs):
        batches = np.array_split(rng.permutation(len(train_x)), len(train_x) // 128)
        history.append(np.mean([network.step(train_x[each], train_y[each], loss, **options) for each in batches]))
    return network, history


untrained = Network()
triplet, triplet_losses = train(fl.batch_semihard_triplet_loss, margin=1.0)
supcon, supcon_losses = train(fl.supcon_loss, temperature=0.1)  # of cosines: only directions count
panels = {
    "untrained": (untrained, accuracy(untrained.embed, "euclidean")),
    "triplets": (triplet, accuracy(triplet.embed, "euclidean")),
    "SupCon": (supcon, accuracy(supcon.embed, "cosine")),
}
say("triplets: loss of the first epoch", triplet_losses[0])
say("triplets: loss of the last epoch", triplet_losses[-1])
say("SupCon: loss of the first epoch", supcon_losses[0], "nats")
say("SupCon: loss of the last epoch", supcon_losses[-1], "nats")
for name, (_, score) in panels.items():
    say(f"nearest neighbour right, {name}", score, "%")
say("nearest neighbour right, all 64 pixels", accuracy(lambda x: x, "euclidean"), "%")

figure, axes = plt.subplots(1, 3, figsize=(12, 4.3))
for axis, (name, (network, score)) in zip(axes, panels.items(), strict=True):
    points = network.embed(test_x)
    for digit in range(10):
        cluster = points[test_y == digit]
        axis.plot(*cluster.T, ".", color=f"C{digit}", markersize=4, label=str(digit))
    axis.set(xlabel="first number", ylabel="second number", title=f"{name}: nearest neighbour right in {score:.1f} %")
    axis.set_aspect("equal", adjustable="datalim")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=10, markerscale=3)
figure.suptitle("450 digits not trained on, embedded in two numbers")
save(figure, chosen.out, __file__)
