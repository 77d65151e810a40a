"""A retriever trained as DPR is, on real text: which function of Python's standard library does this sentence describe?

A question is a function's signature or the first sentence of its docstring, its passage the function's body. Questions
and passages are hashed bags of words, embedded by one matrix (a Siamese tower) in NumPy. Each question has to pick its
passage among those of the whole batch and among hard negatives: passages of other functions that the model, before each
epoch, takes for the likeliest. Modules whose questions are asked in the end are not trained on; their passages are
searched together with all others.
"""

import ast
import re
import sysconfig
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse
from _common import Size, options, save, say
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.preprocessing import normalize

import fastloss as fl
from fastloss.demo import LEFT_OUT

chosen = options(
    __doc__,
    modules=Size(10_000, 100, "modules at most"),
    epochs=Size(10, 12, "passes over the training questions"),
    width=Size(256, 64, "numbers in an embedding"),
    negatives=Size(2, 2, "hard negatives of each question"),
)
rng = np.random.default_rng(0)


def words(text):
    """Return the parts of identifiers and prose: split_this, splitThis and "split this" are the same."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)]


def functions(source):
    """Yield the questions about each function of a module, and its passage."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring = ast.get_docstring(node)
        body = node.body[1:] if docstring else node.body
        if body and node.end_lineno - body[0].lineno >= 2:
            signature = " ".join([node.name, *(each.arg for each in node.args.args if each.arg != "self")])
            questions = [signature, re.split(r"(?<=[.!?])\s|\n\n", docstring)[0]] if docstring else [signature]
            yield questions, "\n".join(lines[body[0].lineno - 1 : node.end_lineno])


# Every fourth module is held out. Questions of less than three words, or asked before, ask for nothing in particular.
library = Path(sysconfig.get_path("stdlib"))
paths = [path for path in library.rglob("*.py") if LEFT_OUT.isdisjoint(path.relative_to(library).parts)]
passages, asked = {}, {}
for number, path in enumerate(sorted(paths)[: chosen.modules]):
    for questions, passage in functions(path.read_bytes().decode(errors="replace")):
        for question in questions:
            if len(set(words(question))) >= 3 and question not in asked:
                asked[question] = (passages.setdefault(passage, len(passages)), number % 4 == 3)
answers, is_held_out = map(np.array, zip(*asked.values(), strict=True))
train = np.flatnonzero(~is_held_out)
train_passages = np.unique(answers[train])
held_out = np.flatnonzero(is_held_out & ~np.isin(answers, train_passages))  # some functions have copies elsewhere

# Words in 16384 buckets, by the logarithm of how often they occur, each text of norm 1.
hashing = HashingVectorizer(n_features=2**14, analyzer=words, alternate_sign=False, norm=None, dtype=np.float32)
question_counts, passage_counts = (scipy.sparse.csr_array(hashing.transform(each)) for each in (asked, passages))
questions, texts = normalize(question_counts.log1p()), normalize(passage_counts.log1p())


def recall(scores, right):
    """Return how often the right passage is first, and among the first ten, in percent (ties count against it)."""
    rank = (scores >= np.take_along_axis(scores, right[:, np.newaxis], axis=1)).sum(axis=1)
    return 100 * np.mean(rank <= 1), 100 * np.mean(rank <= 10)


def bm25(counts, queries, k1=1.2, b=0.75):
    """Return the scores that full-text search would give, (queries, passages)."""
    lengths = counts.sum(axis=1)
    frequency = (counts > 0).sum(axis=0)
    weights = counts.tocoo(copy=True)
    damping = k1 * (1 - b + b * lengths / lengths.mean())
    rarity = np.log1p((counts.shape[0] - frequency + 0.5) / (frequency + 0.5))
    weights.data *= (k1 + 1) / (weights.data + damping[weights.row]) * rarity[weights.col]
    return ((queries > 0).astype(np.float32) @ weights.T.tocsr()).toarray()


# The tower. Random at first, so that it keeps roughly the overlap of two bags of words.
table = rng.normal(0, chosen.width**-0.5, (questions.shape[1], chosen.width)).astype(np.float32)
mean, square = np.zeros_like(table), np.zeros_like(table)  # of its gradients, for Adam


def similarity(chosen_questions):
    """Return the cosines of some questions with all passages."""
    return normalize(questions[chosen_questions] @ table) @ normalize(texts @ table).T


def some_words(bags):
    """Return the bags without three words in ten: what is left has to do."""
    kept = bags.copy()
    kept.data *= rng.random(len(kept.data)) > 0.3
    return kept


def mine():
    """Return for each training question the wrong training passages that are most similar to it."""
    cosines = similarity(train)
    np.put_along_axis(cosines, answers[train][:, np.newaxis], -np.inf, axis=1)
    likeliest = np.argpartition(-cosines[:, train_passages], chosen.negatives, axis=1)[:, : chosen.negatives]
    return train_passages[likeliest]


steps, losses = 0, []
recalls = [recall(similarity(held_out), answers[held_out])]
for _ in range(chosen.epochs):
    hard = mine()
    order = rng.permutation(len(train))
    epoch_losses = []
    for batch in np.array_split(order, len(order) // 256 or 1):
        count = len(batch)
        bags = scipy.sparse.vstack(
            [
                some_words(questions[train[batch]]),
                some_words(texts[answers[train[batch]]]),
                texts[hard[batch].ravel()],
            ]
        )
        embedded = bags @ table
        query, positive = embedded[:count], embedded[count : 2 * count]
        negatives = embedded[2 * count :].reshape(count, chosen.negatives, chosen.width)
        # The gradient is written over the embeddings, so that it comes as one array again.
        loss, _ = fl.info_nce_loss.value_and_grad(query, positive, negatives, 0.05, out=(query, positive, negatives))
        grad = bags.T @ embedded
        epoch_losses.append(loss)

        steps += 1
        mean += 0.1 * (grad - mean)
        square += 0.001 * (grad * grad - square)
        table -= 0.001 * (mean / (1 - 0.9**steps)) / (np.sqrt(square / (1 - 0.999**steps)) + 1e-8)
    losses.append(np.mean(epoch_losses))
    recalls.append(recall(similarity(held_out), answers[held_out]))

by_words = recall(bm25(passage_counts, question_counts[held_out]), answers[held_out])
say("questions trained on", len(train))
say("questions held out", len(held_out))
say("passages", len(passages))
say("loss of the first epoch", losses[0], "nats")
say("loss of the last epoch", losses[-1], "nats")
for index, name in enumerate(("recall@1", "recall@10")):
    say(f"{name} before", recalls[0][index], "%")
    say(name, recalls[-1][index], "%")
    say(f"{name} of BM25", by_words[index], "%")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
left.plot(range(1, chosen.epochs + 1), losses, "o-")
left.set(xlabel="epoch", ylabel="InfoNCE (nats)", title="Training loss")
left.xaxis.get_major_locator().set_params(integer=True)
for index, name in enumerate(("recall@1", "recall@10")):
    right.plot([each[index] for each in recalls], "o-", color=f"C{index}", label=name)
    right.axhline(by_words[index], linestyle=":", color=f"C{index}", label=f"{name} of BM25")
right.set(xlabel="epoch", ylabel="held-out questions answered (%)", ylim=(0, None))
right.set_title(f"{len(held_out):,} questions, {len(passages):,} passages")
right.legend(loc="lower right", ncols=2)
figure.suptitle("Functions of Python's standard library by what is said of them")
save(figure, chosen.out, __file__)
