/* Rows of logits in pairs, the input's and the target's: both are scanned in step and their exponentials kept, then the
 * kernel looks at both probabilities of every class. Here row by row; tiles/pair_columns.h takes a group's rows together.
 * For more than FL_NARROW classes both ways have the same bits. */

/* Runs of a few additions are added up by themselves: a largest class swallows no more than its run. */
enum { R(run) = 8 * LANES };

/* A row as scanned so far: the sum of e, in its unit. */
typedef struct {
    real max;
    R(unit) unit;
    double sum;
} R(side);

/* Both rows, and the sum of e (t - x), in the unit of the target's. */
typedef struct {
    R(side) x, t;
    double cross;
} R(sides);

/* A larger maximum: what was found so far is told in its unit. The answer is the factor for other sums. */
FL_INLINE double R(raise_side)(R(side) *s, real max) {
    R(unit) unit = R(unit_at)(max, s->unit.rate);
    double factor = !(s->max > -REAL_INF) ? 1 : max < REAL_INF ? R(rescale)(s->unit, unit) : 0;
    s->sum = r64_times(factor, s->sum);
    s->max = max;
    s->unit = unit;
    s->unit.top = 0; /* which nobody asks for */
    return factor;
}

/* What brings two scanned rows together: by how much the target's log-sum-exp is above the input's, the same as the gaps
 * of the classes need it, and what brings the input's exponentials to the unit of the target's. */
typedef struct {
    double apart;
    real gap, gap_low, ratio;
} R(meeting);

FL_INLINE R(meeting) R(meet)(const R(side) *x, const R(side) *t, const R(row_params) *p) {
    double ratio = t->sum / x->sum;
    double based = ((double)t->unit.base - (double)x->unit.base) / p->temperature;
    double powers = ((double)t->unit.k - (double)x->unit.k) * 6.93147180369123816490e-01; /* exact */
    double rest = (((double)t->unit.k - (double)x->unit.k) * 1.90821492927058770002e-10 + based) + r64_log(ratio);
    double high = powers * p->rate_error, low = r64_fma(powers, p->rate_error, -high) + rest * p->rate_error;
    double gap = high + low, back = gap - high, lost = (high - (gap - back)) + (low - back);
    return (R(meeting)){powers + rest, (real)gap, (real)((gap - (double)(real)gap) + lost), (real)ratio};
}

/* (t - x) c - gap, with the difference t - x as a sum of two: nothing is lost where the gap takes most of it away. */
FL_INLINE real R(gap_of)(real x, real t, R(meeting) m, real c) {
    real step = t - x, back = step - t, lost = (t - (step - back)) - (x + back);
    lost = lost == lost ? lost : 0; /* of an infinite step */
    return R(fma)(step, c, -m.gap) + R(fma)(lost, c, -m.gap_low);
}

FL_INLINE R(class_of) R(class_of_pair)(real x, real t, real ex, real et, R(meeting) m, real c) {
    return (R(class_of)){x, 0, ex, t, 1, et, ex * m.ratio, R(gap_of)(x, t, m, c)};
}

/* The kernel's own sums, over the classes of a row. */
typedef struct {
    double dot, mass, tie;
} R(row_dots);

/* What the kernel is told. */
FL_INLINE R(summary) R(summarise_pair)(const R(side) *x, const R(side) *t, double cross, R(row_dots) dots, double apart,
                                       const R(row_params) *p, double scale) {
    double inverse = 1 / t->sum;
    R(summary) s = {t->max, 0, 0, 0, 0, 0, 1, 0, 0, 0, scale, {0, 0, 0, 0, 0, 0, 0}};
    s.pair.inverse = 1 / x->sum, s.pair.other_inverse = inverse;
    s.pair.cross = cross * inverse / p->temperature - apart, s.pair.apart = apart;
    s.pair.dot = dots.dot * inverse, s.pair.mass = dots.mass * inverse, s.pair.tie = dots.tie * inverse;
    return s;
}

/* A pair of rows: where they are, what is kept of them, what is known of them. */
typedef struct {
    const char *x, *t;
    real *kept_x, *kept_t;
    R(sides) sides;
    R(meeting) meeting;
} R(logit_pair);

/* A block of them on its way through the scan, as R(strip). */
typedef struct {
    const real *x, *t, *next_x, *next_t;
    int64_t n, body;
    real tail_x[LANES], tail_t[LANES];
} R(pair_strip);

typedef struct {
    int known;
    real x, t;
} R(pair_foresight);

typedef struct {
    real x[LANES], t[LANES], cross[LANES], top_x[LANES], top_t[LANES];
} R(pair_lanes);

/* Adds up e of both and e (t - x) of n classes, a multiple of LANES; with `ahead` the maxima of those from `next` on are
 * taken along, as in R(exp_lanes). */
FL_INLINE void R(exp_pairs)(R(pair_lanes) *sums, const real *x, const real *t, int64_t n, R(unit) unit_x,
                            R(unit) unit_t, int ahead, const real *next_x, const real *next_t, real *kept_x,
                            real *kept_t) {
    for (int64_t j = 0; j < n; j += R(run)) {
        FL_ALIGNED(64) real run_x[LANES] = {0}, run_t[LANES] = {0}, run_cross[LANES] = {0};
        const int64_t end = fl_min(j + R(run), n);
        for (int64_t i = j; i < end; i += LANES) {
            if (ahead) {
                fl_look_ahead(next_x + i, LANES * (int)sizeof(real));
                fl_look_ahead(next_t + i, LANES * (int)sizeof(real));
                FL_SIMD
                for (int l = 0; l < LANES; l++) {
                    sums->top_x[l] = R(max)(next_x[i + l], sums->top_x[l]);
                    sums->top_t[l] = R(max)(next_t[i + l], sums->top_t[l]);
                }
            }
            FL_SIMD
            for (int l = 0; l < LANES; l++) {
                real ex = R(exp_in)(unit_x, x[i + l]), et = R(exp_in)(unit_t, t[i + l]);
                kept_x[i + l] = ex;
                kept_t[i + l] = et;
                run_x[l] += ex;
                run_t[l] += et;
                run_cross[l] += R(times)(et, t[i + l] - x[i + l]);
            }
        }
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            sums->x[l] += run_x[l];
            sums->t[l] += run_t[l];
            sums->cross[l] += run_cross[l];
        }
    }
}

/* The same unit at the plain rate, for the compiler to know. */
FL_INLINE R(unit) R(plain)(R(unit) unit) {
    unit.rate = R(plain_rate)();
    return unit;
}

/* Takes in a block, larger maxima than before where it has some; the answer is those of the next. */
FL_INLINE R(pair_foresight) R(scan_pair_block)(R(sides) *s, const R(pair_strip) *b, R(pair_foresight) top, int heated,
                                               real *kept_x, real *kept_t) {
    FL_ALIGNED(64) R(pair_lanes) sums; /* cleared as in R(scan_block) */
    R(unit) unit_x, unit_t;
    FL_SIMD
    for (int l = 0; l < LANES; l++)
        sums.x[l] = sums.t[l] = sums.cross[l] = 0;
    FL_SIMD
    for (int l = 0; l < LANES; l++)
        sums.top_x[l] = sums.top_t[l] = -REAL_INF;
    if (top.x > s->x.max)
        R(raise_side)(&s->x, top.x);
    if (top.t > s->t.max)
        s->cross = r64_times(R(raise_side)(&s->t, top.t), s->cross);
    unit_x = heated ? s->x.unit : R(plain)(s->x.unit);
    unit_t = heated ? s->t.unit : R(plain)(s->t.unit);
    if (b->next_x && unit_x.base == 0 && unit_t.base == 0) /* as almost always: then there is nothing to subtract */
        R(exp_pairs)(&sums, b->x, b->t, b->body, R(unbased)(unit_x), R(unbased)(unit_t), 1, b->next_x, b->next_t,
                     kept_x, kept_t);
    else if (b->next_x)
        R(exp_pairs)(&sums, b->x, b->t, b->body, unit_x, unit_t, 1, b->next_x, b->next_t, kept_x, kept_t);
    else
        R(exp_pairs)(&sums, b->x, b->t, b->body, unit_x, unit_t, 0, NULL, NULL, kept_x, kept_t);
    if (b->body < b->n) {
        R(exp_pairs)(&sums, b->tail_x, b->tail_t, LANES, unit_x, unit_t, 0, NULL, NULL, kept_x + b->body,
                     kept_t + b->body);
        for (int64_t l = 0; b->next_x && l < b->n - b->body; l++) {
            sums.top_x[l] = R(max)(b->next_x[b->body + l], sums.top_x[l]);
            sums.top_t[l] = R(max)(b->next_t[b->body + l], sums.top_t[l]);
        }
    }
    s->x.sum += R(fold_lanes)(sums.x);
    s->t.sum += R(fold_lanes)(sums.t);
    s->cross += R(fold_lanes)(sums.cross);
    top.known = b->next_x != NULL;
    if (top.known)
        top.x = R(fold_max)(sums.top_x), top.t = R(fold_max)(sums.top_t);
    return top;
}

FL_INLINE real R(block_max)(const real *x, int64_t n) {
    FL_ALIGNED(64) real tops[LANES];
    for (int l = 0; l < LANES; l++)
        tops[l] = -REAL_INF;
    R(max_lanes)(tops, x, n - n % LANES);
    for (int64_t l = n - n % LANES; l < n; l++)
        tops[0] = R(max)(x[l], tops[0]);
    return R(fold_max)(tops);
}

/* `next_x` and `next_t` are the rows that follow, or NULL; they are looked at ahead if they are as short as one block. */
FL_INLINE void R(scan_pair)(const fl_rowwise *job, R(logit_pair) *pair, const char *next_x, const char *next_t,
                            R(pair_foresight) *ahead, R(rate) rate, int heated) {
    FL_ALIGNED(64) real x_buffer[FL_BLOCK], t_buffer[FL_BLOCK], spare[2 * FL_BLOCK];
    const R(side) nothing = {-REAL_INF, R(unit_at)(-REAL_INF, rate), 0};
    R(sides) s = {nothing, nothing, 0};
    R(pair_strip) b;
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK) {
        b.n = fl_min(job->classes - j, FL_BLOCK), b.body = b.n - b.n % LANES;
        b.x = R(classes)(&job->input, pair->x, j, b.n, 0, x_buffer);
        b.t = R(classes)(&job->dense, pair->t, j, b.n, 0, t_buffer);
        b.next_x = b.next_t = NULL;
        if (b.x != x_buffer && b.t != t_buffer) {
            if (job->classes - j >= 2 * FL_BLOCK) {
                b.next_x = b.x + FL_BLOCK, b.next_t = b.t + FL_BLOCK;
            } else if (next_x && job->classes <= FL_BLOCK) {
                b.next_x = R(classes)(&job->input, next_x, 0, b.n, 0, x_buffer);
                b.next_t = R(classes)(&job->dense, next_t, 0, b.n, 0, t_buffer);
            }
        }
        if (b.body < b.n)
            for (int l = 0; l < LANES; l++) {
                b.tail_x[l] = l < b.n - b.body ? b.x[b.body + l] : -REAL_INF;
                b.tail_t[l] = l < b.n - b.body ? b.t[b.body + l] : -REAL_INF;
            }
        if (!ahead->known)
            ahead->x = R(block_max)(b.x, b.n), ahead->t = R(block_max)(b.t, b.n);
        *ahead = R(scan_pair_block)(&s, &b, *ahead, heated, pair->kept_x ? pair->kept_x + j : spare,
                                    pair->kept_t ? pair->kept_t + j : spare + FL_BLOCK);
        if (pair->kept_x) {
            R(units_of)(job, pair->kept_x)[j / FL_BLOCK] = s.x.unit;
            R(units_of)(job, pair->kept_t)[j / FL_BLOCK] = s.t.unit;
        }
    }
    pair->sides = s;
}

FL_NOINLINE void R(scan_pair_plain)(const fl_rowwise *job, R(logit_pair) *pair, const char *next_x, const char *next_t,
                                    R(pair_foresight) *ahead) {
    R(scan_pair)(job, pair, next_x, next_t, ahead, R(plain_rate)(), 0);
}
FL_NOINLINE void R(scan_pair_heated)(const fl_rowwise *job, R(logit_pair) *pair, const char *next_x, const char *next_t,
                                     R(pair_foresight) *ahead, R(rate) rate) {
    R(scan_pair)(job, pair, next_x, next_t, ahead, rate, 1);
}

/* A block for the second look. */
typedef struct {
    const real *x, *t, *ex, *et;
    int64_t n;
} R(pair_block);

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
FL_INLINE R(pair_block) R(pair_block_at)(const fl_rowwise *job, const R(logit_pair) *pair, int64_t j, real *buffer) {
    R(pair_block) b;
    b.n = fl_min(job->classes - j, FL_BLOCK);
    b.x = R(classes)(&job->input, pair->x, j, b.n, 0, buffer);
    b.t = R(classes)(&job->dense, pair->t, j, b.n, 0, buffer + FL_BLOCK);
    b.ex = R(exps_of)(job, b.x, j, b.n, pair->sides.x.unit, pair->kept_x, buffer + 2 * FL_BLOCK);
    b.et = R(exps_of)(job, b.t, j, b.n, pair->sides.t.unit, pair->kept_t, buffer + 3 * FL_BLOCK);
    return b;
}

/* What lies behind the last whole LANES of a block, from number `from` on, and then classes of no probability. */
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

typedef struct {
    FL_ALIGNED(64) real dot[LANES], mass[LANES], tie[LANES];
} R(dot_sums);

FL_INLINE void R(dot_lanes)(R(dot_sums) *sums, int with_mass, R(pair_block) b, int64_t n, R(meeting) meeting,
                            const R(row_params) *p, R(rowwise_dot) *of_class) {
    const real c = p->rate.c;
    for (int64_t j = 0; j < n; j += R(run)) {
        FL_ALIGNED(64) real dots[LANES] = {0}, masses[LANES] = {0}, ties[LANES] = {0};
        const int64_t end = fl_min(j + R(run), n);
        for (int64_t i = j; i < end; i += LANES) {
            FL_SIMD
            for (int l = 0; l < LANES; l++) {
                R(class_of) of = R(class_of_pair)(b.x[i + l], b.t[i + l], b.ex[i + l], b.et[i + l], meeting, c);
                R(dots) found = of_class(of, p);
                dots[l] += found.dot;
                ties[l] += found.tie;
                if (with_mass)
                    masses[l] += found.mass;
            }
        }
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            sums->dot[l] += dots[l];
            sums->tie[l] += ties[l];
            sums->mass[l] += masses[l];
        }
    }
}

FL_INLINE R(row_dots) R(dot_pair)(const fl_rowwise *job, const R(logit_pair) *pair, const R(row_params) *p,
                                  R(rowwise_kernel) kernel, int with_mass) {
    FL_ALIGNED(64) real buffer[4 * FL_BLOCK], room[4 * LANES];
    R(row_dots) total = {0, 0, 0};
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK) {
        R(dot_sums) sums;
        FL_SIMD
        for (int l = 0; l < LANES; l++)
            sums.dot[l] = sums.mass[l] = sums.tie[l] = 0;
        const R(pair_block) b = R(pair_block_at)(job, pair, j, buffer);
        const int64_t body = b.n - b.n % LANES;
        R(dot_lanes)(&sums, with_mass, b, body, pair->meeting, p, kernel.dot);
        if (body < b.n)
            R(dot_lanes)(&sums, with_mass, R(ragged_end)(&b, body, room), LANES, pair->meeting, p, kernel.dot);
        total.dot += R(fold_lanes)(sums.dot);
        total.tie += R(fold_lanes)(sums.tie);
        if (with_mass)
            total.mass += R(fold_lanes)(sums.mass);
    }
    return total;
}

FL_INLINE void R(put_pair)(const fl_rowwise *job, const R(logit_pair) *pair, int64_t at, const R(row_params) *p,
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

/* Whether the kernel's second sum is wanted. */
FL_INLINE int R(wants_mass)(const fl_rowwise *job, int needs) { return needs & GRAD_MASS && job->grad.rows.data; }

/* `scratch` has room for both rows' exponentials, or is NULL. */
FL_INLINE void R(walk_pair_rows)(const fl_rowwise *job, const R(group) *g, const R(row_params) *p,
                                 R(rowwise_kernel) kernel, real *scratch, real *value) {
    R(pair_foresight) ahead = {0, 0, 0};
    R(logit_pair) pair;
    pair.kept_x = scratch;
    pair.kept_t = scratch ? scratch + fl_kept_reals(job->classes) : NULL;
    for (int l = 0; l < LANES; l++)
        value[l] = 0;
    for (int l = 0; l < g->rows; l++) {
        int64_t at = g->first + l;
        const int more = l + 1 < g->rows;
        const char *next_x = more ? fl_locate(&job->input.rows, at + 1).at : NULL;
        const char *next_t = more ? fl_locate(&job->dense.rows, at + 1).at : NULL;
        R(row_dots) dots = {0, 0, 0};
        R(coefficients) k = {0, 0, 0, 0, 0, 0, 0};
        R(summary) s;
        pair.x = fl_locate(&job->input.rows, at).at, pair.t = fl_locate(&job->dense.rows, at).at;
        if (p->temperature == 1)
            R(scan_pair_plain)(job, &pair, next_x, next_t, &ahead);
        else
            R(scan_pair_heated)(job, &pair, next_x, next_t, &ahead, p->rate);
        pair.meeting = R(meet)(&pair.sides.x, &pair.sides.t, p);
        s = R(summarise_pair)(&pair.sides.x, &pair.sides.t, pair.sides.cross, dots, pair.meeting.apart, p, g->scale[l]);
        if (!(kernel.needs & NEEDS_CROSS && R(is_far)(s.pair))) {
            dots = R(wants_mass)(job, kernel.needs) ? R(dot_pair)(job, &pair, p, kernel, 1)
                                                    : R(dot_pair)(job, &pair, p, kernel, 0);
            s = R(summarise_pair)(&pair.sides.x, &pair.sides.t, pair.sides.cross, dots, pair.meeting.apart, p,
                                  g->scale[l]);
        }
        value[l] = kernel.finish(&s, p, &k);
        if (job->grad.rows.data)
            R(put_pair)(job, &pair, at, p, &k, kernel);
    }
}
