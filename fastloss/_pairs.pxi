"""The binding of what is done to products of embeddings; part of _core.pyx. All arrays are contiguous."""

PRODUCT, DISTANCE, SQUARE = FL_PRODUCT, FL_DISTANCE, FL_SQUARE
PAIR_PARTS = FL_PAIR_PARTS

# Rows of a tile: few, for a row may be long and take its time.
cdef enum:
    PAIR_ROWS = 4


# x of `columns` numbers abreast: rows a tile's work is made of.
cdef int run_rows(fl_work *work, int64_t rows, int64_t columns, int threads) except -1:
    cdef fl_partial total
    cdef int code
    work.items, work.tile_items, work.cost = rows, PAIR_ROWS, rows * columns
    work.threads = threads
    with nogil:
        code = fl_run(work, &total)
    return check(code)


cdef void describe_points(fl_points *to, x, y, x_square, y_square, int64_t columns):
    to.columns = columns
    to.x = to.y = to.x_square = to.y_square = NULL
    to.width = 0
    if x_square is None:
        return
    to.width = (<cnp.ndarray>y).shape[1]
    to.x, to.y = cnp.PyArray_DATA(x), cnp.PyArray_DATA(y)
    to.x_square, to.y_square = cnp.PyArray_DATA(x_square), cnp.PyArray_DATA(y_square)


def pairwise(int loss, bint wide, int64_t first, cnp.ndarray begin, cnp.ndarray end, cnp.ndarray embeddings, squares,
             cnp.ndarray pairs, int metric, double factor, tuple params, bint slopes, cnp.ndarray sums,
             cnp.ndarray terms, cnp.ndarray picked, cnp.ndarray factors, int threads):
    """Run a kernel over pairs on the products of embeddings from `first` on with all of them."""
    cdef fl_pairwise job
    cdef fl_work work
    cdef int i
    job.first = first
    job.begin, job.end = <const int64_t *>cnp.PyArray_DATA(begin), <const int64_t *>cnp.PyArray_DATA(end)
    describe_points(&job.points, embeddings, embeddings, squares, squares, pairs.shape[1])
    job.pairs, job.metric, job.factor, job.slopes = cnp.PyArray_DATA(pairs), metric, factor, slopes
    for i in range(FL_MAX_PARAMS):
        job.param[i] = params[i] if i < len(params) else 0
    job.sum, job.terms = <double *>cnp.PyArray_DATA(sums), <int64_t *>cnp.PyArray_DATA(terms)
    job.picked, job.factors = <int64_t *>cnp.PyArray_DATA(picked), cnp.PyArray_DATA(factors)
    work.tile, work.job = chosen.table[wide].pairwise[loss], &job
    work.scratch = fl_pairwise_scratch(pairs.shape[1], 8 if wide else 4)
    run_rows(&work, pairs.shape[0], pairs.shape[1], threads)


def distances(bint wide, cnp.ndarray x, cnp.ndarray y, cnp.ndarray x_square, cnp.ndarray y_square, cnp.ndarray pairs,
              int threads):
    """Make products of `x` and `y` their distances."""
    cdef fl_distances job
    cdef fl_work work
    describe_points(&job.points, x, y, x_square, y_square, pairs.shape[1])
    job.pairs = cnp.PyArray_DATA(pairs)
    work.tile, work.job = chosen.table[wide].distances, &job
    work.scratch = 8 * pairs.shape[1]
    run_rows(&work, pairs.shape[0], pairs.shape[1], threads)


def both_ways(bint wide, cnp.ndarray pairs, cnp.ndarray rows_lse, cnp.ndarray columns_lse, double scale, int threads):
    """Make similarities the sum of their softmax along rows and along columns, times `scale`."""
    cdef fl_both_ways job
    cdef fl_work work
    job.columns, job.pairs, job.scale = pairs.shape[1], cnp.PyArray_DATA(pairs), scale
    job.rows_lse, job.columns_lse = cnp.PyArray_DATA(rows_lse), cnp.PyArray_DATA(columns_lse)
    work.tile, work.job = chosen.table[wide].both_ways, &job
    work.scratch = 0
    run_rows(&work, pairs.shape[0], pairs.shape[1], threads)
