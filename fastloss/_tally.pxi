"""The binding of exact sums; part of _core.pyx."""

cdef enum:
    SHARES = 16  # of a thread


def tally(bint wide, tuple values, rank, cnp.ndarray bounds not None, cnp.ndarray first not None, int threads):
    """Exact sums of contiguous arrays of the compute dtype, and how many ranks lie below each bound, by segments.

    `first` is int64: where each segment begins, and the end of the last. Returns an array (segments, arrays) of
    bytes, those of an fl_sum each, and an int64 array (segments, bounds).
    """
    cdef fl_tally job
    cdef fl_work work
    cdef fl_partial total
    cdef int i
    cdef cnp.ndarray sums, within
    cdef int64_t segments = cnp.PyArray_SIZE(first) - 1
    if len(values) > FL_TALLY_ARRAYS:
        raise ValueError("too many arrays")
    job.first = <const int64_t *>cnp.PyArray_DATA(first)
    job.arrays = len(values)
    for i in range(job.arrays):
        job.value[i] = cnp.PyArray_DATA(values[i])
    job.bounds = cnp.PyArray_SIZE(bounds) if rank is not None else 0
    job.rank = NULL
    if rank is not None:
        job.rank = <const int64_t *>cnp.PyArray_DATA(rank)
    job.bound = <const int64_t *>cnp.PyArray_DATA(bounds)
    cdef cnp.npy_intp *shape = [segments, job.arrays, sizeof(fl_sum)]
    sums = cnp.PyArray_EMPTY(3, shape, cnp.NPY_UINT8, 0)
    shape[1] = job.bounds
    within = cnp.PyArray_EMPTY(2, shape, cnp.NPY_INT64, 0)
    job.sum = <fl_sum *>cnp.PyArray_DATA(sums)
    job.within = <int64_t *>cnp.PyArray_DATA(within)
    work.tile = chosen.table[wide].tally
    work.job = &job
    work.items = segments
    work.tile_items = 1
    work.cost = job.first[segments] * (2 * job.arrays + job.bounds)
    work.scratch = 0
    work.threads = threads
    with nogil:
        i = fl_run(&work, &total)
    check(i)
    return sums, within


def evaluate(bint wide, cnp.ndarray input, int axis, label, ignore_index, cnp.ndarray bounds not None, int threads):
    """Exact sums of the losses and of the entropies of rows, and how many of the labels' ranks lie below each bound.

    Returns an array of two rows of bytes, those of an fl_sum each; an int64 array, one per bound; how many rows are
    evaluated; and the first row with a label out of range or -1.
    """
    cdef fl_evaluation job
    cdef fl_work work
    cdef fl_partial total
    cdef int i
    cdef cnp.ndarray sums, within, found, hits
    describe_job(&job.rows, input, axis, label, ignore_index)
    cdef int64_t each = tile_rows(job.rows.classes, job.rows.input.class_stride != cnp.PyArray_ITEMSIZE(input))
    # What is exact may be cut anywhere: tiles as large as keep threads busy, so that their sums do not grow with the rows.
    cdef int64_t shares = SHARES * (threads if threads > 0 else fl_max_threads())
    work.tile_items = job.tile_items = each * max(1, job.rows.count // (shares * each))
    cdef int64_t tiles = (job.rows.count + job.tile_items - 1) // job.tile_items
    job.bounds = cnp.PyArray_SIZE(bounds)
    job.bound = <const int64_t *>cnp.PyArray_DATA(bounds)
    cdef cnp.npy_intp *shape = [tiles, 2, sizeof(fl_sum)]
    sums = cnp.PyArray_EMPTY(3, shape, cnp.NPY_UINT8, 0)
    found = cnp.PyArray_ZEROS(2, shape + 1, cnp.NPY_UINT8, 0)
    shape[1] = job.bounds
    within = cnp.PyArray_EMPTY(2, shape, cnp.NPY_INT64, 0)
    hits = cnp.PyArray_ZEROS(1, shape + 1, cnp.NPY_INT64, 0)
    job.sum = <fl_sum *>cnp.PyArray_DATA(sums)
    job.within = <int64_t *>cnp.PyArray_DATA(within)
    work.tile = chosen.table[wide].evaluate
    work.job = &job
    work.items = job.rows.count
    work.cost = cnp.PyArray_SIZE(input)
    work.scratch = 0
    work.threads = threads
    with nogil:
        i = fl_run(&work, &total)
        if i == 0:
            add_sums(job.sum, tiles, <fl_sum *>cnp.PyArray_DATA(found))
            add_sums(job.sum + 1, tiles, <fl_sum *>cnp.PyArray_DATA(found) + 1)
            add_counts(job.within, tiles, job.bounds, <int64_t *>cnp.PyArray_DATA(hits))
    check(i)
    return found, hits, total.weight, total.bad


cdef void add_sums(const fl_sum *each, int64_t count, fl_sum *to) noexcept nogil:
    """Of every second sum."""
    cdef uint64_t digits[FL_SUM_DIGITS]
    cdef uint64_t carry = 0
    cdef int64_t i
    cdef int d
    for d in range(FL_SUM_DIGITS):
        digits[d] = 0
    for i in range(count):
        for d in range(FL_SUM_DIGITS):
            digits[d] += each[2 * i].digit[d]
        to.nan += each[2 * i].nan
        to.inf += each[2 * i].inf
        to.minus_inf += each[2 * i].minus_inf
    for d in range(FL_SUM_DIGITS):
        carry += digits[d]
        to.digit[d] = <uint32_t>carry
        carry >>= 32


cdef void add_counts(const int64_t *each, int64_t rows, int columns, int64_t *to) noexcept nogil:
    cdef int64_t i
    for i in range(rows * columns):
        to[i % columns] += each[i]
