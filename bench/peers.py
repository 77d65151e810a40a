"""The peers: other ways of doing a piece of work, each called as its users call it.

A peer is a function from a problem to a contender, or to None where it has no such loss. A contender returns
what fastloss returns: the value, or the value and the gradient, both in new arrays of the peer's own making.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from .batches import of_all_pairs
from .formulas import written_out
from .measure import Contender
from .problem import Array, Problem

Prepare = Callable[[Problem], Contender | None]
Function = Callable[..., Any]
OPTIONS = "LinearCrossEntropyOptions"


def float64_reference(problem: Problem) -> Contender | None:
    """The loss's own definition in NumPy float64."""
    function = problem.work.function.reference
    if problem.work.mode == "value_and_grad":
        function = getattr(function, "value_and_grad", None)
    if function is None:
        return None
    return Contender(functools.partial(function, *problem.arguments, **problem.keywords))


# NumPy, in float32 (float64 for float64) as one writes it by hand.


def _numpy_logsumexp(x: Array, axis: int) -> tuple[Array, Array, Array]:
    """Log-sum-exp, the exponentials and their sums."""
    top = x.max(axis=axis, keepdims=True)
    exps = np.exp(x - top)
    sums = exps.sum(axis=axis, keepdims=True)
    return np.log(sums) + top, exps, sums


def _numpy_cross_entropy(x: Array, t: Array, axis: int, gradient: bool) -> Any:
    lse, exps, sums = _numpy_logsumexp(x, axis)
    labels = np.expand_dims(t, axis)
    value = (lse - np.take_along_axis(x, labels, axis)).mean()
    if not gradient:
        return value
    exps /= sums
    np.put_along_axis(exps, labels, np.take_along_axis(exps, labels, axis) - 1, axis)
    exps /= t.size
    return value, exps


def _numpy_lse(x: Array, axis: int, gradient: bool) -> Any:
    lse, exps, sums = _numpy_logsumexp(x, axis)
    if not gradient:
        return lse.squeeze(axis)
    exps /= sums
    return lse.squeeze(axis), exps


def _numpy_mse(x: Array, t: Array, axis: int, gradient: bool) -> Any:
    difference = x - t
    value = np.mean(difference * difference)
    return (value, difference * x.dtype.type(2 / x.size)) if gradient else value


def _numpy_bce_with_logits(x: Array, t: Array, axis: int, gradient: bool) -> Any:
    exps = np.exp(-np.abs(x))
    value = np.mean(np.maximum(x, 0) - x * t + np.log1p(exps))
    if not gradient:
        return value
    return value, (np.where(x >= 0, 1, exps) / (1 + exps) - t) / x.dtype.type(x.size)


NUMPY: dict[str, Function] = {
    "cross_entropy": _numpy_cross_entropy,
    "logsumexp": _numpy_lse,
    "mse_loss": _numpy_mse,
    "binary_cross_entropy_with_logits": _numpy_bce_with_logits,
}


def plain_numpy(problem: Problem) -> Contender | None:
    """Plain NumPy; float16 and bfloat16 are made float32 first, NumPy having no fast arithmetic for them."""
    function = NUMPY.get(problem.work.loss)
    if function is None:
        return None
    gradient = problem.work.mode == "value_and_grad"
    labels = next((each for each in problem.arguments if each.dtype.kind == "i"), None)

    def call() -> Any:
        real = np.float64 if problem.dtype == np.float64 else np.float32
        x, *rest = (each.astype(real, copy=False) if each is not labels else each for each in problem.arguments)
        return function(x, *rest, problem.work.axis, gradient)

    return Contender(call)


def scipy_special(problem: Problem) -> Contender | None:
    """scipy.special: values of the softmax family, for the dtypes it has."""
    if problem.work.mode != "value" or problem.dtype not in (np.float32, np.float64):
        return None
    special = import_module("scipy.special")
    axis = problem.work.axis

    def cross_entropy(x: Array, t: Array) -> Any:
        log_p = special.log_softmax(x, axis=axis)
        return -np.take_along_axis(log_p, np.expand_dims(t, axis), axis).mean()

    functions: dict[str, Function] = {
        "logsumexp": functools.partial(special.logsumexp, axis=axis),
        "softmax": functools.partial(special.softmax, axis=axis),
        "log_softmax": functools.partial(special.log_softmax, axis=axis),
        "cross_entropy": cross_entropy,
    }
    function = functions.get(problem.work.loss)
    return None if function is None else Contender(functools.partial(function, *problem.arguments))


# PyTorch.


def _torch_function(problem: Problem) -> Function | None:
    """The loss in torch: its own where it has one, otherwise composed of what it has."""
    torch = import_module("torch")
    functional = import_module("torch.nn.functional")
    axis, name = problem.work.axis, problem.work.loss

    def take(x: Any, t: Any) -> Any:
        return x.gather(axis, t.unsqueeze(axis)).squeeze(axis)

    def selective_log_softmax(x: Any, t: Any) -> Any:
        return take(x, t) - torch.logsumexp(x, axis)

    def entropy(x: Any) -> Any:
        log_p = functional.log_softmax(x, axis)
        return -(log_p.exp() * log_p).sum(axis)

    def perplexity(x: Any, t: Any) -> Any:
        return functional.cross_entropy(x, t).exp()

    def score(x: Any, t: Any) -> Any:
        log_p = functional.log_softmax(x, axis)
        chosen = take(x, t)
        rank = (x > chosen.unsqueeze(axis)).sum(axis)
        log_prob = take(log_p, t)
        return log_prob, -(log_p.exp() * log_p).sum(axis), rank, x.argmax(axis), chosen - log_prob

    def tversky_loss(x: Any, t: Any, smooth: float = 1.0) -> Any:
        p = torch.sigmoid(x)
        hit, missed = (p * t).sum(axis), 0.5 * (p * (1 - t) + (1 - p) * t).sum(axis)
        return (1 - (hit + smooth) / (hit + missed + smooth)).mean()

    def focal_loss(x: Any, t: Any) -> Any:
        nll = -take(functional.log_softmax(x, axis), t)
        return ((1 - torch.exp(-nll)) ** 2 * nll).mean()

    def divergence(log_p: Any, log_q: Any) -> Any:
        return functional.kl_div(log_p, log_q, reduction="sum", log_target=True) * log_p.shape[axis] / log_p.numel()

    def kl_div_with_logits(x: Any, t: Any) -> Any:
        return divergence(functional.log_softmax(x, axis), functional.log_softmax(t, axis))

    def js_div_with_logits(x: Any, t: Any) -> Any:
        log_p, log_q = functional.log_softmax(x, axis), functional.log_softmax(t, axis)
        log_m = torch.logaddexp(log_p, log_q) - math.log(2)
        return (divergence(log_m, log_p) + divergence(log_m, log_q)) / 2

    own: dict[str, Function] = {
        "linear_cross_entropy": lambda x, w, t: functional.cross_entropy(x @ w.T, t),
        "cosine_similarity": lambda x, y: functional.cosine_similarity(x, y, axis),
        "dice_loss": lambda x, t: tversky_loss(x, t, 0.5),
        "tversky_loss": tversky_loss,
        "logsumexp": lambda x: torch.logsumexp(x, axis),
        "softmax": lambda x: functional.softmax(x, axis),
        "log_softmax": lambda x: functional.log_softmax(x, axis),
        "selective_log_softmax": selective_log_softmax,
        "entropy": entropy,
        "perplexity": perplexity,
        "score": score,
        "focal_loss": focal_loss,
        "kl_div_with_logits": kl_div_with_logits,
        "js_div_with_logits": js_div_with_logits,
    }
    own |= of_all_pairs(torch)
    if name in own:
        return own[name]
    # torch's losses over classes have them on axis 1.
    if problem.work.function.family == "rowwise" and axis % len(problem.work.shape) != 1:
        return None
    function: Function | None = getattr(functional, name, None) or written_out(torch).get(name)
    return function


def _tensor(array: Array) -> Any:
    """A tensor on the same memory."""
    torch = import_module("torch")
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _torch_contender(function: Function, problem: Problem) -> Contender:
    torch = import_module("torch")
    arguments = [_tensor(each) for each in problem.arguments]
    if problem.work.mode == "value":
        return Contender(lambda: function(*arguments), torch.no_grad)
    leaves = [arguments[place].requires_grad_() for place in problem.leaves]
    upstream = None if problem.upstream is None else _tensor(problem.upstream)

    def call() -> Any:
        for leaf in leaves:
            leaf.grad = None
        value = function(*arguments)
        value.backward(upstream if upstream is not None or value.ndim == 0 else torch.ones_like(value))
        return value, tuple(leaf.grad for leaf in leaves)

    return Contender(call)


def torch_eager(problem: Problem) -> Contender | None:
    """torch, eager; the gradient by `backward()` into a `.grad` that starts as None."""
    function = _torch_function(problem)
    return None if function is None else _torch_contender(function, problem)


def bridged(problem: Problem) -> Contender:
    """The loss through fastloss's module for another library, called as that library's own function is."""
    work = problem.work
    function = getattr(import_module(f"fastloss.{work.through}"), work.loss)
    return {"torch": _torch_contender}[work.through](function, problem)


def torch_chunked(problem: Problem) -> Contender | None:
    """The form of torch's linear_cross_entropy that does not hold all logits."""
    functional, options = import_module("torch.nn.functional"), getattr(import_module("torch.nn"), OPTIONS, None)
    if options is None or problem.work.function.family != "linear":
        return None
    return _torch_contender(functools.partial(functional.linear_cross_entropy, options=options()), problem)


def torch_compile(problem: Problem) -> Contender | None:
    """The same function through torch.compile, specialised to these shapes."""
    function = _torch_function(problem)
    if function is None:
        return None
    library = import_module("torch")
    import_module("torch._dynamo").reset()
    return _torch_contender(library.compile(function, fullgraph=True, dynamic=False), problem)


# JAX.


def _jax_function(problem: Problem) -> Function | None:
    """The loss in jax: optax's where it has one, otherwise jax.nn's or composed of jax.numpy."""
    jax, jnp = import_module("jax"), import_module("jax.numpy")
    axis = problem.work.axis

    def take(x: Any, t: Any) -> Any:
        return jnp.take_along_axis(x, jnp.expand_dims(t, axis), axis).squeeze(axis)

    def logsumexp(x: Any) -> Any:
        return jax.nn.logsumexp(x, axis=axis)

    def selective_log_softmax(x: Any, t: Any) -> Any:
        return take(x, t) - logsumexp(x)

    def nll_loss(x: Any, t: Any) -> Any:
        return -take(x, t).mean()

    def entropy(x: Any) -> Any:
        log_p = jax.nn.log_softmax(x, axis)
        return -(jnp.exp(log_p) * log_p).sum(axis)

    def score(x: Any, t: Any) -> Any:
        lse, chosen = logsumexp(x), take(x, t)
        rank = (x > jnp.expand_dims(chosen, axis)).sum(axis)
        return chosen - lse, entropy(x), rank, x.argmax(axis), lse

    def focal_loss(x: Any, t: Any) -> Any:
        nll = logsumexp(x) - take(x, t)
        return ((1 - jnp.exp(-nll)) ** 2 * nll).mean()

    def divergence(log_p: Any, log_q: Any) -> Any:
        return (jnp.exp(log_q) * (log_q - log_p)).sum(axis).mean()

    def kl_div_with_logits(x: Any, t: Any) -> Any:
        return divergence(jax.nn.log_softmax(x, axis), jax.nn.log_softmax(t, axis))

    def js_div_with_logits(x: Any, t: Any) -> Any:
        log_p, log_q = jax.nn.log_softmax(x, axis), jax.nn.log_softmax(t, axis)
        log_m = jnp.logaddexp(log_p, log_q) - math.log(2)
        return (divergence(log_m, log_p) + divergence(log_m, log_q)) / 2

    own: dict[str, Function] = {
        "logsumexp": logsumexp,
        "softmax": lambda x: jax.nn.softmax(x, axis),
        "log_softmax": lambda x: jax.nn.log_softmax(x, axis),
        "selective_log_softmax": selective_log_softmax,
        "nll_loss": nll_loss,
        "entropy": entropy,
        "score": score,
        "focal_loss": focal_loss,
        "kl_div_with_logits": kl_div_with_logits,
        "js_div_with_logits": js_div_with_logits,
    }
    if find_spec("optax"):
        optax = import_module("optax")
        labelled = functools.partial(optax.softmax_cross_entropy_with_integer_labels, axis=axis)

        def ctc_loss(x: Any, t: Any, steps: Any, labels: Any) -> Any:
            """From logits, sequences first, and with paddings in the place of lengths."""
            x = x.transpose(1, 0, 2)
            padding = [
                jnp.arange(size) >= count[:, None] for size, count in ((x.shape[1], steps), (t.shape[1], labels))
            ]
            each = optax.ctc_loss(x, padding[0].astype(x.dtype), t, padding[1].astype(x.dtype))
            return (each / jnp.maximum(labels, 1)).mean()

        own |= {
            "cross_entropy": lambda x, t: labelled(x, t).mean(),
            "linear_cross_entropy": lambda x, w, t: labelled(x @ w.T, t).mean(),
            "perplexity": lambda x, t: jnp.exp(labelled(x, t).mean()),
            "mse_loss": lambda x, t: optax.squared_error(x, t).mean(),
            "huber_loss": lambda x, t: optax.losses.huber_loss(x, t).mean(),
            "log_cosh_loss": lambda x, t: optax.losses.log_cosh(x, t).mean(),
            "hinge_loss": lambda x, t: optax.losses.hinge_loss(x, t).mean(),
            "sigmoid_focal_loss": lambda x, t: optax.losses.sigmoid_focal_loss(x, t, alpha=0.25).mean(),
            "ctc_loss": ctc_loss,
            "cosine_similarity": lambda x, y: optax.cosine_similarity(x, y, epsilon=1e-16),
            "dice_loss": lambda x, t: optax.dice_loss(x[..., None], t[..., None], smooth=0.5).mean(),
            "tversky_loss": lambda x, t: optax.dice_loss(x[..., None], t[..., None]).mean(),
            "binary_cross_entropy_with_logits": lambda x, t: optax.sigmoid_binary_cross_entropy(x, t).mean(),
        }
    return own.get(problem.work.loss) or written_out(jnp).get(problem.work.loss)


def _jax_gradient(function: Function, arguments: list[Any], leaves: list[int]) -> Function:
    """Value and gradients of a function; a value that is an array takes what comes from upstream, or ones."""
    jax, jnp = import_module("jax"), import_module("jax.numpy")
    count = len(inspect.signature(function).parameters)
    if jax.eval_shape(function, *arguments[:count]).ndim == 0:
        gradient: Function = jax.value_and_grad(function, argnums=tuple(leaves))
        return gradient

    def pulled(*given: Any) -> Any:
        def of_leaves(*values: Any) -> Any:
            whole = list(given[:count])
            for place, value in zip(leaves, values, strict=True):
                whole[place] = value
            return function(*whole)

        value, pull = jax.vjp(of_leaves, *(given[place] for place in leaves))
        return value, *pull(given[-1] if len(given) > count else jnp.ones_like(value))

    return pulled


def _jax_contender(function: Function | None, problem: Problem) -> Contender | None:
    """A function under jax.jit on the CPU, waiting for the result; the arrays are on its device before."""
    if function is None:
        return None
    jax = import_module("jax")
    switches = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")
    wide = functools.partial(switches.enable_x64, problem.dtype == np.float64)
    with wide():
        arguments = [jax.device_put(each, jax.devices("cpu")[0]) for each in problem.reads]
        if problem.work.mode == "value_and_grad":
            function = _jax_gradient(function, arguments, problem.leaves)
    jitted = jax.jit(function)
    return Contender(lambda: jax.block_until_ready(jitted(*arguments)), wide)


def jax_jit(problem: Problem) -> Contender | None:
    """What the libraries for jax have."""
    return _jax_contender(_jax_function(problem), problem)


def jax_by_hand(problem: Problem) -> Contender | None:
    """The loss written out, where that is faster in jax than what the libraries have."""
    jnp = import_module("jax.numpy")

    def bce_with_logits(x: Any, t: Any) -> Any:
        return (jnp.maximum(x, 0) - x * t + jnp.log1p(jnp.exp(-jnp.abs(x)))).mean()

    functions: dict[str, Function] = {"binary_cross_entropy_with_logits": bce_with_logits}
    return _jax_contender(functions.get(problem.work.loss), problem)


# By the name that `--peers` and the reports use: the module it needs, and what makes the contender.
PEERS: dict[str, tuple[str, Prepare]] = {
    "torch": ("torch", torch_eager),
    "torch chunked": ("torch", torch_chunked),
    "torch.compile": ("torch", torch_compile),
    "jax.jit": ("jax", jax_jit),
    "jax.jit by hand": ("jax", jax_by_hand),
    "scipy": ("scipy", scipy_special),
    "numpy": ("numpy", plain_numpy),
    "reference": ("numpy", float64_reference),
}


def prepare(name: str, problem: Problem) -> Contender | None:
    """The contender of a peer, or None where it is not installed or has no such loss."""
    module, make = PEERS[name]
    return make(problem) if find_spec(module) else None


def set_threads(count: int) -> None:
    """Give as many threads to those peers that can be told."""
    if find_spec("torch"):
        import_module("torch").set_num_threads(count)
