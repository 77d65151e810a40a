/* Rows of logits in pairs, the input's and the target's: both are scanned and their exponentials kept, then the kernel
 * looks at both probabilities of every class. Here row by row; tiles/pair_columns.h takes a group's rows together. For
 * more than FL_NARROW classes both ways have the same bits. */

/* What brings two scanned rows together: what the log-sum-exp of the target's is above the input's, as the kernel's
 * gaps need it, and what brings the input's exponentials to the unit of the target's. */
typedef struct {
    double apart;
    real gap, gap_low, ratio;
} R(meeting);

FL_INLINE double R(sum_in_unit)(const R(scans) *s, int l) {
    return s->max[l] == REAL_INF ? (double)REAL_NAN : s->rest[l] + s->count[l] * (double)s->top[l];
}

FL_INLINE R(meeting) R(meet)(const R(scans) *x, const R(scans) *t, const R(row_params) *p, int l) {
    double ratio = R(sum_in_unit)(t, l) / R(sum_in_unit)(x, l);
    double based = ((double)t->base[l] - (double)x->base[l]) / p->temperature;
    double powers = ((double)t->k[l] - (double)x->k[l]) * 0.69314718055994530942;
    double apart = (based + powers) + r64_log(ratio), gap = apart * p->rate_error;
    return (R(meeting)){apart, (real)gap, (real)(gap - (double)(real)gap), (real)ratio};
}

/* The sum of q log(q / p) as a difference of log-sum-exps, from the sum of e (t - x). */
FL_INLINE double R(cross_of)(double sum, const R(scans) *t, double apart, const R(row_params) *p, int l) {
    return sum / (R(sum_in_unit)(t, l) * p->temperature) - apart;
}

/* (t - x) c - gap: the difference t - x as a sum of two, so that nothing is lost where the gap takes most of it away. */
FL_INLINE real R(gap_of)(real x, real t, R(meeting) m, real c) {
    real step = t - x, back = step - t, lost = (t - (step - back)) - (x + back);
    lost = lost == lost ? lost : 0; /* of an infinite step */
    return R(fma)(step, c, -m.gap) + R(fma)(lost, c, -m.gap_low);
}

FL_INLINE R(class_of) R(class_of_pair)(real x, real t, real ex, real et, R(meeting) m, real c) {
    return (R(class_of)){x, 0, ex * m.ratio, t, 1, et, R(gap_of)(x, t, m, c)};
}

FL_NOINLINE R(scan) R(scan_pair)(const fl_rowwise *job, const fl_matrix *matrix, const char *row, const char *next_row,
                                 R(foresight) *ahead, R(rate) rate, real *kept) {
    return R(scan_classes)(job, matrix, row, next_row, ahead, rate, 0, 0, NEEDS_EXP | ONE_SUM, 1, kept);
}
FL_NOINLINE R(scan) R(scan_pair_heated)(const fl_rowwise *job, const fl_matrix *matrix, const char *row,
                                        const char *next_row, R(foresight) *ahead, R(rate) rate, real *kept) {
    return R(scan_classes)(job, matrix, row, next_row, ahead, rate, 0, 0, NEEDS_EXP | ONE_SUM | HEATED, 1, kept);
}

FL_INLINE void R(put_scan)(R(scans) *to, int l, const R(scan) *s) {
    to->max[l] = s->max, to->count[l] = s->count, to->rest[l] = s->rest, to->tilt[l] = 0;
    to->base[l] = s->unit.base, to->k[l] = s->unit.k, to->magic[l] = s->unit.magic;
    to->low[l] = s->unit.low, to->top[l] = s->unit.top;
}

typedef struct {
    double dot, mass;
} R(row_sums);

/* A block of a pair of rows. */
typedef struct {
    const real *x, *t, *ex, *et;
    int64_t n;
} R(pair_block);

/* A pair of rows: where they are, what is known of them, and what was kept of them. */
typedef struct {
    const char *x, *t;
    real *kept_x, *kept_t;
    R(unit) unit_x, unit_t;
    R(meeting) meeting;
} R(pair);

/* Exponentials of a block: those kept, if no larger maximum changed the unit since, or formed anew. */
FL_INLINE const real *R(exps_of)(const fl_rowwise *job, const real *x, int64_t j, int64_t n, R(unit) unit, real *kept,
                                 real *buffer) {
    if (kept) {
        const R(unit) *mark = R(units_of)(job, kept) + j / FL_BLOCK;
        if (mark->k == unit.k && mark->base == unit.base && mark->low == unit.low)
            return kept + j;
    }
    FL_SIMD
    for (int64_t i = 0; i < n; i++)
        buffer[i] = R(exp_in)(unit, x[i]);
    return buffer;
}

/* `buffer` has room for four blocks. */
FL_INLINE R(pair_block) R(pair_block_at)(const fl_rowwise *job, const R(pair) *pair, int64_t j, real *buffer) {
    R(pair_block) b;
    b.n = fl_min(job->classes - j, FL_BLOCK);
    b.x = R(classes)(&job->input, pair->x, j, b.n, 0, buffer);
    b.t = R(classes)(&job->dense, pair->t, j, b.n, 0, buffer + FL_BLOCK);
    b.ex = R(exps_of)(job, b.x, j, b.n, pair->unit_x, pair->kept_x, buffer + 2 * FL_BLOCK);
    b.et = R(exps_of)(job, b.t, j, b.n, pair->unit_t, pair->kept_t, buffer + 3 * FL_BLOCK);
    return b;
}

/* What lies behind the last whole LANES of a block from number `from` on, and classes of no probability behind it. */
FL_INLINE R(pair_block) R(ragged_end)(const R(pair_block) *b, int64_t from, real *room) {
    for (int64_t l = 0; l < LANES; l++) {
        const int is_there = l < b->n - from;
        room[l] = is_there ? b->x[from + l] : 0;
        room[LANES + l] = is_there ? b->t[from + l] : 0;
        room[2 * LANES + l] = is_there ? b->ex[from + l] : 0;
        room[3 * LANES + l] = is_there ? b->et[from + l] : 0;
    }
    return (R(pair_block)){room, room + LANES, room + 2 * LANES, room + 3 * LANES, LANES};
}

/* Adds up e (t - x) of the first n classes, a multiple of LANES; as R(dot_lanes) what the kernel makes of a class. */
FL_INLINE void R(cross_lanes)(real *sums, R(pair_block) b, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        FL_SIMD
        for (int l = 0; l < LANES; l++)
            sums[l] += R(times)(b.et[i + l], b.t[i + l] - b.x[i + l]);
    }
}
FL_INLINE void R(dot_lanes)(real *dots, real *masses, int with_mass, R(pair_block) b, int64_t n, R(meeting) meeting,
                            const R(row_params) *p, R(rowwise_dot) *of_class) {
    const real c = p->rate.c;
    for (int64_t i = 0; i < n; i += LANES) {
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            R(class_of) of = R(class_of_pair)(b.x[i + l], b.t[i + l], b.ex[i + l], b.et[i + l], meeting, c);
            R(dots) found = of_class(of, p);
            dots[l] += found.dot;
            if (with_mass)
                masses[l] += found.mass;
        }
    }
}

FL_NOINLINE double R(cross_row)(const fl_rowwise *job, const R(pair) *pair) {
    FL_ALIGNED(64) real buffer[4 * FL_BLOCK], room[4 * LANES];
    double total = 0;
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK) {
        FL_ALIGNED(64) real sums[LANES] = {0};
        const R(pair_block) b = R(pair_block_at)(job, pair, j, buffer);
        const int64_t body = b.n - b.n % LANES;
        R(cross_lanes)(sums, b, body);
        if (body < b.n)
            R(cross_lanes)(sums, R(ragged_end)(&b, body, room), LANES);
        total += R(fold_lanes)(sums);
    }
    return total;
}

FL_INLINE R(row_sums) R(dot_pair)(const fl_rowwise *job, const R(pair) *pair, const R(row_params) *p,
                                  R(rowwise_kernel) kernel, int with_mass) {
    FL_ALIGNED(64) real buffer[4 * FL_BLOCK], room[4 * LANES];
    R(row_sums) total = {0, 0};
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK) {
        FL_ALIGNED(64) real dots[LANES] = {0}, masses[LANES] = {0};
        const R(pair_block) b = R(pair_block_at)(job, pair, j, buffer);
        const int64_t body = b.n - b.n % LANES;
        R(dot_lanes)(dots, masses, with_mass, b, body, pair->meeting, p, kernel.dot);
        if (body < b.n)
            R(dot_lanes)(dots, masses, with_mass, R(ragged_end)(&b, body, room), LANES, pair->meeting, p, kernel.dot);
        total.dot += R(fold_lanes)(dots);
        if (with_mass)
            total.mass += R(fold_lanes)(masses);
    }
    return total;
}

FL_INLINE void R(put_pair)(const fl_rowwise *job, const R(pair) *pair, int64_t at, const R(row_params) *p,
                           const R(coefficients) *k, R(rowwise_kernel) kernel) {
    FL_ALIGNED(64) real buffer[4 * FL_BLOCK], grad[FL_BLOCK];
    const R(meeting) meeting = pair->meeting;
    const R(coefficients) coefficients = *k;
    const real c = p->rate.c;
    char *grad_row = fl_locate(&job->grad.rows, at).at;
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK) {
        const R(pair_block) b = R(pair_block_at)(job, pair, j, buffer);
        FL_SIMD
        for (int64_t i = 0; i < b.n; i++)
            grad[i] = kernel.grad(R(class_of_pair)(b.x[i], b.t[i], b.ex[i], b.et[i], meeting, c), p, &coefficients);
        R(store)(job->grad.rows.dtype, grad_row + j * job->grad.class_stride, job->grad.class_stride,
                 job->grad.rows.swapped, b.n, grad, job->stream);
    }
}

/* `scratch` has room for both rows' exponentials, or is NULL. */
FL_INLINE void R(walk_pair_rows)(const fl_rowwise *job, const R(group) *g, const R(row_params) *p,
                                 R(rowwise_kernel) kernel, real *scratch, real *value) {
    const int heated = p->temperature != 1, with_mass = (kernel.needs & GRAD_MASS) && job->grad.rows.data;
    R(foresight) ahead_x = {0, 0}, ahead_t = {0, 0};
    FL_ALIGNED(64) R(scans) x, t;
    FL_ALIGNED(64) real none[LANES] = {0}, dot[LANES] = {0}, mass[LANES] = {0};
    R(pair) pair;
    pair.kept_x = scratch;
    pair.kept_t = scratch ? scratch + fl_kept_reals(job->classes) : NULL;
    for (int l = 0; l < LANES; l++)
        value[l] = 0;
    for (int l = 0; l < g->rows; l++) {
        int64_t at = g->first + l;
        const char *next_x = l + 1 < g->rows ? fl_locate(&job->input.rows, at + 1).at : NULL;
        const char *next_t = l + 1 < g->rows ? fl_locate(&job->dense.rows, at + 1).at : NULL;
        double cross = (double)REAL_NAN;
        R(coefficients) k = {0, 0, 0, 0, 0, 0, 0};
        R(scan) found;
        R(summary) s;
        pair.x = fl_locate(&job->input.rows, at).at, pair.t = fl_locate(&job->dense.rows, at).at;
        found = heated ? R(scan_pair_heated)(job, &job->input, pair.x, next_x, &ahead_x, p->rate, pair.kept_x)
                       : R(scan_pair)(job, &job->input, pair.x, next_x, &ahead_x, p->rate, pair.kept_x);
        pair.unit_x = found.unit;
        R(put_scan)(&x, l, &found);
        found = heated ? R(scan_pair_heated)(job, &job->dense, pair.t, next_t, &ahead_t, p->rate, pair.kept_t)
                       : R(scan_pair)(job, &job->dense, pair.t, next_t, &ahead_t, p->rate, pair.kept_t);
        pair.unit_t = found.unit;
        R(put_scan)(&t, l, &found);
        pair.meeting = R(meet)(&x, &t, p, l);
        if (kernel.needs & NEEDS_CROSS)
            cross = R(cross_of)(R(cross_row)(job, &pair), &t, pair.meeting.apart, p, l);
        if (!R(is_far)(cross, pair.meeting.apart)) {
            R(row_sums) sums = with_mass ? R(dot_pair)(job, &pair, p, kernel, 1) : R(dot_pair)(job, &pair, p, kernel, 0);
            dot[l] = (real)sums.dot, mass[l] = (real)sums.mass;
        }
        s = R(summarise)(&t, g, none, dot, mass, l);
        s.cross = cross, s.apart = pair.meeting.apart;
        value[l] = kernel.finish(&s, p, &k);
        if (job->grad.rows.data)
            R(put_pair)(job, &pair, at, p, &k, kernel);
    }
}
