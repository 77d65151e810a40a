# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The binding: NumPy arrays become pointers and strides, the lock is released, the driver runs. No mathematics."""

cimport numpy as cnp
from cpython.long cimport PyLong_AsLongAndOverflow
from libc.stdint cimport int64_t, uint64_t, uintptr_t

cnp.import_array()

cdef extern from *:
    """
    #include "fastloss.h"
    #define POINTWISE(name, operands, grads) #name,
    static const char *fl_pointwise_names[] = {
    #include "losses.def"
    0};
    #define ROWWISE(name, reads) #name,
    static const char *fl_rowwise_names[] = {
    #include "losses.def"
    0};
    #define ROWSUMS(name, operands, grads) #name,
    static const char *fl_rowsums_names[] = {
    #include "losses.def"
    0};
    #define ROWSUMS(name, operands, grads) operands,
    static int fl_rowsums_operands[] = {
    #include "losses.def"
    0};
    #define SEQUENCE(name) #name,
    static const char *fl_sequence_names[] = {
    #include "losses.def"
    0};
    #define PAIRWISE(name) #name,
    static const char *fl_pairwise_names[] = {
    #include "losses.def"
    0};
    #define POINTWISE(name, operands, grads) operands,
    static int fl_pointwise_operands[] = {
    #include "losses.def"
    0};
    #define ROWWISE(name, reads) reads,
    static int fl_rowwise_reads[] = {
    #include "losses.def"
    0};
    #ifdef _OPENMP
    #define FL_OPENMP_STR(x) #x
    #define FL_OPENMP_XSTR(x) FL_OPENMP_STR(x)
    #define FL_OPENMP (fl_has_openmp() ? FL_OPENMP_XSTR(_OPENMP) : "")
    #else
    #define FL_OPENMP (fl_has_openmp() ? "yes" : "")
    #endif
    #if defined(__clang__)
    #define FL_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define FL_COMPILER "gcc " __VERSION__
    #elif defined(_MSC_VER)
    #define FL_STR(x) #x
    #define FL_XSTR(x) FL_STR(x)
    #define FL_COMPILER "msvc " FL_XSTR(_MSC_VER)
    #else
    #define FL_COMPILER "unknown"
    #endif
    """
    const char **fl_pointwise_names
    const char **fl_rowwise_names
    const char **fl_rowsums_names
    const char **fl_sequence_names
    const char **fl_pairwise_names
    int *fl_pointwise_operands
    int *fl_rowsums_operands
    int *fl_rowwise_reads
    const char *FL_COMPILER
    const char *FL_OPENMP


cdef dict _names(const char **names):
    cdef int i = 0
    cdef dict found = {}
    while names[i] != NULL:
        found[names[i].decode()] = i
        i += 1
    return found


POINTWISE = _names(fl_pointwise_names)
ROWWISE = _names(fl_rowwise_names)
ROWSUMS = _names(fl_rowsums_names)
SEQUENCE = _names(fl_sequence_names)
PAIRWISE = _names(fl_pairwise_names)
TILE, BLOCK, NARROW = FL_TILE, FL_BLOCK, FL_NARROW
SCAN, VALUE, DERIVE = FL_SCAN, FL_VALUE, FL_DERIVE
SUM_DIGITS = FL_SUM_DIGITS
CARRY = sizeof(fl_carry) // sizeof(double)
COMPILER = FL_COMPILER.decode()
OPENMP = FL_OPENMP.decode()

# The instruction set in use: chosen once, at import; use_isa is for tests and benchmarks.
cdef const fl_isa *chosen = NULL


def built_isas():
    """The instruction sets of this build, best first."""
    return [fl_isa_at(i).name.decode() for i in range(fl_isa_count())]


def isas():
    """The instruction sets of this build that this machine can run, best first."""
    return [fl_isa_at(i).name.decode() for i in range(fl_isa_count()) if fl_runs_here(fl_isa_at(i))]


def isa():
    """The instruction set in use."""
    return chosen.name.decode()


def use_isa(str name):
    """Use the kernels of another instruction set from now on. Not while another thread computes."""
    global chosen
    cdef int i
    if name not in built_isas():
        raise ValueError(f"FASTLOSS_ISA is {name!r}, but this build has {', '.join(built_isas())}")
    if name not in isas():
        raise ValueError(f"FASTLOSS_ISA is {name!r}, but this machine can only run {', '.join(isas())}")
    for i in range(fl_isa_count()):
        if fl_isa_at(i).name.decode() == name:
            chosen = fl_isa_at(i)


def can_thread():
    """Whether more than one thread is possible here: not in a forked child, nor without OpenMP."""
    return bool(fl_can_thread())


def max_threads():
    """How many threads a call uses that does not say."""
    return fl_max_threads()


cpdef int dtype_code(cnp.ndarray array) except -2:
    """The storage of an array, or -1 where there is none for its dtype."""
    cdef int size = <int>cnp.PyArray_ITEMSIZE(array)
    cdef int number = cnp.PyArray_TYPE(array)
    cdef char kind
    if number == cnp.NPY_FLOAT:
        return FL_F32
    if number == cnp.NPY_DOUBLE:
        return FL_F64
    kind = array.descr.kind
    if kind == b"f":
        return FL_F16 if size == 2 else -1
    if kind == b"i":
        return FL_I8 if size == 1 else FL_I16 if size == 2 else FL_I32 if size == 4 else FL_I64
    if kind == b"u":
        return FL_U8 if size == 1 else FL_U16 if size == 2 else FL_U32 if size == 4 else FL_U64
    if kind == b"b":
        return FL_U8
    if size == 2 and (array.dtype.name == "bfloat16" or array.dtype.names == ("bfloat16",)):
        return FL_BF16
    return -1


include "_intake.pxi"


# An array seen through the given dimensions: those it lacks in front, and those where it has one element, repeat it.
# The dimensions whose bits `skipped` has set are left out. Dimensions that can be walked as one become one.
cdef int describe_some(fl_array *to, cnp.ndarray array, int ndim, const cnp.npy_intp *shape,
                       uint64_t skipped) except -1:
    cdef int own = cnp.PyArray_NDIM(array), d, at, n = 0
    cdef int64_t length, stride
    if ndim > FL_MAX_DIM:
        raise ValueError(f"arrays may have at most {FL_MAX_DIM} dimensions")
    to.data = <char *>cnp.PyArray_DATA(array)
    to.dtype = dtype_code(array)
    to.swapped = cnp.PyArray_ISBYTESWAPPED(array)
    for d in range(ndim):
        if skipped >> d & 1 or shape[d] == 1:
            continue
        at = d - (ndim - own)
        length = shape[d]
        stride = 0 if at < 0 or cnp.PyArray_DIM(array, at) == 1 else cnp.PyArray_STRIDE(array, at)
        if n > 0 and to.stride[n - 1] == stride * length:
            to.shape[n - 1] *= length
            to.stride[n - 1] = stride
        else:
            to.shape[n] = length
            to.stride[n] = stride
            n += 1
    if n == 1 and to.stride[0] == 0:
        n = 0
    to.ndim = n
    return 0


cdef int describe(fl_array *to, cnp.ndarray array, int ndim, const cnp.npy_intp *shape, int skip) except -1:
    return describe_some(to, array, ndim, shape, 0 if skip < 0 else <uint64_t>1 << skip)


# An array seen through `shape` as rows of the elements along `axes`, a bit for each.
cdef int describe_sums(fl_rows *to, cnp.ndarray array, int ndim, const cnp.npy_intp *shape, uint64_t axes) except -1:
    describe_some(&to.matrix.rows, array, ndim, shape, axes)
    describe_some(&to.row, array, ndim, shape, ~axes)
    to.matrix.class_stride = to.row.stride[0] if to.row.ndim == 1 else 0
    return 0


# An array by itself, or none.
cdef int describe_own(fl_array *to, array) except -1:
    to.data = NULL
    if array is not None:
        describe(to, array, cnp.PyArray_NDIM(array), cnp.PyArray_DIMS(array), -1)
    return 0


cdef int describe_rows(fl_matrix *to, cnp.ndarray array, int axis) except -1:
    describe(&to.rows, array, cnp.PyArray_NDIM(array), cnp.PyArray_DIMS(array), axis)
    to.class_stride = cnp.PyArray_STRIDE(array, axis)
    return 0


cdef int describe_job(fl_rowwise *job, cnp.ndarray input, int axis, label, ignore_index, tuple params) except -1:
    """Rows of logits, entire, and their labels; nothing else is given or asked for."""
    cdef int i
    job.classes = cnp.PyArray_DIM(input, axis)
    job.count = cnp.PyArray_SIZE(input) // job.classes
    describe_rows(&job.input, input, axis)
    job.phase, job.first_class, job.all_classes = FL_ENTIRE, 0, job.classes
    job.carry = NULL
    job.dense.rows.data = job.grad.rows.data = job.hess.rows.data = job.label.data = NULL
    if label is not None:
        describe(&job.label, label, cnp.PyArray_NDIM(label), cnp.PyArray_DIMS(label), -1)
    job.has_ignore = ignore_index is not None
    job.ignore_index = ignore_index if job.has_ignore else 0
    job.upstream = job.weight = job.value = NULL
    job.weight_sum = job.classes
    for i in range(FL_MAX_PARAMS):
        job.param[i] = params[i] if i < len(params) else 0
    job.softcap, job.scale, job.stream, job.origin = 0, 1, False, 0
    job.score[0] = job.score[1] = job.score[2] = NULL
    job.rank = job.prediction = NULL
    return 0


cdef int check(int code) except -1:
    if code != 0:
        raise MemoryError("fastloss: no memory for the partial sums")
    return 0


def pointwise(int loss, int mode, bint wide, cnp.ndarray shaped, tuple operands, bint weighted,
              tuple params, double scale, bint sum, bint stream, value, tuple grads, hess, int threads):
    """Run a pointwise kernel over arrays broadcast to the shape of `shaped`.

    Returns the sum of the losses and the first element that the kernel refused or -1.
    """
    cdef fl_pointwise job
    cdef fl_work work
    cdef fl_partial total
    cdef int ndim = cnp.PyArray_NDIM(shaped), i
    cdef cnp.npy_intp *shape = cnp.PyArray_DIMS(shaped)
    if len(operands) != fl_pointwise_operands[loss] + 1:
        raise ValueError("wrong number of operands")
    job.size = cnp.PyArray_SIZE(shaped)
    job.operands = len(operands)
    for i in range(job.operands):
        describe(&job.operand[i], operands[i], ndim, shape, -1)
    for i in range(FL_MAX_PARAMS):
        job.param[i] = params[i] if i < len(params) else 0
    job.scale = scale
    job.weighted = weighted
    job.sum = sum
    job.stream = stream
    job.value.data = NULL
    job.hess.data = NULL
    if value is not None:
        describe(&job.value, value, ndim, shape, -1)
    for i in range(len(grads)):
        describe(&job.grad[i], grads[i], ndim, shape, -1)
    if hess is not None:
        describe(&job.hess, hess, ndim, shape, -1)
    work.tile = chosen.table[wide].pointwise[loss][mode]
    work.job = &job
    work.items = work.cost = job.size
    work.tile_items = FL_TILE
    work.scratch = 0
    work.threads = threads
    with nogil:
        i = fl_run(&work, &total)
    check(i)
    return total.sum, total.bad


def rowwise(int loss, bint wide, cnp.ndarray input, int axis, label, dense, upstream, weight, double weight_sum,
            ignore_index, tuple params, double softcap, double scale, bint stream, value, grad, hess, extra,
            int threads, tuple piece=None):
    """Run a rowwise kernel along an axis (loss -1: only look at the labels).

    `extra`, of kernels that score: ranks, predictions, and up to three arrays of what they hand on; None where they are
    not wanted, but for ranks.

    `piece`, of rows whose classes come in pieces: what to do with it (SCAN, VALUE, DERIVE), its first class, how many
    classes there are, and an array of CARRY float64 numbers for each row.

    Returns the sum of the losses, the sum of the weights, and the first row with a label out of range or -1.
    """
    cdef fl_rowwise job
    cdef fl_work work
    cdef fl_partial total
    cdef int ndim = cnp.PyArray_NDIM(input), i
    cdef bint picked
    cdef cnp.ndarray a
    describe_job(&job, input, axis, label, ignore_index, params)
    if piece is not None:
        job.phase, job.first_class, job.all_classes, a = piece
        job.carry = <fl_carry *>cnp.PyArray_DATA(a)
    if dense is not None:
        describe_rows(&job.dense, dense, axis)
    if upstream is not None:
        job.upstream = cnp.PyArray_DATA(upstream)
    if weight is not None:
        job.weight = cnp.PyArray_DATA(weight)
    job.weight_sum = weight_sum
    job.softcap = softcap
    job.scale = scale
    job.stream = stream
    if value is not None:
        job.value = cnp.PyArray_DATA(value)
    if grad is not None:
        describe_rows(&job.grad, grad, axis)
    if hess is not None:
        describe_rows(&job.hess, hess, axis)
    if extra is not None:
        job.rank = <int64_t *>cnp.PyArray_DATA(extra[0])
        if extra[1] is not None:
            job.prediction = <int64_t *>cnp.PyArray_DATA(extra[1])
        for i in range(len(extra) - 2):
            if extra[2 + i] is not None:
                job.score[i] = cnp.PyArray_DATA(extra[2 + i])
    work.tile = chosen.table[wide].labels if loss < 0 else chosen.table[wide].rowwise[loss]
    work.job = &job
    work.items = job.count
    # Labels alone, and a value that wants one class of each row, are little work however long the rows.
    picked = loss < 0 or job.phase == FL_VALUE or (fl_rowwise_reads[loss] == FL_PICKED and grad is None)
    work.cost = job.count if picked else cnp.PyArray_SIZE(input)
    work.tile_items = FL_TILE if loss < 0 else tile_rows(
        job.classes, job.input.class_stride != cnp.PyArray_ITEMSIZE(input))
    work.scratch = fl_row_scratch(&job, fl_rowwise_reads[loss], 8 if wide else 4) if loss >= 0 else 0
    work.threads = threads
    with nogil:
        i = fl_run(&work, &total)
    check(i)
    return total.sum, total.weight, total.bad


def rowsums(int loss, bint wide, cnp.ndarray shaped, tuple axes, tuple operands, label, labels, number, upstream,
            weight, tuple params, double scale, bint stream, value, tuple grads, int threads):
    """Run a kernel of sums over rows along `axes` of arrays broadcast to the shape of `shaped`.

    Returns the sum of the losses, and the first row with a label out of range or -1.
    """
    cdef fl_rowsums job
    cdef fl_work work
    cdef fl_partial total
    cdef int ndim = cnp.PyArray_NDIM(shaped), i
    cdef cnp.npy_intp *shape = cnp.PyArray_DIMS(shaped)
    cdef uint64_t along = 0
    if len(operands) != fl_rowsums_operands[loss]:
        raise ValueError("wrong number of operands")
    job.length = 1
    for axis in axes:
        along |= <uint64_t>1 << <int>axis
        job.length *= shape[<int>axis]
    job.count = cnp.PyArray_SIZE(shaped) // job.length
    for i in range(len(operands)):
        describe_sums(&job.operand[i], operands[i], ndim, shape, along)
    job.grad[0].row.data = NULL
    for i in range(len(grads)):
        describe_sums(&job.grad[i], grads[i], ndim, shape, along)
    describe_own(&job.label, label)
    describe_own(&job.number, number)
    describe_own(&job.upstream, upstream)
    job.labels.row.data = NULL
    if labels is not None:
        describe_sums(&job.labels, labels, ndim, shape, along)
    job.weight = NULL if weight is None else cnp.PyArray_DATA(weight)
    for i in range(FL_MAX_PARAMS):
        job.param[i] = params[i] if i < len(params) else 0
    job.scale = scale
    job.stream = stream
    job.value = NULL if value is None else cnp.PyArray_DATA(value)
    work.tile = chosen.table[wide].rowsums[loss]
    work.job = &job
    work.items = job.count
    work.cost = job.count * job.length
    work.tile_items = tile_rows(
        job.length, job.operand[0].matrix.class_stride != cnp.PyArray_ITEMSIZE(operands[0]))
    work.scratch = fl_list_scratch(&job, 8 if wide else 4)
    work.threads = threads
    with nogil:
        i = fl_run(&work, &total)
    check(i)
    return total.sum, total.bad


cdef int64_t tile_rows(int64_t classes, bint apart):
    """Whole groups of 32 rows while they fit a tile, and where rows are handled together; else as many as fit."""
    cdef int64_t rows = FL_TILE // classes
    if rows >= 32 or apart:
        return max(rows - rows % 32, 32)
    return max(rows, 1)


cdef void describe_series(fl_series *to, cnp.ndarray array):
    to.data = <char *>cnp.PyArray_DATA(array)
    to.dtype = dtype_code(array)
    to.swapped = cnp.PyArray_ISBYTESWAPPED(array)
    to.step_stride = cnp.PyArray_STRIDE(array, 0)
    to.item_stride = cnp.PyArray_STRIDE(array, 1)
    to.class_stride = cnp.PyArray_STRIDE(array, 2)


def sequences(int loss, bint wide, cnp.ndarray input, cnp.ndarray target, cnp.ndarray lengths, int64_t steps,
              int64_t labels, int64_t blank, bint zero_infinity, bint by_length, double scale, bint stream, value,
              grad, int threads):
    """Run a kernel over sequences, (steps, sequences, classes) all three.

    `lengths` is int64, contiguous: of each sequence its length, its target's length and where its target begins; `steps`
    and `labels` are the largest. Returns the sum of the losses, and the first place of a label out of range or -1.
    """
    cdef fl_sequences job
    cdef fl_work work
    cdef fl_partial total
    cdef int i
    cdef const int64_t *given = <const int64_t *>cnp.PyArray_DATA(lengths)
    job.all_steps, job.count, job.classes = input.shape[0], input.shape[1], input.shape[2]
    if lengths.ndim != 2 or lengths.shape[0] != 3 or lengths.shape[1] != job.count:
        raise ValueError("wrong number of lengths")
    job.steps, job.labels = steps, labels
    job.length, job.target_length, job.first = given, given + job.count, given + 2 * job.count
    describe_series(&job.input, input)
    describe(&job.target, target, cnp.PyArray_NDIM(target), cnp.PyArray_DIMS(target), -1)
    job.blank, job.zero_infinity, job.by_length = blank, zero_infinity, by_length
    job.scale, job.stream = scale, stream
    job.value = NULL if value is None else cnp.PyArray_DATA(value)
    job.grad.data = NULL
    if grad is not None:
        describe_series(&job.grad, grad)
    work.tile = chosen.table[wide].sequence[loss]
    work.job = &job
    work.items = job.count
    work.tile_items = 1
    # A label's state takes about as long as four elements.
    work.cost = job.count * steps * (4 * (labels + 1) + (job.classes if grad is not None else 0))
    work.scratch = fl_lattice_of(&job).bytes
    work.threads = threads
    with nogil:
        i = fl_run(&work, &total)
    check(i)
    return total.sum, total.bad


include "_pairs.pxi"
include "_tally.pxi"
include "_probes.pxi"


import os

fl_init()
use_isa(os.environ.get("FASTLOSS_ISA") or isas()[0])
