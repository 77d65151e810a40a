"""What needs a process of its own: the time to import fastloss, and the memory that a gradient takes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec

from .measure import Sample
from .run import FASTLOSS, Outcome, Result
from .work import Goal

SHAPE = (1024, 32000)
# What a gradient may take beside its arrays: room for tiles, whatever the size of the logits.
ROOM = 4 << 20

# The import of one module by a process that has imported the others before it.
IMPORT = """
import importlib, sys, time
*before, module = sys.argv[1:]
for name in before:
    importlib.import_module(name)
start = time.perf_counter()
importlib.import_module(module)
print(time.perf_counter() - start)
"""

# How far the peak of a process rises during a call, beyond arrays that are already in memory.
RISE = """
import gc, importlib, resource, sys
import numpy as np

def resident(field):
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

def rise(call):
    gc.collect()
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak starts again from here
    except OSError:
        pass
    before = resident("VmRSS:")
    kept = call()
    return max(0, resident("VmHWM:") - before)
"""

# Of cross entropy's gradient, ours and torch's.
MEMORY = (
    RISE
    + """
way, rows, classes, threads = sys.argv[1], *map(int, sys.argv[2:])

if way.endswith("torch"):
    import torch
    torch.set_num_threads(threads)
    F = importlib.import_module("torch.nn.functional" if way == "torch" else way)
    def gradient(logits, labels, out):
        x = torch.from_numpy(logits).requires_grad_()
        F.cross_entropy(x, torch.from_numpy(labels)).backward()
        return x.grad
else:
    import fastloss as fl
    fl.set_num_threads(threads)
    def gradient(logits, labels, out):
        return fl.cross_entropy.value_and_grad(logits, labels, out=out)

random = np.random.default_rng(0)
def arrays(rows):
    logits = np.empty((rows, classes), np.float32)
    random.standard_normal(out=logits, dtype=np.float32)
    out = {"out=": lambda: np.full_like(logits, 1), "out=logits": lambda: logits}.get(way, lambda: None)()
    return logits, random.integers(classes, size=rows), out

gradient(*arrays(64))  # threads, code and pools are there before
made = arrays(rows)
print(rise(lambda: gradient(*made)))
"""
)

# Of any loss's gradients, on the arrays of a piece of work.
MEMORY_OF_WORK = (
    RISE
    + """
import fastloss as fl
from bench.problem import Problem
from bench.work import Work

loss, threads, rows, *rest = sys.argv[1], *map(int, sys.argv[2:])
fl.set_num_threads(threads)

def prepared(rows):
    problem = Problem(Work(loss, (rows, *rest), "value_and_grad"), np.dtype(np.float32))
    return lambda: problem.work.function.value_and_grad(*problem.arguments, **problem.keywords, out=problem.out)

prepared(64)()
print(rise(prepared(rows)))
"""
)
# What products may take beside the arrays: of a batch of this size, and of a linear layer.
BATCHES, BATCH_ROOM = ("batch_hard_triplet_loss", "nt_xent_loss", "supcon_loss"), {(8192, 128): 128_000_000}
LAYERS, LAYER_ROOM = ("linear_cross_entropy",), {(1024, 1024, 32000): 64_000_000}


def python(code: str, *arguments: object) -> str:
    """What a fresh interpreter prints, with compiled modules as an installation has them."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    env = {key: each for key, each in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env).stdout


def run_import(rounds: int) -> Result:
    """The time of `import fastloss` after `import numpy`, beside NumPy's own and torch's after NumPy."""
    ways = {FASTLOSS: ["numpy", "fastloss"], "numpy itself": ["numpy"]}
    if find_spec("torch"):
        ways["torch over numpy"] = ["numpy", "torch"]
    result = Result("import, over NumPy's own", {name: Sample() for name in ways})
    for number in range(-1, rounds):
        for name, modules in ways.items():
            taken = float(python(IMPORT, *modules))
            if number >= 0:  # the first only brings the files into memory
                result.samples[name].numbers.append(taken)
    result.judge([Goal("seconds", 0.03)])
    return result


def run_memory(threads: int, names: Iterable[str]) -> list[Result]:
    """The memory that cross entropy's value and gradient take beyond the arrays given, beside torch's."""
    size = SHAPE[0] * SHAPE[1] * 4
    shape = "x".join(map(str, SHAPE))
    room = {"out=": ROOM, "out=logits": ROOM, "new array": None}
    theirs = None
    if "torch" in names and find_spec("torch"):
        theirs = int(python(MEMORY, "torch", *SHAPE, threads))
        room["fastloss.torch"] = size + ROOM
    peak = {way: int(python(MEMORY, way, *SHAPE, threads)) for way in room}
    results = []
    for way, taken in peak.items():
        result = Result(f"cross_entropy {shape} float32 value_and_grad, extra memory, {way}", unit="B")
        result.samples[FASTLOSS] = Sample([taken])
        result.notes.append(f"fastloss took {taken / size:.3f} times the logits")
        if theirs is not None:
            result.samples["torch"] = Sample([theirs])
            result.notes.append(f"torch took {theirs / size:.3f} times the logits")
        if room[way] is not None:
            result.outcomes.append(Outcome(Goal("bytes", room[way]), taken))
        results.append(result)
    return results


def run_memory_of_products(threads: int) -> list[Result]:
    """The memory that losses whose products BLAS makes take with gradients: batches of growing size, a linear layer."""
    pieces = [(loss, (rows, 128), BATCH_ROOM) for loss in BATCHES for rows in (1 << n for n in range(10, 16))]
    pieces += [(loss, shape, LAYER_ROOM) for loss in LAYERS for shape in LAYER_ROOM]
    results = []
    for loss, shape, room in pieces:
        taken = int(python(MEMORY_OF_WORK, loss, threads, *shape))
        result = Result(f"{loss} {'x'.join(map(str, shape))} float32 value_and_grad, extra memory, out=", unit="B")
        result.samples[FASTLOSS] = Sample([taken])
        if shape in room:
            result.outcomes.append(Outcome(Goal("bytes", room[shape]), taken))
        results.append(result)
    return results
