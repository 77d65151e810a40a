"""Perplexity of a language model: e to the loss in nats, 2 to the loss in bits, one number.

The model is fastloss's own byte n-gram (fastloss/ngram.py), trained on three modules in four of this Python's standard
library. How much the other modules surprise it depends on how many bytes it looks back, and on the module.
"""

import sysconfig
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from _common import Size, options, save, say

import fastloss as fl
from fastloss.ngram import ByteNGram

chosen = options(__doc__, context=Size(6, 4, "longest context in bytes"), modules=Size(10_000, 40, "modules at most"))

paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[: chosen.modules]
texts = {path.name: path.read_bytes() for path in paths}
held_out = dict(list(texts.items())[::4])
training = b"".join(text for name, text in texts.items() if name not in held_out)


def predict(model, text):
    """Return the model's logits before every byte, and the bytes."""
    logits = np.empty((len(text), 256), np.float32)
    return model.log_probs(model.contexts(text), out=logits), np.frombuffer(text, np.uint8)


def evaluate(model, text):
    """Return the evaluation of one module."""
    evaluation = fl.Evaluation()
    evaluation.update(*predict(model, text))
    return evaluation


# Modules merge as if they were one text: the mean of losses is a loss, that of perplexities is no perplexity.
contexts = range(1, chosen.context + 1)
curve = []
for context in contexts:
    model = ByteNGram(training, context)
    by_module = {name: evaluate(model, text) for name, text in held_out.items()}
    total = fl.Evaluation()
    total.merge_state(by_module.values())
    curve.append(total.compute())
    say(f"perplexity, context of {context}", curve[-1]["perplexity"])

last = curve[-1]
say("training text", len(training), "bytes")
say("held-out text", last["count"], "bytes")
say("loss", last["loss"], "nats per byte")
say("loss in bits", last["bits_per_token"], "bits per byte")
say("e ** nats", np.exp(last["loss"]))
say("2 ** bits", 2 ** last["bits_per_token"])

# One module's is also one call, in either unit.
perplexities = {name: evaluation.compute()["perplexity"] for name, evaluation in by_module.items()}
easiest, hardest = min(perplexities, key=perplexities.get), max(perplexities, key=perplexities.get)
for name in (easiest, hardest):
    logits, labels = predict(model, held_out[name])
    say(f"perplexity of {name}, by e", fl.perplexity(logits, labels))
    say(f"perplexity of {name}, by 2", fl.perplexity(logits, labels, base=2))

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
left.plot(contexts, [each["perplexity"] for each in curve], "o-")
left.set(xlabel="context (bytes)", ylabel="perplexity of the next byte", title="All held-out modules")
left.set(xlim=(0.5, chosen.context + 1), ylim=(0, None))
left.xaxis.get_major_locator().set_params(integer=True)
for context, each in zip(contexts, curve, strict=True):
    label = f"{each['bits_per_token']:.2f} bits"
    left.annotate(label, (context, each["perplexity"]), (3, 5), textcoords="offset points", fontsize=7)
right.plot([len(held_out[name]) for name in perplexities], list(perplexities.values()), ".")
right.set(xscale="log", xlabel="size (bytes)", ylabel="perplexity of the next byte", ylim=(0, None))
right.set_title(f"Each module, with a context of {chosen.context} bytes")
for name in (easiest, hardest):
    right.annotate(f"  {name}", (len(held_out[name]), perplexities[name]), fontsize=7)
right.axhline(last["perplexity"], color="C1", label="all bytes together")
right.legend()
figure.suptitle("A byte n-gram model of Python's standard library")
save(figure, chosen.out, __file__)
