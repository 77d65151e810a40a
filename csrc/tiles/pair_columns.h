/* Pairs of rows together, a row in each lane: as tiles/pairs.h for rows of few classes, and for a class axis that is not
 * the last. */

/* Partial sums of a block [part][lane] joined to those of the lanes: four parts of narrow rows, else LANES. */
FL_INLINE void R(join_parts)(double *to, const real *parts, int narrow) {
    if (!narrow) {
        R(add_parts)(to, parts);
        return;
    }
    FL_SIMD
    for (int l = 0; l < LANES; l++)
        to[l] += (double)((parts[l] + parts[LANES + l]) + (parts[2 * LANES + l] + parts[3 * LANES + l]));
}

/* One matrix of a group's rows, a row in each lane: as R(scan_block) without telling the largest classes apart, class j
 * in part j % LANES; of narrow rows, which come as one panel and whose exponentials are kept, in part j % 4. */
FL_INLINE void R(scan_panels)(R(scans) *s, const fl_rowwise *job, const fl_matrix *matrix, const R(group) *g,
                              R(panel) x, R(rate) rate, int narrow, real *flat, real *buffer, real *kept) {
    const int64_t parts = narrow ? 4 : LANES;
    for (int l = 0; l < LANES; l++)
        s->max[l] = -REAL_INF, s->count[l] = 0, s->rest[l] = 0, s->tilt[l] = 0;
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK) {
        FL_ALIGNED(64) real top[LANES], sums[LANES * LANES];
        int64_t end = fl_min(j + FL_BLOCK, job->classes);
        memset(sums, 0, (size_t)(parts * LANES) * sizeof(real));
        memcpy(top, s->max, sizeof top);
        for (int64_t i = j; i < end; i += FL_NARROW) {
            int64_t n = fl_min(end - i, FL_NARROW);
            R(max_panel)(top, narrow ? x : R(load_panel)(matrix, g->first, g->rows, i, n, 0, flat, buffer), n);
        }
        R(raise_lanes)(s, top, 0, rate);
        for (int64_t i = j; i < end; i += FL_NARROW) {
            int64_t n = fl_min(end - i, FL_NARROW);
            if (!narrow)
                x = R(load_panel)(matrix, g->first, g->rows, i, n, 0, flat, buffer);
            for (int64_t c = 0; c < n; c++) {
                real *sum = sums + (c & (parts - 1)) * LANES;
                FL_SIMD
                for (int l = 0; l < LANES; l++) {
                    real e = R(exp_in)(R(lane_unit_at)(s, l, rate), x.at[c * x.step + l]);
                    if (narrow)
                        kept[c * LANES + l] = e;
                    sum[l] += e;
                }
            }
        }
        R(join_parts)(s->rest, sums, narrow);
    }
}

FL_NOINLINE void R(scan_panels_narrow)(R(scans) *s, const fl_rowwise *job, const fl_matrix *matrix, const R(group) *g,
                                       R(panel) x, R(rate) rate, real *kept) {
    R(scan_panels)(s, job, matrix, g, x, rate, 1, NULL, NULL, kept);
}
FL_NOINLINE void R(scan_panels_wide)(R(scans) *s, const fl_rowwise *job, const fl_matrix *matrix, const R(group) *g,
                                     R(rate) rate, real *flat, real *buffer) {
    const R(panel) none = {NULL, 0};
    R(scan_panels)(s, job, matrix, g, none, rate, 0, flat, buffer, NULL);
}

/* What a group's pairs of rows have, per lane. */
typedef struct {
    double apart[LANES], cross[LANES], dot[LANES], mass[LANES];
    real gap[LANES], gap_low[LANES], ratio[LANES];
} R(pairs);

/* Up to FL_NARROW classes of both matrices, and their exponentials with step LANES. */
typedef struct {
    R(panel) x, t;
    real *ex, *et;
} R(pair_panel);

FL_INLINE void R(form_exps)(real *to, R(panel) x, int64_t n, const R(scans) *s, R(rate) rate) {
    for (int64_t c = 0; c < n; c++) {
        FL_SIMD
        for (int l = 0; l < LANES; l++)
            to[c * LANES + l] = R(exp_in)(R(lane_unit_at)(s, l, rate), x.at[c * x.step + l]);
    }
}

/* Room for panels: what panel.h wants, and a panel of exponentials of each matrix. */
typedef struct {
    real flat[R(panel_size)], x[R(panel_size)], t[R(panel_size)], ex[R(panel_size)], et[R(panel_size)];
} R(pair_room);

FL_NOINLINE R(pair_panel) R(load_pair)(const fl_rowwise *job, const R(group) *g, int64_t j, int64_t n, const R(scans) *x,
                                       const R(scans) *t, R(rate) rate, R(pair_room) *room) {
    R(pair_panel) found;
    found.x = R(load_panel)(&job->input, g->first, g->rows, j, n, 0, room->flat, room->x);
    found.t = R(load_panel)(&job->dense, g->first, g->rows, j, n, 0, room->flat, room->t);
    found.ex = room->ex, found.et = room->et;
    R(form_exps)(room->ex, found.x, n, x, rate);
    R(form_exps)(room->et, found.t, n, t, rate);
    return found;
}

FL_INLINE R(class_of) R(class_of_lane)(const R(pair_panel) *b, const R(pairs) *pairs, int64_t c, int l, real rate) {
    const R(meeting) meeting = {0, pairs->gap[l], pairs->gap_low[l], pairs->ratio[l]};
    return R(class_of_pair)(b->x.at[c * b->x.step + l], b->t.at[c * b->t.step + l], b->ex[c * LANES + l],
                            b->et[c * LANES + l], meeting, rate);
}

/* The sums of R(cross_lanes) and R(dot_lanes) over a panel's classes. */
FL_INLINE void R(dot_panel)(real *crosses, real *dots, real *masses, const R(pair_panel) *b, int64_t n,
                            const R(pairs) *pairs, const R(row_params) *p, R(rowwise_kernel) kernel, int narrow,
                            int with_mass) {
    const int64_t parts = narrow ? 4 : LANES;
    const real rate = p->rate.c;
    for (int64_t c = 0; c < n; c++) {
        const int64_t part = (c & (parts - 1)) * LANES;
        if (!narrow && kernel.needs & NEEDS_CROSS) {
            FL_SIMD
            for (int l = 0; l < LANES; l++)
                crosses[part + l] += R(times)(b->et[c * LANES + l],
                                              b->t.at[c * b->t.step + l] - b->x.at[c * b->x.step + l]);
        }
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            R(dots) found = kernel.dot(R(class_of_lane)(b, pairs, c, l, rate), p);
            dots[part + l] += found.dot;
            if (with_mass)
                masses[part + l] += found.mass;
        }
    }
}

FL_INLINE void R(dot_panels)(const fl_rowwise *job, const R(group) *g, R(pair_panel) b, const R(scans) *x,
                             const R(scans) *t, R(pairs) *pairs, const R(row_params) *p, R(rowwise_kernel) kernel,
                             int narrow, int with_mass, R(pair_room) *room) {
    FL_ALIGNED(64) double sums[LANES] = {0};
    memset(pairs->dot, 0, sizeof pairs->dot);
    memset(pairs->mass, 0, sizeof pairs->mass);
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK) {
        FL_ALIGNED(64) real crosses[LANES * LANES], dots[LANES * LANES], masses[LANES * LANES];
        const size_t size = (size_t)(narrow ? 4 : LANES) * LANES * sizeof(real);
        int64_t end = fl_min(j + FL_BLOCK, job->classes);
        memset(dots, 0, size);
        memset(masses, 0, size);
        memset(crosses, 0, size);
        for (int64_t i = j; i < end; i += FL_NARROW) {
            int64_t n = fl_min(end - i, FL_NARROW);
            if (!narrow)
                b = R(load_pair)(job, g, i, n, x, t, p->rate, room);
            R(dot_panel)(crosses, dots, masses, &b, n, pairs, p, kernel, narrow, with_mass);
        }
        R(join_parts)(pairs->dot, dots, narrow);
        if (with_mass)
            R(join_parts)(pairs->mass, masses, narrow);
        if (!narrow)
            R(join_parts)(sums, crosses, 0);
    }
    for (int l = 0; l < LANES; l++)
        pairs->cross[l] = narrow || !(kernel.needs & NEEDS_CROSS) ? (double)REAL_NAN
                                                                  : R(cross_of)(sums[l], t, pairs->apart[l], p, l);
}

FL_INLINE void R(finish_pairs)(const R(scans) *t, const R(group) *g, const R(pairs) *pairs, const R(row_params) *p,
                               R(rowwise_kernel) kernel, real *value, real *factor, real *offset) {
    FL_ALIGNED(64) real none[LANES] = {0}, dot[LANES], mass[LANES];
    for (int l = 0; l < LANES; l++)
        dot[l] = (real)pairs->dot[l], mass[l] = (real)pairs->mass[l];
    FL_SIMD
    for (int l = 0; l < LANES; l++) {
        R(summary) s = R(summarise)(t, g, none, dot, mass, l);
        R(coefficients) k = {0, 0, 0, 0, 0, 0, 0};
        real found;
        s.cross = pairs->cross[l], s.apart = pairs->apart[l];
        found = kernel.finish(&s, p, &k);
        value[l] = g->active[l] ? found : 0;
        factor[l] = k.factor, offset[l] = k.offset;
    }
}

FL_INLINE void R(walk_pair_columns)(const fl_rowwise *job, const R(group) *g, const R(row_params) *p,
                                    R(rowwise_kernel) kernel, real *value) {
    FL_ALIGNED(64) R(pair_room) room;
    FL_ALIGNED(64) R(scans) x, t;
    FL_ALIGNED(64) R(pairs) pairs;
    FL_ALIGNED(64) real factor[LANES], offset[LANES], out[R(panel_size)];
    const int narrow = job->classes <= FL_NARROW, with_mass = (kernel.needs & GRAD_MASS) && job->grad.rows.data;
    R(pair_panel) b = {{room.x, LANES}, {room.t, LANES}, room.ex, room.et};
    if (narrow) {
        b.x = R(load_panel)(&job->input, g->first, g->rows, 0, job->classes, 0, room.flat, room.x);
        b.t = R(load_panel)(&job->dense, g->first, g->rows, 0, job->classes, 0, room.flat, room.t);
        R(scan_panels_narrow)(&x, job, &job->input, g, b.x, p->rate, room.ex);
        R(scan_panels_narrow)(&t, job, &job->dense, g, b.t, p->rate, room.et);
    } else {
        R(scan_panels_wide)(&x, job, &job->input, g, p->rate, room.flat, room.x);
        R(scan_panels_wide)(&t, job, &job->dense, g, p->rate, room.flat, room.t);
    }
    FL_SIMD
    for (int l = 0; l < LANES; l++) {
        R(meeting) meeting = R(meet)(&x, &t, p, l);
        pairs.apart[l] = meeting.apart;
        pairs.gap[l] = meeting.gap, pairs.gap_low[l] = meeting.gap_low, pairs.ratio[l] = meeting.ratio;
    }
    if (narrow && with_mass)
        R(dot_panels)(job, g, b, &x, &t, &pairs, p, kernel, 1, 1, &room);
    else if (narrow)
        R(dot_panels)(job, g, b, &x, &t, &pairs, p, kernel, 1, 0, &room);
    else
        R(dot_panels)(job, g, b, &x, &t, &pairs, p, kernel, 0, 1, &room);
    R(finish_pairs)(&t, g, &pairs, p, kernel, value, factor, offset);
    for (int64_t j = 0; job->grad.rows.data && j < job->classes; j += FL_NARROW) {
        int64_t n = fl_min(job->classes - j, FL_NARROW);
        const real rate = p->rate.c;
        if (!narrow)
            b = R(load_pair)(job, g, j, n, &x, &t, p->rate, &room);
        for (int64_t c = 0; c < n; c++) {
            FL_SIMD
            for (int l = 0; l < LANES; l++) {
                R(coefficients) k = {factor[l], offset[l], 0, 0, 0, 0, 0};
                out[c * LANES + l] = kernel.grad(R(class_of_lane)(&b, &pairs, c, l, rate), p, &k);
            }
        }
        R(store_panel)(&job->grad, g->first, g->rows, j, n, out, room.flat, job->stream);
    }
}
