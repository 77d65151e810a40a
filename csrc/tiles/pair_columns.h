/* Pairs of rows together, a row in each lane: as tiles/pairs.h, for rows of few classes, and for a class axis that is not
 * the last. */

/* A row of each lane as scanned so far: R(side). */
typedef struct {
    real max[LANES], base[LANES], k[LANES], magic[LANES], low[LANES];
    double sum[LANES];
} R(lane_sides);

/* What a group's pairs of rows have, per lane. */
typedef struct {
    R(lane_sides) x, t;
    double cross[LANES], apart[LANES], dot[LANES], mass[LANES], tie[LANES];
    real gap[LANES], gap_low[LANES], ratio[LANES];
} R(pairs);

FL_INLINE R(unit) R(unit_of_lane)(const R(lane_sides) *s, int l, R(rate) rate) {
    return (R(unit)){s->base[l], s->k[l], s->magic[l], s->low[l], 0, rate};
}
FL_INLINE R(side) R(side_of_lane)(const R(lane_sides) *s, int l, R(rate) rate) {
    return (R(side)){s->max[l], R(unit_of_lane)(s, l, rate), s->sum[l]};
}
FL_INLINE void R(put_side)(R(lane_sides) *s, int l, R(side) side) {
    s->max[l] = side.max, s->sum[l] = side.sum;
    s->base[l] = side.unit.base, s->k[l] = side.unit.k, s->magic[l] = side.unit.magic, s->low[l] = side.unit.low;
}

/* Up to FL_NARROW classes of both matrices, and their exponentials with step LANES. */
typedef struct {
    R(panel) x, t;
    real *ex, *et;
} R(pair_panel);

/* Room for panels: what panel.h wants, and a panel of exponentials of each matrix. */
typedef struct {
    real flat[R(panel_size)], x[R(panel_size)], t[R(panel_size)], ex[R(panel_size)], et[R(panel_size)];
} R(pair_room);

/* Partial sums of a block [part][lane]: of narrow rows in few parts, else in as many as a row walked alone has lanes. */
enum { R(few_parts) = 16 };
typedef struct {
    FL_ALIGNED(64) real a[LANES * LANES], b[LANES * LANES], c[LANES * LANES];
} R(part_sums);

FL_INLINE void R(clear_parts)(R(part_sums) *parts, int narrow) {
    const size_t size = (size_t)(narrow ? R(few_parts) : LANES) * LANES * sizeof(real);
    memset(parts->a, 0, size);
    memset(parts->b, 0, size);
    memset(parts->c, 0, size);
}

FL_INLINE void R(join_parts)(double *to, const real *parts, int narrow) {
    if (!narrow) {
        R(add_parts)(to, parts);
        return;
    }
    for (int part = 0; part < R(few_parts); part += 4) {
        const real *p = parts + part * LANES;
        FL_SIMD
        for (int l = 0; l < LANES; l++)
            to[l] += (double)((p[l] + p[LANES + l]) + (p[2 * LANES + l] + p[3 * LANES + l]));
    }
}

FL_INLINE R(pair_panel)
    R(load_pair)(const fl_rowwise *job, const R(group) *g, int64_t j, int64_t n, R(pair_room) *room) {
    R(pair_panel) b;
    b.x = R(load_panel)(&job->input, g, j, n, 0, room->flat, room->x);
    b.t = R(load_panel)(&job->dense, g, j, n, 0, room->flat, room->t);
    b.ex = room->ex, b.et = room->et;
    return b;
}

FL_INLINE void R(form_exps)(real *to, R(panel) x, int64_t c, const R(lane_sides) *s, R(rate) rate) {
    FL_SIMD
    for (int l = 0; l < LANES; l++)
        to[c * LANES + l] = R(exp_in)(R(unit_of_lane)(s, l, rate), x.at[c * x.step + l]);
}

FL_INLINE void R(clear_sides)(R(lane_sides) *s, R(rate) rate) {
    for (int l = 0; l < LANES; l++)
        R(put_side)(s, l, (R(side)){-REAL_INF, R(unit_at)(-REAL_INF, rate), 0});
}

/* As R(raise_side), in the lanes where `top` is larger than what was largest before; `cross` may be NULL. */
FL_INLINE void R(raise_sides)(R(lane_sides) *s, const real *top, R(rate) rate, double *cross) {
    for (int l = 0; l < LANES; l++)
        if (top[l] > s->max[l]) {
            R(side) side = R(side_of_lane)(s, l, rate);
            double factor = R(raise_side)(&side, top[l]);
            R(put_side)(s, l, side);
            if (cross)
                cross[l] = r64_times(factor, cross[l]);
        }
}

/* All classes of narrow rows. */
FL_NOINLINE void R(scan_pairs_narrow)(R(pairs) *p, const R(pair_panel) *b, int64_t n, R(rate) rate) {
    FL_ALIGNED(64) real top_x[LANES], top_t[LANES];
    R(part_sums) sums;
    for (int l = 0; l < LANES; l++)
        top_x[l] = top_t[l] = -REAL_INF;
    R(clear_parts)(&sums, 1);
    R(max_panel)(top_x, b->x, n);
    R(max_panel)(top_t, b->t, n);
    FL_SIMD
    for (int l = 0; l < LANES; l++) {
        R(put_side)(&p->x, l, (R(side)){top_x[l], R(unit_at)(top_x[l], rate), 0});
        R(put_side)(&p->t, l, (R(side)){top_t[l], R(unit_at)(top_t[l], rate), 0});
    }
    for (int64_t c = 0; c < n; c++) {
        const int64_t part = c % R(few_parts) *LANES;
        R(form_exps)(b->ex, b->x, c, &p->x, rate);
        R(form_exps)(b->et, b->t, c, &p->t, rate);
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            sums.a[part + l] += b->ex[c * LANES + l];
            sums.b[part + l] += b->et[c * LANES + l];
        }
    }
    R(join_parts)(p->x.sum, sums.a, 1);
    R(join_parts)(p->t.sum, sums.b, 1);
    for (int l = 0; l < LANES; l++)
        p->cross[l] = (double)REAL_NAN;
}

/* A run's sums join the block's. */
FL_NOINLINE void R(end_run)(R(part_sums) *sums, R(part_sums) *run) {
    for (int i = 0; i < LANES * LANES; i++) {
        sums->a[i] += run->a[i];
        sums->b[i] += run->b[i];
        sums->c[i] += run->c[i];
    }
    R(clear_parts)(run, 0);
}

/* Wide rows block by block: the sums of R(scan_pair_block), class j in part j % LANES. */
FL_NOINLINE void R(scan_pairs_wide)(R(pairs) *p, const fl_rowwise *job, const R(group) *g, R(rate) rate,
                                    R(pair_room) *room) {
    R(clear_sides)(&p->x, rate);
    R(clear_sides)(&p->t, rate);
    memset(p->cross, 0, sizeof p->cross);
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK) {
        FL_ALIGNED(64) real top_x[LANES], top_t[LANES];
        R(part_sums) sums, run;
        const int64_t n = fl_min(job->classes - j, FL_BLOCK), body = n - n % LANES;
        R(clear_parts)(&sums, 0);
        R(clear_parts)(&run, 0);
        memcpy(top_x, p->x.max, sizeof top_x);
        memcpy(top_t, p->t.max, sizeof top_t);
        for (int64_t i = 0; i < n; i += FL_NARROW) {
            int64_t m = fl_min(n - i, FL_NARROW);
            R(pair_panel) b = R(load_pair)(job, g, j + i, m, room);
            R(max_panel)(top_x, b.x, m);
            R(max_panel)(top_t, b.t, m);
        }
        R(raise_sides)(&p->x, top_x, rate, NULL);
        R(raise_sides)(&p->t, top_t, rate, p->cross);
        for (int64_t i = 0; i < n; i += FL_NARROW) {
            int64_t m = fl_min(n - i, FL_NARROW);
            R(pair_panel) b = R(load_pair)(job, g, j + i, m, room);
            for (int64_t c = 0; c < m; c++) {
                const int64_t part = c % LANES * LANES;
                if (i + c == body || (i + c) % R(run) == 0)
                    R(end_run)(&sums, &run);
                R(form_exps)(b.ex, b.x, c, &p->x, rate);
                R(form_exps)(b.et, b.t, c, &p->t, rate);
                FL_SIMD
                for (int l = 0; l < LANES; l++) {
                    real ex = b.ex[c * LANES + l], et = b.et[c * LANES + l];
                    run.a[part + l] += ex;
                    run.b[part + l] += et;
                    run.c[part + l] += R(times)(et, b.t.at[c * b.t.step + l] - b.x.at[c * b.x.step + l]);
                }
            }
        }
        R(end_run)(&sums, &run);
        R(join_parts)(p->x.sum, sums.a, 0);
        R(join_parts)(p->t.sum, sums.b, 0);
        R(join_parts)(p->cross, sums.c, 0);
    }
}

FL_NOINLINE void R(meet_pairs)(R(pairs) *pairs, const R(row_params) *p) {
    const R(rate) rate = p->rate;
    FL_SIMD
    for (int l = 0; l < LANES; l++) {
        R(side) x = R(side_of_lane)(&pairs->x, l, rate), t = R(side_of_lane)(&pairs->t, l, rate);
        R(meeting) meeting = R(meet)(&x, &t, p);
        pairs->apart[l] = meeting.apart;
        pairs->gap[l] = meeting.gap, pairs->gap_low[l] = meeting.gap_low, pairs->ratio[l] = meeting.ratio;
    }
}

FL_INLINE R(class_of) R(class_of_lane)(const R(pair_panel) *b, const R(pairs) *pairs, int64_t c, int l, real rate) {
    const R(meeting) meeting = {0, pairs->gap[l], pairs->gap_low[l], pairs->ratio[l]};
    return R(class_of_pair)(b->x.at[c * b->x.step + l], b->t.at[c * b->t.step + l], b->ex[c * LANES + l],
                            b->et[c * LANES + l], meeting, rate);
}

/* Wide rows' exponentials anew. */
FL_NOINLINE R(pair_panel) R(load_pair_exps)(const fl_rowwise *job, const R(group) *g, int64_t j, int64_t n,
                                            const R(pairs) *pairs, R(rate) rate, R(pair_room) *room) {
    R(pair_panel) b = R(load_pair)(job, g, j, n, room);
    for (int64_t c = 0; c < n; c++) {
        R(form_exps)(b.ex, b.x, c, &pairs->x, rate);
        R(form_exps)(b.et, b.t, c, &pairs->t, rate);
    }
    return b;
}

/* The sums of R(dot_pair). */
FL_INLINE void R(dot_pairs)(const fl_rowwise *job, const R(group) *g, R(pair_panel) b, R(pairs) *pairs,
                            const R(row_params) *p, R(rowwise_kernel) kernel, int narrow, int with_mass,
                            R(pair_room) *room) {
    const real rate = p->rate.c;
    memset(pairs->dot, 0, sizeof pairs->dot);
    memset(pairs->mass, 0, sizeof pairs->mass);
    memset(pairs->tie, 0, sizeof pairs->tie);
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK) {
        R(part_sums) sums;
        int64_t end = fl_min(j + FL_BLOCK, job->classes);
        R(clear_parts)(&sums, narrow);
        for (int64_t i = j; i < end; i += FL_NARROW) {
            int64_t n = fl_min(end - i, FL_NARROW);
            if (!narrow)
                b = R(load_pair_exps)(job, g, i, n, pairs, p->rate, room);
            for (int64_t c = 0; c < n; c++) {
                const int64_t part = c % (narrow ? (int64_t)R(few_parts) : (int64_t)LANES) * LANES;
                FL_SIMD
                for (int l = 0; l < LANES; l++) {
                    R(dots) found = kernel.dot(R(class_of_lane)(&b, pairs, c, l, rate), p);
                    sums.a[part + l] += found.dot;
                    sums.b[part + l] += found.tie;
                    if (with_mass)
                        sums.c[part + l] += found.mass;
                }
            }
        }
        R(join_parts)(pairs->dot, sums.a, narrow);
        R(join_parts)(pairs->tie, sums.b, narrow);
        if (with_mass)
            R(join_parts)(pairs->mass, sums.c, narrow);
    }
}

FL_INLINE void R(finish_pairs)(const R(pairs) *pairs, const R(group) *g, const R(row_params) *p,
                               R(rowwise_kernel) kernel, real *value, real *factor, real *offset) {
    const R(rate) rate = p->rate;
    FL_SIMD
    for (int l = 0; l < LANES; l++) {
        R(side) x = R(side_of_lane)(&pairs->x, l, rate), t = R(side_of_lane)(&pairs->t, l, rate);
        R(row_dots) dots = {pairs->dot[l], pairs->mass[l], pairs->tie[l]};
        R(summary) s = R(summarise_pair)(&x, &t, pairs->cross[l], dots, pairs->apart[l], p, g->scale[l]);
        R(coefficients) k = {0, 0, 0, 0, 0, 0, 0};
        real found = kernel.finish(&s, p, &k);
        value[l] = g->active[l] ? found : 0;
        factor[l] = k.factor, offset[l] = k.offset;
    }
}

FL_INLINE void R(walk_pair_columns)(const fl_rowwise *job, const R(group) *g, const R(row_params) *p,
                                    R(rowwise_kernel) kernel, real *value) {
    FL_ALIGNED(64) R(pair_room) room;
    FL_ALIGNED(64) R(pairs) pairs;
    FL_ALIGNED(64) real factor[LANES], offset[LANES], out[R(panel_size)];
    const int narrow = job->classes <= FL_NARROW;
    const real rate = p->rate.c;
    R(pair_panel) b = R(load_pair)(job, g, 0, fl_min(job->classes, FL_NARROW), &room);
    if (narrow)
        R(scan_pairs_narrow)(&pairs, &b, job->classes, p->rate);
    else
        R(scan_pairs_wide)(&pairs, job, g, p->rate, &room);
    R(meet_pairs)(&pairs, p);
    if (!narrow)
        R(dot_pairs)(job, g, b, &pairs, p, kernel, 0, 1, &room);
    else if (R(wants_mass)(job, kernel.needs))
        R(dot_pairs)(job, g, b, &pairs, p, kernel, 1, 1, &room);
    else
        R(dot_pairs)(job, g, b, &pairs, p, kernel, 1, 0, &room);
    R(finish_pairs)(&pairs, g, p, kernel, value, factor, offset);
    for (int64_t j = 0; job->grad.rows.data && j < job->classes; j += FL_NARROW) {
        int64_t n = fl_min(job->classes - j, FL_NARROW);
        if (!narrow)
            b = R(load_pair_exps)(job, g, j, n, &pairs, p->rate, &room);
        for (int64_t c = 0; c < n; c++) {
            FL_SIMD
            for (int l = 0; l < LANES; l++) {
                R(coefficients) k = {factor[l], offset[l], 0, 0, 0, 0, 0};
                out[c * LANES + l] = kernel.grad(R(class_of_lane)(&b, &pairs, c, l, rate), p, &k);
            }
        }
        R(store_panel)(&job->grad, g, j, n, out, room.flat, job->stream);
    }
}
