"""A neural network from scratch in NumPy, with fastloss for its loss: handwritten digits of scikit-learn.

Two hidden layers, written out forward and backward. The last step forward and the first step backward are one call:
the loss of the logits and its gradient, which is written over the logits.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from _common import Size, options, save, say
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastloss as fl

chosen = options(__doc__, epochs=Size(30, 10, "passes over the training images"))
rng = np.random.default_rng(0)

# 1797 images of 8 x 8 pixels, each 0 to 16: 1437 to learn from, 360 to test.
digits = load_digits()
images = (digits.data / 16).astype(np.float32)
train_x, test_x, train_y, test_y = train_test_split(
    images, digits.target, test_size=0.2, stratify=digits.target, random_state=0
)

# 64 pixels -> 32 -> 32 -> 10 logits. He's initialisation: the variance of a layer's input survives ReLU.
widths = [64, 32, 32, 10]
weights = [
    rng.normal(0, np.sqrt(2 / fan_in), (fan_in, fan_out)).astype(np.float32) for fan_in, fan_out in pairwise(widths)
]
biases = [np.zeros(width, np.float32) for width in widths[1:]]
velocities = [np.zeros_like(each) for each in weights + biases]


def forward(x):
    """Return the input of every layer, and the logits."""
    inputs = [x]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        inputs.append(np.maximum(inputs[-1] @ weight + bias, 0))
    return inputs, inputs[-1] @ weights[-1] + biases[-1]


def backward(inputs, grad):
    """Return the gradients of weights and biases, given the logits'."""
    weight_grads, bias_grads = [], []
    for layer in reversed(range(len(weights))):
        weight_grads.insert(0, inputs[layer].T @ grad)
        bias_grads.insert(0, grad.sum(axis=0))
        if layer > 0:
            grad = grad @ weights[layer].T
            grad[inputs[layer] == 0] = 0  # where ReLU cut off
    return weight_grads + bias_grads


def evaluate(x, y):
    """Return the loss and the accuracy over all rows."""
    evaluation = fl.Evaluation()
    evaluation.update(forward(x)[1], y)
    figures = evaluation.compute()
    return figures["loss"], figures["accuracy"]


# Stochastic gradient descent with momentum, in batches of 32.
history = [(*evaluate(train_x, train_y), *evaluate(test_x, test_y))]
for _ in range(chosen.epochs):
    order = rng.permutation(len(train_x))
    for start in range(0, len(order), 32):
        batch = order[start : start + 32]
        inputs, logits = forward(train_x[batch])
        _, grad = fl.cross_entropy.value_and_grad(logits, train_y[batch], out=logits)
        for parameter, velocity, each in zip(weights + biases, velocities, backward(inputs, grad), strict=True):
            velocity *= 0.9
            velocity -= 0.02 * each
            parameter += velocity
    history.append((*evaluate(train_x, train_y), *evaluate(test_x, test_y)))

train_loss, train_accuracy, test_loss, test_accuracy = np.array(history).T
say("test loss before", test_loss[0], "nats")
say("test loss", test_loss[-1], "nats")
say("test accuracy before", 100 * test_accuracy[0], "%")
say("test accuracy", 100 * test_accuracy[-1], "%")
say("training accuracy", 100 * train_accuracy[-1], "%")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
left.semilogy(train_loss, label="training")
left.semilogy(test_loss, label="test")
left.set(xlabel="epoch", ylabel="cross entropy (nats)", title="Loss")
right.plot(100 * train_accuracy, label="training")
right.plot(100 * test_accuracy, label=f"test: {100 * test_accuracy[-1]:.1f} % in the end")
right.set(xlabel="epoch", ylabel="accuracy (%)", title="Accuracy")
left.legend()
right.legend()
figure.suptitle("Handwritten digits by a 64-32-32-10 network in NumPy")
save(figure, chosen.out, __file__)
