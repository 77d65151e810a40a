"""What the binding offers to the rest of the package."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

POINTWISE: dict[str, int]
ROWWISE: dict[str, int]
ROWSUMS: dict[str, int]
SEQUENCE: dict[str, int]
PAIRWISE: dict[str, int]
PRODUCT: int
DISTANCE: int
SQUARE: int
PAIR_PARTS: int
TILE: int
BLOCK: int
SUM_DIGITS: int
SCAN: int
VALUE: int
DERIVE: int
CARRY: int
NARROW: int
COMPILER: str
OPENMP: str

def built_isas() -> list[str]: ...
def isas() -> list[str]: ...
def isa() -> str: ...
def use_isa(name: str) -> None: ...
def can_thread() -> bool: ...
def max_threads() -> int: ...
def dtype_code(array: Array) -> int: ...

ABSENT: object

def row_facts(input: Any, axis: Any, label: Any = ...) -> tuple[int, int, int, bool] | None: ...
def operand_facts(operands: tuple[Any, ...], predictions: int) -> int: ...
def pointwise(
    loss: int,
    mode: int,
    wide: bool,
    shaped: Array,
    operands: tuple[Array, ...],
    weighted: bool,
    params: tuple[float, ...],
    scale: float,
    sum: bool,
    stream: bool,
    value: Array | None,
    grads: tuple[Array, ...],
    hess: Array | None,
    threads: int,
) -> tuple[float, int]: ...
def rowwise(
    loss: int,
    wide: bool,
    input: Array,
    axis: int,
    label: Array | None,
    dense: Array | None,
    upstream: Array | None,
    weight: Array | None,
    weight_sum: float,
    ignore_index: int | None,
    params: tuple[float, ...],
    softcap: float,
    scale: float,
    stream: bool,
    value: Array | None,
    grad: Array | None,
    hess: Array | None,
    extra: tuple[Array | None, ...] | None,
    threads: int,
    piece: tuple[int, int, int, Array] | None = None,
) -> tuple[float, float, int]: ...
def rowsums(
    loss: int,
    wide: bool,
    shaped: Array,
    axes: tuple[int, ...],
    operands: tuple[Array, ...],
    label: Array | None,
    labels: Array | None,
    number: Array | None,
    upstream: Array | None,
    weight: Array | None,
    params: tuple[float, ...],
    scale: float,
    stream: bool,
    value: Array | None,
    grads: tuple[Array, ...],
    threads: int,
) -> tuple[float, int]: ...
def sequences(
    loss: int,
    wide: bool,
    input: Array,
    target: Array,
    lengths: Array,
    steps: int,
    labels: int,
    blank: int,
    zero_infinity: bool,
    by_length: bool,
    scale: float,
    stream: bool,
    value: Array | None,
    grad: Array | None,
    threads: int,
) -> tuple[float, int]: ...
def pairwise(
    loss: int,
    wide: bool,
    first: int,
    begin: Array,
    end: Array,
    embeddings: Array,
    squares: Array | None,
    pairs: Array,
    metric: int,
    factor: float,
    params: tuple[float, ...],
    slopes: bool,
    sums: Array,
    terms: Array,
    picked: Array,
    factors: Array,
    threads: int,
) -> None: ...
def distances(
    wide: bool,
    x: Array,
    y: Array,
    x_square: Array,
    y_square: Array,
    pairs: Array,
    threads: int,
) -> None: ...
def both_ways(wide: bool, pairs: Array, rows_lse: Array, columns_lse: Array, scale: float, threads: int) -> None: ...
def tally(
    wide: bool, values: tuple[Array, ...], rank: Array | None, bounds: Array, first: Array, threads: int
) -> tuple[Array, Array]: ...
def evaluate(
    wide: bool,
    input: Array,
    axis: int,
    label: Array | None,
    ignore_index: int | None,
    params: tuple[float, ...],
    bounds: Array,
    threads: int,
) -> tuple[Array, Array, float, int]: ...
def read_probe(array: Array, threads: int = 0) -> float: ...
def copy_probe(source: Array, to: Array, threads: int = 0) -> None: ...
