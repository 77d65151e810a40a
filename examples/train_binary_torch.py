"""Binary classification in PyTorch: the losses of fastloss.torch beside torch's own, step by step.

Two runs from the same seed differ in the line that makes the loss and in nothing else: fastloss's BCELoss, torch's
BCELoss. Every step's loss is compared, and so are the weights at the end.
"""

import matplotlib.pyplot as plt
import torch
from _common import Size, options, save, say
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from torch import nn

import fastloss.torch as F

chosen = options(__doc__, epochs=Size(20, 2, "passes over the training rows"))

# 20 features, 10 of which tell something; 9000 rows to learn from, 1000 to validate.
x, y = make_classification(n_samples=10_000, n_informative=10, random_state=2022)
train_x, valid_x, train_y, valid_y = (
    torch.tensor(each, dtype=torch.float32) for each in train_test_split(x, y, test_size=1000, random_state=2022)
)


def train(loss_function):
    """Train a new network; return it, the loss of every step, and the mean losses of every epoch."""
    torch.manual_seed(2022)
    network = nn.Sequential(
        *(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 1), nn.Sigmoid(), nn.Flatten(0)),
    )
    optimizer = torch.optim.Adam(network.parameters())
    steps, train_losses, valid_losses = [], [], []
    for _ in range(chosen.epochs):
        before = len(steps)
        for batch in torch.randperm(len(train_x)).split(32):
            optimizer.zero_grad()
            loss = loss_function(network(train_x[batch]), train_y[batch])
            loss.backward()
            optimizer.step()
            steps.append(loss.item())
        train_losses.append(sum(steps[before:]) / (len(steps) - before))
        with torch.no_grad():
            valid_losses.append(loss_function(network(valid_x), valid_y).item())
    return network, steps, train_losses, valid_losses


network, steps, train_losses, valid_losses = train(F.BCELoss())
torch_network, torch_steps, torch_train_losses, torch_valid_losses = train(nn.BCELoss())

differences = [abs(ours - theirs) for ours, theirs in zip(steps, torch_steps, strict=True)]
weights = zip(network.parameters(), torch_network.parameters(), strict=True)
with torch.no_grad():
    correct = (network(valid_x) > 0.5) == (valid_y > 0.5)
say("steps", len(steps))
say("training loss of the first epoch", train_losses[0], "nats")
say("training loss of the last epoch", train_losses[-1], "nats")
say("validation loss", valid_losses[-1], "nats")
say("validation accuracy", 100 * correct.double().mean().item(), "%")
say("largest difference of a step's loss from torch's", max(differences), "nats")
say("largest difference of a weight from torch's", max((a - b).abs().max().item() for a, b in weights))

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
epochs = range(1, chosen.epochs + 1)
for losses, torch_losses, name in (
    (train_losses, torch_train_losses, "training"),
    (valid_losses, torch_valid_losses, "validation"),
):
    (line,) = left.plot(epochs, losses, label=f"{name}, fastloss.torch")
    left.plot(epochs, torch_losses, "o", color=line.get_color(), fillstyle="none", label=f"{name}, torch")
left.set(xlabel="epoch", ylabel="binary cross entropy (nats)", title="Loss")
left.xaxis.get_major_locator().set_params(integer=True)
left.legend()
right.plot([1e9 * each for each in differences], ".", markersize=2)
right.set(xlabel="step", ylabel="difference of the loss ($10^{-9}$ nats)", title="fastloss beside torch, every step")
figure.suptitle("A 20-10-10-1 network in PyTorch")
save(figure, chosen.out, __file__)
