/* What becomes of rows of products that BLAS has made, but for losses of lists: distances, and softmax of rows and columns. */

/* |x - y|^2 by its definition. */
FL_INLINE real R(square_apart)(const real *x, const real *y, int64_t width) {
    FL_ALIGNED(64) real sums[LANES] = {0};
    double rest = 0;
    int64_t i = 0;
    for (; i + LANES <= width; i += LANES) {
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            real apart = x[i + l] - y[i + l];
            sums[l] = R(fma)(apart, apart, sums[l]);
        }
    }
    for (; i < width; i++) {
        double apart = (double)x[i] - (double)y[i];
        rest = r64_fma(apart, apart, rest);
    }
    return (real)(R(fold_lanes)(sums) + rest);
}

/* Below this part of |x|^2 + |y|^2, what rounding does to the product of x and y shows in |x - y|^2. */
#define NEAR REAL_C(0.03125)

/* |x - y|^2 = |x|^2 + |y|^2 - 2 xy of a row of products; the places of those too small for that, and their number. */
FL_INLINE int64_t R(squares)(real *pairs, int64_t n, real x_square, const real *y_square, int64_t *near) {
    int64_t found = 0;
    for (int64_t i = 0; i < n; i += LANES) {
        const int64_t m = fl_min(LANES, n - i);
        bits_t any = 0;
        FL_SIMD_REDUCE(|, any)
        for (int64_t l = 0; l < m; l++) {
            real both = x_square + y_square[i + l], apart = R(fma)(-2, pairs[i + l], both);
            any |= (bits_t) !(apart >= NEAR * both);
            pairs[i + l] = apart;
        }
        if (any)
            for (int64_t l = 0; l < m; l++)
                if (!(pairs[i + l] >= NEAR * (x_square + y_square[i + l])))
                    near[found++] = i + l;
    }
    return found;
}

/* A row of products becomes one of distances, or of their squares times a factor. `near` has room for a row. */
FL_INLINE void R(distances)(const fl_points *points, int64_t row, real *pairs, int root, real factor, int64_t *near) {
    const int64_t n = points->columns, width = points->width;
    const real *x = (const real *)points->x + row * width, *y = (const real *)points->y;
    const int64_t found =
        R(squares)(pairs, n, ((const real *)points->x_square)[row], (const real *)points->y_square, near);
    for (int64_t i = 0; i < found; i++)
        pairs[near[i]] = R(square_apart)(x, y + near[i] * width, width);
    if (root) {
        FL_SIMD
        for (int64_t i = 0; i < n; i++)
            pairs[i] = R(sqrt)(pairs[i]);
    } else if (factor != 1) {
        FL_SIMD
        for (int64_t i = 0; i < n; i++)
            pairs[i] *= factor;
    }
}

static void R(distances_tile)(const void *work, int64_t first, int64_t count, fl_partial *partial, void *scratch) {
    const fl_distances *job = (const fl_distances *)work;
    const int64_t n = job->points.columns;
    (void)partial;
    for (int64_t i = first; i < first + count; i++) {
        real *pairs = (real *)job->pairs + i * n;
        R(distances)(&job->points, i, pairs, 1, 1, (int64_t *)scratch);
    }
}

/* a (e^(x - r) + e^(x - c)), where r is the row's log-sum-exp and c the column's: the slopes of both ways to match rows with
 * columns. */
static void R(both_ways_tile)(const void *work, int64_t first, int64_t count, fl_partial *partial, void *scratch) {
    const fl_both_ways *job = (const fl_both_ways *)work;
    const real *columns = (const real *)job->columns_lse;
    const real scale = (real)job->scale;
    (void)partial, (void)scratch;
    for (int64_t i = first; i < first + count; i++) {
        real *x = (real *)job->pairs + i * job->columns;
        const real row = ((const real *)job->rows_lse)[i];
        FL_SIMD
        for (int64_t l = 0; l < job->columns; l++)
            x[l] = scale * (R(exp)(x[l] - row) + R(exp)(x[l] - columns[l]));
    }
}
