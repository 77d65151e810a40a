"""The binding of exact sums; part of _core.pyx."""

cdef enum:
    SHARES = 64  # tiles of an evaluation, for each thread: the last one to end is waited for


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


def evaluate(bint wide, cnp.ndarray input, int axis, label, ignore_index, tuple params, cnp.ndarray bounds not None,
             int threads):
    """Exact sums of the losses and of the entropies of rows, and how many of the labels' ranks lie below each bound.

    Returns an array of two rows of bytes, those of an fl_sum each; an int64 array, one per bound; how many rows are
    evaluated; and the first row with a label out of range or -1.
    """
    cdef fl_evaluation job
    cdef fl_work work
    cdef fl_partial total
    cdef int i
    cdef cnp.ndarray sums, within
    describe_job(&job.rows, input, axis, label, ignore_index, params)
    # What is exact may be cut anywhere: tiles as large as keep threads busy, so that their sums do not grow with the rows.
    cdef int64_t each = tile_rows(job.rows.classes, job.rows.input.class_stride != cnp.PyArray_ITEMSIZE(input))
    cdef int64_t shares = SHARES * (threads if threads > 0 else fl_max_threads())
    work.tile_items = job.tile_items = each * max(1, job.rows.count // (shares * each))
    cdef int64_t tiles = (job.rows.count + job.tile_items - 1) // job.tile_items
    job.bounds = cnp.PyArray_SIZE(bounds)
    job.bound = <const int64_t *>cnp.PyArray_DATA(bounds)
    cdef cnp.npy_intp *shape = [max(tiles, 1), FL_EVALUATED, sizeof(fl_sum)]
    sums = cnp.PyArray_ZEROS(3, shape, cnp.NPY_UINT8, 0)
    shape[1] = job.bounds
    within = cnp.PyArray_ZEROS(2, shape, cnp.NPY_INT64, 0)
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
        fl_join(&job, tiles)
    check(i)
    return sums[0], within[0], total.weight, total.bad
