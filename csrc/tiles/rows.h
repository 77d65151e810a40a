/* Rows one by one, lanes along the classes: a scan (tiles/scan.h), and where a gradient is wanted another pass while the row is
 * still in the L2 cache. */

/* The second look at a row: its kernel's own sums, or its outputs. `weighted` is a constant: a load that depends on a
 * condition would be a masked one, slow where the pointer is NULL, or leave no vector loop at all. */
FL_INLINE void R(dot_block)(double *dots, double *masses, const real *x, const real *y, const real *w, int weighted,
                            int64_t n, real shift, R(unit) unit, const R(row_params) *p, R(rowwise_kernel) kernel) {
    for (int64_t i = 0; i < n; i += LANES) {
        int m = (int)fl_min(LANES, n - i);
        FL_SIMD
        for (int l = 0; l < m; l++) {
            R(class_of) c = {x[i + l], x[i + l] - shift, 0, y[i + l], weighted ? w[i + l] : 1};
            R(dots) found;
            c.e = R(exp_in)(unit, c.x);
            found = kernel.dot(c, p);
            dots[l] += (double)found.dot;
            masses[l] += (double)found.mass;
        }
    }
}

/* Where a block's derivatives go: an array of FL_BLOCK + 1, in which the target's class, if it is one of the block's, has its
 * own; and past the cache to `past`, or NULL: step by step, so that there is something to compute while memory is written.
 * That shares no memory with what is read. */
typedef struct {
    real *to;
    char *past;
    int64_t label;
    real at_target;
} R(derived);

/* Derivatives of a block's classes; with `from_kept` x is e already. A last step that is not whole begins earlier. What is
 * written past the cache is two steps behind: it has left the store buffer by then, out of which a line across two stores
 * cannot be read. */
FL_INLINE void R(class_block)(const R(derived) *out, const real *x, const real *y, const real *w, int weighted,
                              int from_kept, int64_t n, real shift, R(unit) unit, const R(row_params) *p,
                              const R(coefficients) *k, R(rowwise_class) *of_class) {
    enum { step = R(pointwise_step) };
    FL_ALIGNED(64) real few[3][step];
    const R(coefficients) coefficients = *k;
    const R(row_params) params = *p;
    const R(derived) d = *out;
    const int64_t end = n < step ? step : n;
    size_t gone = 0;
    if (n < step) {
        y = y == x ? few[0] : R(fill_step)(y, n, few[1]);
        w = weighted ? R(fill_step)(w, n, few[2]) : w;
        x = R(fill_step)(x, n, few[0]);
    }
    for (int64_t next = 0; next < end; next += step) {
        const int64_t i = fl_min(next, end - step);
        if (d.past && next >= step)
            gone = fl_stream_lines(d.past, (const char *)d.to, gone, (size_t)(next - step) * sizeof(real));
        FL_SIMD
        for (int l = 0; l < step; l++) {
            R(class_of) c = {x[i + l], x[i + l] - shift, 0, y[i + l], weighted ? w[i + l] : 1};
            c.e = from_kept ? c.x : R(exp_in)(unit, c.x);
            d.to[i + l] = of_class(c, &params, &coefficients);
        }
        /* By a place that nobody reads, for there would be a branch to guess wrong. */
        d.to[(uint64_t)(d.label - i) < (uint64_t)step ? d.label : FL_BLOCK] = d.at_target;
    }
    if (d.past)
        fl_stream(d.past + gone, (const char *)d.to + gone, (size_t)n * sizeof(real) - gone);
}

FL_INLINE void R(class_blocks)(const R(derived) *out, const real *x, const real *y, const real *w, int from_kept,
                               int64_t n, real shift, R(unit) unit, const R(row_params) *p, const R(coefficients) *k,
                               R(rowwise_class) *of_class) {
    if (w && from_kept)
        R(class_block)(out, x, y, w, 1, 1, n, shift, unit, p, k, of_class);
    else if (w)
        R(class_block)(out, x, y, w, 1, 0, n, shift, unit, p, k, of_class);
    else if (from_kept)
        R(class_block)(out, x, y, x, 0, 1, n, shift, unit, p, k, of_class);
    else
        R(class_block)(out, x, y, x, 0, 0, n, shift, unit, p, k, of_class);
}

/* The class weights of a job, from its first class on, or NULL. */
FL_INLINE const real *R(weights_of)(const fl_rowwise *job) {
    return job->weight ? (const real *)job->weight + job->first_class : NULL;
}

/* A kernel's own sums over a row. */
typedef struct {
    double dot, mass;
} R(own_sums);

FL_INLINE R(own_sums) R(dot_row)(const fl_rowwise *job, const char *row, const char *dense, const R(row_params) *p,
                                 R(rowwise_kernel) kernel, R(unit) unit, real shift) {
    FL_ALIGNED(64) real x_buffer[FL_BLOCK], dense_buffer[FL_BLOCK];
    FL_ALIGNED(64) double dots[LANES] = {0}, masses[LANES] = {0};
    const real *class_weight = R(weights_of)(job);
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK) {
        int64_t n = fl_min(job->classes - j, FL_BLOCK);
        const real *x = R(classes)(&job->input, row, j, n, (real)job->softcap, x_buffer);
        const real *y = dense ? R(classes)(&job->dense, dense, j, n, 0, dense_buffer) : x;
        if (class_weight)
            R(dot_block)(dots, masses, x, y, class_weight + j, 1, n, shift, unit, p, kernel);
        else
            R(dot_block)(dots, masses, x, y, x, 0, n, shift, unit, p, kernel);
    }
    return (R(own_sums)){R(fold_sums)(dots), R(fold_sums)(masses)};
}

FL_INLINE void R(put_row)(const fl_rowwise *job, const char *row, const char *dense, int64_t at, int64_t label,
                          R(unit) unit, real shift, real *kept, const R(row_params) *p, const R(coefficients) *k,
                          R(rowwise_kernel) kernel) {
    FL_ALIGNED(64) real x_buffer[FL_BLOCK], dense_buffer[FL_BLOCK], grad[FL_BLOCK + 1], hess[FL_BLOCK + 1];
    const real *class_weight = R(weights_of)(job);
    const R(unit) *units = kept ? R(units_of)(job, kept) : NULL;
    int wants_hess = job->hess.rows.data != NULL;
    char *grad_row = fl_locate(&job->grad.rows, at).at;
    char *hess_row = wants_hess ? fl_locate(&job->hess.rows, at).at : NULL;
    const int streams = job->stream && job->softcap == 0 &&
                        R(is_direct)(job->grad.rows.dtype, grad_row, job->grad.class_stride, job->grad.rows.swapped);
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK) {
        int64_t n = fl_min(job->classes - j, FL_BLOCK);
        /* What was kept counts if no larger maximum changed the unit since: then it is what would be formed anew. */
        const int keeps = kept && units[j / FL_BLOCK].k == unit.k && units[j / FL_BLOCK].base == unit.base &&
                          units[j / FL_BLOCK].low == unit.low;
        const real *x = keeps ? kept + j : R(classes)(&job->input, row, j, n, (real)job->softcap, x_buffer);
        const real *y = dense ? R(classes)(&job->dense, dense, j, n, 0, dense_buffer) : x;
        const real *w = class_weight ? class_weight + j : NULL;
        char *past = grad_row + j * job->grad.class_stride;
        const R(derived) slopes = {grad, streams ? past : NULL, label - j, k->at_target}, curves = {hess, NULL, -1, 0};
        R(class_blocks)(&slopes, x, y, w, keeps, n, shift, unit, p, k, kernel.grad);
        if (wants_hess)
            R(class_blocks)(&curves, x, y, w, keeps, n, shift, unit, p, k, kernel.hess);
        if (job->softcap != 0) {
            const real *plain = R(classes)(&job->input, row, j, n, 0, dense_buffer);
            R(uncap)(plain, x, n, (real)job->softcap, grad, wants_hess ? hess : NULL);
        }
        if (!streams)
            R(store)(job->grad.rows.dtype, past, job->grad.class_stride, job->grad.rows.swapped, n, grad, job->stream);
        if (wants_hess)
            R(store)(job->hess.rows.dtype, hess_row + j * job->hess.class_stride, job->hess.class_stride,
                     job->hess.rows.swapped, n, hess, job->stream);
    }
}

FL_NOINLINE void R(zero_row)(const fl_matrix *matrix, int64_t at, int64_t classes) {
    const real zeros[LANES] = {0};
    char *row = fl_locate(&matrix->rows, at).at;
    for (int64_t j = 0; j < classes; j += LANES)
        R(store)(matrix->rows.dtype, row + j * matrix->class_stride, matrix->class_stride, matrix->rows.swapped,
                 fl_min(LANES, classes - j), zeros, 0);
}

/* `scratch` has room for a row's exponentials, or is NULL. */
FL_INLINE void R(walk_rows)(const fl_rowwise *job, const R(group) *g, const R(row_params) *p, R(rowwise_kernel) kernel,
                            real *scratch, real *value) {
    int wants_dot = (kernel.needs & NEEDS_DOT) || ((kernel.needs & MAY_DOT) && job->param[0] != 0);
    real *kept = kernel.needs & FROM_EXP ? scratch : NULL;
    R(foresight) ahead;
    FL_ALIGNED(64) R(scans) found;
    FL_ALIGNED(64) real picked[LANES], dot[LANES], mass[LANES];
    for (int l = 0; l < LANES; l++) {
        R(set_unit)(&found, l, -REAL_INF);
        found.others[l] = 0, found.tilt[l] = 0, found.squares[l] = 0;
        picked[l] = dot[l] = mass[l] = 0;
    }
    ahead.known = ahead.turn = 0;
    for (int l = 0; l < g->rows; l++) {
        int64_t at = g->first + l, label = g->active[l] ? g->label[l] : -1;
        const char *row = fl_locate(&job->input.rows, at).at;
        const char *dense = job->dense.rows.data ? fl_locate(&job->dense.rows, at).at : NULL;
        R(coefficients) k = {0, 0, 0, 0, 0, 0, 0};
        const char *next = l + 1 < g->rows ? fl_locate(&job->input.rows, at + 1).at : NULL;
        if (!g->active[l] && !(kernel.needs & NEEDS_FIRST)) {
            ahead.known = 0;
            if (kernel.needs & NEEDS_RANK)
                job->rank[at - job->origin] = -1;
            value[l] = 0;
            if (job->grad.rows.data)
                R(zero_row)(&job->grad, at, job->classes);
            if (job->hess.rows.data)
                R(zero_row)(&job->hess, at, job->classes);
            continue;
        }
        if (label >= 0)
            picked[l] = *R(classes)(&job->input, row, label, 1, (real)job->softcap, &picked[l]);
        if (kernel.needs & NEEDS_EXP) {
            R(scan) s = kernel.needs & NEEDS_SQUARES ? R(scan_squares)(job, row, next, &ahead, picked[l], label)
                        : kernel.needs & NEEDS_FIRST ? R(scan_first)(job, row, next, &ahead, picked[l], label)
                        : kernel.needs & NEEDS_RANK  ? R(scan_rank)(job, row, next, &ahead, picked[l], label)
                        : kernel.needs & NEEDS_TILT  ? R(scan_tilt)(job, row, next, &ahead)
                        : kept                       ? R(scan_keep)(job, row, next, &ahead, kept)
                                                     : R(scan_plain)(job, row, next, &ahead);
            found.max[l] = s.max, found.others[l] = R(others)(s.rest, s.count, s.unit.top), found.tilt[l] = s.tilt;
            if (kernel.needs & NEEDS_SQUARES)
                found.squares[l] = s.squares + (s.count - 1) * (double)s.unit.top * (double)s.unit.top;
            found.base[l] = s.unit.base, found.k[l] = s.unit.k, found.magic[l] = s.unit.magic;
            found.low[l] = s.unit.low, found.top[l] = s.unit.top;
            if (kernel.needs & NEEDS_RANK) {
                int valid = s.rest == s.rest;
                job->rank[at - job->origin] = !g->active[l] ? -1 : valid ? s.ahead : job->classes;
                if (kernel.needs & NEEDS_FIRST)
                    job->prediction[at - job->origin] = valid ? s.first : -1;
            }
        }
        if (wants_dot) {
            R(own_sums) sums =
                R(dot_row)(job, row, dense, p, kernel, R(lane_unit)(&found, l), R(shift_of)(found.max[l]));
            dot[l] = (real)sums.dot, mass[l] = (real)sums.mass;
        }
        if (job->grad.rows.data) {
            R(summary) s = R(summarise)(&found, g, picked, dot, mass, l);
            value[l] = kernel.finish(&s, p, &k);
            R(put_row)(job, row, dense, at, label, R(lane_unit)(&found, l), R(shift_of)(found.max[l]), kept, p, &k,
                       kernel);
        }
    }
    if (kernel.needs & NEEDS_RANK) {
        R(lane_coefficients) lanes;
        R(finish_lanes)(job, &found, g, picked, dot, mass, p, kernel, 1, value, &lanes);
        R(put_scores)(job, g, &lanes);
    } else if (!job->grad.rows.data) {
        R(finish_lanes)(job, &found, g, picked, dot, mass, p, kernel, 0, value, NULL);
    }
}
