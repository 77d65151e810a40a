"""Binary classification in Keras on TensorFlow: a loss of fastloss.keras in model.compile, beside Keras's own.

Two models from the same seed are compiled with fastloss.keras.BinaryCrossentropy and with keras.losses's, and differ in
nothing else. Their curves and their weights at the end are compared.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow tells a lot about the machine

import keras
import matplotlib.pyplot as plt
import numpy as np
from _common import Size, options, save, say
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split

import fastloss.keras

chosen = options(__doc__, epochs=Size(20, 2, "passes over the training rows"))

# 20 features, 10 of which tell something; 9000 rows to learn from, 1000 to validate.
x, y = make_classification(n_samples=10_000, n_informative=10, random_state=2022)
train_x, valid_x, train_y, valid_y = train_test_split(
    x.astype(np.float32), y.astype(np.float32)[:, np.newaxis], test_size=1000, random_state=2022
)


def train(loss):
    """Train a new network; return it, and the figures of every epoch."""
    keras.utils.set_random_seed(2022)
    network = keras.Sequential(
        [
            keras.Input((20,)),
            keras.layers.Dense(10, "relu"),
            keras.layers.Dense(10, "relu"),
            keras.layers.Dense(1, "sigmoid"),
        ]
    )
    network.compile("adam", loss, metrics=["accuracy"])
    fitted = network.fit(
        train_x, train_y, batch_size=32, epochs=chosen.epochs, validation_data=(valid_x, valid_y), verbose=0
    )
    return network, fitted.history


network, history = train(fastloss.keras.BinaryCrossentropy())
keras_network, keras_history = train(keras.losses.BinaryCrossentropy())


def largest_difference(arrays, others):
    return max(np.abs(np.subtract(ours, theirs)).max() for ours, theirs in zip(arrays, others, strict=True))


curves = ("loss", "val_loss")
say("training loss of the first epoch", history["loss"][0], "nats")
say("training loss of the last epoch", history["loss"][-1], "nats")
say("validation loss", history["val_loss"][-1], "nats")
say("validation accuracy", 100 * history["val_accuracy"][-1], "%")
loss_difference = largest_difference([history[each] for each in curves], [keras_history[each] for each in curves])
say("largest difference of an epoch's loss from Keras's", loss_difference, "nats")
weight_difference = largest_difference(network.get_weights(), keras_network.get_weights())
say("largest difference of a weight from Keras's", weight_difference)

figure, axis = plt.subplots(figsize=(6, 4))
epochs = range(1, chosen.epochs + 1)
for curve, name in zip(curves, ("training", "validation"), strict=True):
    (line,) = axis.plot(epochs, history[curve], label=f"{name}, fastloss.keras")
    axis.plot(epochs, keras_history[curve], "o", color=line.get_color(), fillstyle="none", label=f"{name}, Keras")
axis.set(xlabel="epoch", ylabel="binary cross entropy (nats)", title="A 20-10-10-1 network in Keras on TensorFlow")
axis.xaxis.get_major_locator().set_params(integer=True)
axis.legend()
save(figure, chosen.out, __file__)
