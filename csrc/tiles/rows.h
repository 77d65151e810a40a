/* Rows one by one, lanes along the classes: a pass over the row that finds m and s block by block, and where a gradient
 * is wanted another while the row is still in the L2 cache. */

/* What the scan has found so far. The classes equal to the maximum are counted apart and left out of `rest`, so that
 * what little the others add is not lost beside them. */
typedef struct {
    real max;
    R(unit) unit;
    double count, rest, tilt, squares;
    int64_t first, ahead; /* the first largest class; classes that come before the target */
} R(scan);

FL_INLINE R(scan) R(nothing_seen)(void) { return (R(scan)){-REAL_INF, R(unit_of)(-REAL_INF), 0, 0, 0, 0, 0, 0}; }

/* How a sum in one unit becomes one in a larger: by a power of two, except where `base` is at work. */
FL_INLINE double R(rescale)(R(unit) from, R(unit) to) {
    return r64_exp_nonpositive(((double)from.base - (double)to.base) * (double)to.rate.c +
                               ((double)from.k - (double)to.k) * 0.69314718055994530942);
}

/* A larger maximum: what was found so far is told in its unit, and the former largest classes join the rest. */
FL_INLINE void R(raise)(R(scan) *s, real max, int needs) {
    R(unit) unit = R(unit_of)(max);
    if (s->max > -REAL_INF) {
        double factor = max < REAL_INF ? R(rescale)(s->unit, unit) : 0, all = s->rest + s->count * (double)s->unit.top;
        if (needs & NEEDS_TILT)
            s->tilt = r64_times(factor, s->tilt + ((double)max - (double)s->max) * all);
        if (needs & NEEDS_SQUARES)
            s->squares = factor * factor * (s->squares + s->count * (double)s->unit.top * (double)s->unit.top);
        s->rest = factor * all;
    }
    s->count = 0;
    s->max = max;
    s->unit = unit;
}

FL_INLINE void R(max_lanes)(real *lanes, const real *x, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        fl_look_ahead(x + i, LANES * (int)sizeof(real));
        FL_SIMD
        for (int l = 0; l < LANES; l++)
            lanes[l] = R(max)(x[i + l], lanes[l]);
    }
}

/* The same unit where its base is 0 already, for the compiler to know. */
FL_INLINE R(unit) R(unbased)(R(unit) unit) {
    unit.base = 0;
    return unit;
}

/* Sums over a block, in lanes. */
typedef struct {
    FL_ALIGNED(64) real sums[LANES], tilts[LANES], squares[LANES];
    FL_ALIGNED(64) bits_t others[LANES], above[LANES];
} R(lane_sums);

/* Classes come before the target whose logit is more than the target's, and of equal ones those that stand before it: those are
 * more than a number just below it. Up to element `sure` that is `of[1]`, for all of them stand before the target; from there on
 * `of[0]`, the target's logit, is compared with, and what is equal is counted by itself. */
typedef struct {
    real of[2];
    int64_t sure;
} R(level);

/* No number is below one that a processor told to may take for 0, nor below -inf. */
FL_INLINE R(level) R(level_of)(real picked, int64_t earlier, int64_t n) {
    const bits_t bits = R(to_bits)(picked);
    if (!(R(abs)(picked) > REAL_SMALLEST && picked > -REAL_INF))
        return (R(level)){{picked, picked}, 0};
    return (R(level)){{picked, R(from_bits)(picked > 0 ? bits - 1 : bits + 1)},
                      earlier < n ? earlier - earlier % LANES : n + LANES};
}

/* The same of a block's elements from number i on. */
FL_INLINE R(level) R(level_from)(R(level) level, int64_t i) {
    level.sure -= i;
    return level;
}

/* Adds up e, e^2 and (m - x) e, as needed, of n elements (a multiple of LANES), and counts those above the level. With
 * `exclude` those equal to `max` are left out, and the others counted: by masks, for a branch on them would be threaded
 * through exp and leave no loop to vectorise. With `ahead` the maximum of n elements from `next` on is taken along, so that
 * they come from memory while these are computed. */
FL_INLINE void R(exp_lanes)(R(lane_sums) *to, const real *x, int64_t n, R(unit) unit, real max, R(level) level,
                            int needs, int exclude, int ahead, const real *next, real *tops, int keep, real *kept) {
    for (int64_t i = 0; i < n; i += LANES) {
        const real here = level.of[i < level.sure];
        if (ahead) {
            fl_look_ahead(next + i, LANES * (int)sizeof(real));
            FL_SIMD
            for (int l = 0; l < LANES; l++)
                tops[l] = R(max)(next[i + l], tops[l]);
        }
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            real e = R(exp_in)(unit, x[i + l]);
            if (keep)
                kept[i + l] = e;
            if (exclude) {
                bits_t other = (bits_t)0 - (bits_t)(x[i + l] != max);
                e = R(from_bits)(R(to_bits)(e) & other);
                to->others[l] = x[i + l] != max ? to->others[l] + 1 : to->others[l];
            }
            to->sums[l] += e;
            if (needs & NEEDS_RANK)
                to->above[l] = x[i + l] > here ? to->above[l] + 1 : to->above[l];
            if (needs & NEEDS_SQUARES)
                to->squares[l] += e * e;
            if (needs & NEEDS_TILT)
                to->tilts[l] = R(fma)(e, R(below_max)(unit, R(shift_of)(max), x[i + l]), to->tilts[l]);
        }
    }
}

/* The same, where the base is 0, as almost always, by a loop of its own: then there is nothing to subtract. */
FL_INLINE void R(exp_run)(R(lane_sums) *to, const real *x, int64_t n, R(unit) unit, real max, R(level) level, int needs,
                          int exclude, int ahead, const real *next, real *tops, int keep, real *kept) {
    if (unit.base == 0)
        R(exp_lanes)(to, x, n, R(unbased)(unit), max, level, needs, exclude, ahead, next, tops, keep, kept);
    else
        R(exp_lanes)(to, x, n, unit, max, level, needs, exclude, ahead, next, tops, keep, kept);
}

/* A block on its way through the scan: n elements in memory, of which `tail` holds those behind the last whole LANES, padded
 * with -inf; and the elements of the block after it, of this row or the next, or NULL. */
typedef struct {
    const real *x, *next;
    int64_t n, body, next_n;
    real tail[LANES];
} R(strip);

FL_INLINE void R(exp_strip)(R(lane_sums) *to, const R(strip) *b, R(unit) unit, real max, R(level) level, int needs,
                            int exclude, real *tops, int keep, real *kept) {
    const int64_t next_body = b->next_n - b->next_n % LANES, both = fl_min(b->body, next_body);
    if (both > 0)
        R(exp_run)(to, b->x, both, unit, max, level, needs, exclude, 1, b->next, tops, keep, kept);
    if (both < b->body)
        R(exp_run)(to, b->x + both, b->body - both, unit, max, R(level_from)(level, both), needs, exclude, 0, NULL,
                   tops, keep, keep ? kept + both : NULL);
    if (b->body < b->n)
        R(exp_lanes)(to, b->tail, LANES, unit, max, R(level_from)(level, b->body), needs, exclude, 0, NULL, tops, keep,
                     keep ? kept + b->body : NULL);
    if (both < next_body)
        R(max_lanes)(tops, b->next + both, next_body - both);
    for (int64_t l = 0; l < b->next_n - next_body; l++)
        tops[l] = R(max)(b->next[next_body + l], tops[l]);
}

/* How many of n elements are equal to `value`. */
FL_INLINE int64_t R(count_ties)(const real *x, int64_t n, real value) {
    int32_t equal = 0;
    FL_SIMD_REDUCE(+, equal)
    for (int i = 0; i < (int)n; i++)
        equal += x[i] == value;
    return equal;
}

/* Takes in a block whose maximum is `top`; the answer is that of the next, if there is one. */
FL_INLINE real R(scan_block)(R(scan) *s, const R(strip) *b, real top, real picked, int64_t earlier, int needs, int keep,
                             real *kept) {
    FL_ALIGNED(64) real tops[LANES];
    R(lane_sums) sums; /* cleared one by one: gcc clears a struct by a string instruction, slow to start */
    FL_SIMD
    for (int l = 0; l < LANES; l++)
        tops[l] = -REAL_INF, sums.sums[l] = 0, sums.others[l] = 0;
    FL_SIMD
    for (int l = 0; l < LANES; l++)
        sums.tilts[l] = sums.squares[l] = 0, sums.above[l] = 0;
    const R(level) level = R(level_of)(picked, earlier, b->n);
    if (top > s->max)
        R(raise)(s, top, needs);
    if (top == s->max) {
        R(exp_strip)(&sums, b, s->unit, s->max, level, needs, 1, tops, keep, kept);
        if (top > -REAL_INF)
            s->count += (double)((b->n + LANES - 1) / LANES * LANES) - R(fold_counts)(sums.others);
    } else {
        R(exp_strip)(&sums, b, s->unit, s->max, level, needs, 0, tops, keep, kept);
    }
    s->rest += R(fold_lanes)(sums.sums);
    if (needs & NEEDS_TILT)
        s->tilt += R(fold_lanes)(sums.tilts);
    if (needs & NEEDS_SQUARES)
        s->squares += R(fold_lanes)(sums.squares);
    if (needs & NEEDS_RANK) {
        s->ahead += (int64_t)R(fold_counts)(sums.above);
        if (level.sure < earlier)
            s->ahead += R(count_ties)(b->x + level.sure, earlier - level.sure, picked);
    }
    return b->next ? R(fold_max)(tops) : 0;
}

FL_INLINE real R(strip_max)(const R(strip) *b) {
    FL_ALIGNED(64) real tops[LANES];
    for (int l = 0; l < LANES; l++)
        tops[l] = -REAL_INF;
    R(max_lanes)(tops, b->x, b->body);
    for (int l = 0; b->body < b->n && l < LANES; l++)
        tops[l] = R(max)(b->tail[l], tops[l]);
    return R(fold_max)(tops);
}

FL_INLINE int64_t R(first_equal)(const real *x, int64_t n, real value) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        int any = 0;
        FL_SIMD_REDUCE(|, any)
        for (int l = 0; l < LANES; l++)
            any |= x[i + l] == value;
        if (any)
            break;
    }
    while (i < n && x[i] != value)
        i++;
    return i;
}

/* Behind a row's kept exponentials, the unit of each block. */
FL_INLINE R(unit) *R(units_of)(const fl_rowwise *job, real *kept) {
    return (R(unit) *)(void *)(kept + (job->classes + FL_BLOCK - 1) / FL_BLOCK * FL_BLOCK);
}

/* The block that comes next, where it is `known`: its elements, converted to a buffer in turn if they do not lie in memory as
 * reals, and their maximum, taken along with the block before. */
typedef struct {
    int known, turn;
    const real *x;
    real top;
    FL_ALIGNED(64) real buffers[2][FL_BLOCK];
} R(foresight);

FL_INLINE const real *R(foresee)(R(foresight) *ahead, const fl_rowwise *job, const char *row, int64_t j, int64_t n) {
    ahead->turn ^= 1;
    return ahead->x = R(classes)(&job->input, row, j, n, (real)job->softcap, ahead->buffers[ahead->turn]);
}

/* Goes on from s. `next_row` follows this one, or is NULL. */
FL_INLINE R(scan) R(scan_classes)(const fl_rowwise *job, R(scan) s, const char *row, const char *next_row,
                                  R(foresight) *ahead, real picked, int64_t label, int needs, int keep, real *kept) {
    R(unit) *units = keep ? R(units_of)(job, kept) : NULL;
    R(strip) b;
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK) {
        const real before = s.max;
        const int64_t rest = job->classes - j - FL_BLOCK;
        b.n = fl_min(job->classes - j, FL_BLOCK), b.body = b.n - b.n % LANES;
        b.x = ahead->known ? ahead->x : R(foresee)(ahead, job, row, j, b.n);
        if (b.body < b.n)
            for (int l = 0; l < LANES; l++)
                b.tail[l] = l < b.n - b.body ? b.x[b.body + l] : -REAL_INF;
        if (!ahead->known)
            ahead->top = R(strip_max)(&b);
        ahead->known = rest > 0 || next_row;
        b.next_n = !ahead->known ? 0 : fl_min(rest > 0 ? rest : job->classes, FL_BLOCK);
        b.next = !ahead->known
                     ? NULL
                     : R(foresee)(ahead, job, rest > 0 ? row : next_row, rest > 0 ? j + FL_BLOCK : 0, b.next_n);
        ahead->top = R(scan_block)(&s, &b, ahead->top, picked, label > j ? fl_min(label - j, b.n) : 0, needs, keep,
                                   keep ? kept + j : NULL);
        if (keep)
            units[j / FL_BLOCK] = s.unit;
        if (needs & NEEDS_FIRST && s.max > before)
            s.first = j + R(first_equal)(b.x, b.n, s.max);
    }
    return s;
}

FL_NOINLINE R(scan) R(scan_plain)(const fl_rowwise *job, const char *row, const char *next_row, R(foresight) *ahead) {
    return R(scan_classes)(job, R(nothing_seen)(), row, next_row, ahead, 0, 0, NEEDS_EXP, 0, NULL);
}
FL_NOINLINE R(scan) R(scan_tilt)(const fl_rowwise *job, const char *row, const char *next_row, R(foresight) *ahead) {
    return R(scan_classes)(job, R(nothing_seen)(), row, next_row, ahead, 0, 0, NEEDS_EXP | NEEDS_TILT, 0, NULL);
}
FL_NOINLINE R(scan) R(scan_rank)(const fl_rowwise *job, const char *row, const char *next_row, R(foresight) *ahead,
                                 real picked, int64_t label) {
    return R(scan_classes)(job, R(nothing_seen)(), row, next_row, ahead, picked, label, score_outcome_needs, 0, NULL);
}
FL_NOINLINE R(scan) R(scan_first)(const fl_rowwise *job, const char *row, const char *next_row, R(foresight) *ahead,
                                  real picked, int64_t label) {
    return R(scan_classes)(job, R(nothing_seen)(), row, next_row, ahead, picked, label, score_needs, 0, NULL);
}
FL_NOINLINE R(scan) R(scan_squares)(const fl_rowwise *job, const char *row, const char *next_row, R(foresight) *ahead,
                                    real picked, int64_t label) {
    return R(scan_classes)(job, R(nothing_seen)(), row, next_row, ahead, picked, label, score_outcome_brier_needs, 0,
                           NULL);
}
FL_NOINLINE R(scan)
    R(scan_keep)(const fl_rowwise *job, const char *row, const char *next_row, R(foresight) *ahead, real *kept) {
    return R(scan_classes)(job, R(nothing_seen)(), row, next_row, ahead, 0, 0, NEEDS_EXP, 1, kept);
}
FL_NOINLINE R(scan)
    R(scan_on)(const fl_rowwise *job, R(scan) s, const char *row, const char *next_row, R(foresight) *ahead) {
    return R(scan_classes)(job, s, row, next_row, ahead, 0, 0, NEEDS_EXP, 0, NULL);
}

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
                job->rank[at] = -1;
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
                job->rank[at] = !g->active[l] ? -1 : valid ? s.ahead : job->classes;
                if (kernel.needs & NEEDS_FIRST)
                    job->prediction[at] = valid ? s.first : -1;
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
