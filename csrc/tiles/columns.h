/* Rows together, a row in each lane: for rows of few classes, and for a class axis that is not the last. */

/* The new maxima of the lanes, and what was found so far in their units. */
FL_INLINE void R(raise_lanes)(R(scans) *s, const real *top, int tilt) {
    int raised = 0;
    FL_SIMD_REDUCE(|, raised)
    for (int l = 0; l < LANES; l++)
        raised |= (top[l] > s->max[l]) & (s->max[l] > -REAL_INF);
    if (!raised) {
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            s->count[l] = top[l] > s->max[l] ? 0 : s->count[l];
            R(set_unit)(s, l, top[l]);
        }
        return;
    }
    for (int l = 0; l < LANES; l++) {
        R(unit) from = R(lane_unit)(s, l);
        double all = s->rest[l] + s->count[l] * (double)from.top, factor;
        real before = s->max[l];
        if (!(top[l] > before))
            continue;
        R(set_unit)(s, l, top[l]);
        s->count[l] = 0;
        if (!(before > -REAL_INF))
            continue;
        factor = top[l] < REAL_INF ? R(rescale)(from, R(lane_unit)(s, l)) : 0;
        if (tilt)
            s->tilt[l] = r64_times(factor, s->tilt[l] + ((double)top[l] - (double)before) * all);
        s->rest[l] = factor * all;
    }
}

FL_INLINE void R(max_panel)(real *top, R(panel) x, int64_t n) {
    for (int64_t c = 0; c < n; c++) {
        FL_SIMD
        for (int l = 0; l < LANES; l++)
            top[l] = R(max)(x.at[c * x.step + l], top[l]);
    }
}

/* e of one class of every row; into the sums goes 0 for a largest class, which is counted instead (see R(exp_lanes)). */
FL_INLINE void R(exp_class)(const R(scans) *s, const real *x, real *sums, real *tilts, bits_t *counts, real *kept,
                            int tilt) {
    FL_SIMD
    for (int l = 0; l < LANES; l++) {
        real v = x[l], e = R(exp_in)(R(lane_unit)(s, l), v);
        bits_t same = (bits_t)0 - (bits_t)(v == s->max[l]);
        if (kept)
            kept[l] = e;
        e = R(from_bits)(R(to_bits)(e) & ~same);
        counts[l] -= same;
        sums[l] += e;
        if (tilt)
            tilts[l] += R(times)(e, s->max[l] - v);
    }
}

FL_INLINE void R(add_counts)(R(scans) *s, const bits_t *counts) {
    FL_SIMD
    for (int l = 0; l < LANES; l++)
        s->count[l] += s->max[l] > -REAL_INF ? (double)(int32_t)counts[l] : 0;
}

/* As many lanes as stay in registers while the classes of narrow rows go by. */
enum { R(abreast) = LANES / 2 };

/* Sums of e in which one largest class is left out: that of the classes so far is `large`, the others are in `rest`. */
typedef struct {
    FL_ALIGNED(64) real large[R(abreast)], rest[R(abreast)], tilt[R(abreast)];
} R(sums_abreast);

FL_INLINE void R(exp_abreast)(R(sums_abreast) *sums, const R(scans) *s, int64_t first, R(panel) x, int64_t c,
                              real *kept, int lanes, int based, int tilt) {
    FL_SIMD
    for (int l = 0; l < R(abreast); l++) {
        R(unit) unit = {based ? s->base[first + l] : 0, 0, s->magic[first + l], s->low[first + l], 0, R(plain_rate)()};
        real v = x.at[c * x.step + first + l], e = R(exp_in)(unit, v);
        kept[c * lanes + first + l] = e;
        sums->rest[l] += R(min)(sums->large[l], e);
        sums->large[l] = R(max)(e, sums->large[l]);
        if (tilt)
            sums->tilt[l] += R(times)(e, s->max[first + l] - v);
    }
}

FL_INLINE void R(join_abreast)(R(sums_abreast) *sums, const R(sums_abreast) *more, int tilt) {
    FL_SIMD
    for (int l = 0; l < R(abreast); l++) {
        sums->rest[l] = (sums->rest[l] + more->rest[l]) + R(min)(sums->large[l], more->large[l]);
        sums->large[l] = R(max)(sums->large[l], more->large[l]);
        if (tilt)
            sums->tilt[l] += more->tilt[l];
    }
}

/* Classes j to end, at most 16, of `abreast` rows: four running sums, class c in number c % 4, so that equal terms, whose
 * roundings do not make up for each other, are few in each. The answer is their sum, and `large` of all so far. */
FL_INLINE void R(sum_abreast)(R(scans) *s, int64_t first, R(panel) x, int64_t j, int64_t end, int lanes, real *kept,
                              real *large, int based, int tilt) {
    R(sums_abreast) one = {{0}, {0}, {0}}, two = one, three = one, four = one;
    int64_t c = j;
    for (; c + 4 <= end; c += 4) {
        R(exp_abreast)(&one, s, first, x, c, kept, lanes, based, tilt);
        R(exp_abreast)(&two, s, first, x, c + 1, kept, lanes, based, tilt);
        R(exp_abreast)(&three, s, first, x, c + 2, kept, lanes, based, tilt);
        R(exp_abreast)(&four, s, first, x, c + 3, kept, lanes, based, tilt);
    }
    if (c < end)
        R(exp_abreast)(&one, s, first, x, c, kept, lanes, based, tilt);
    if (c + 1 < end)
        R(exp_abreast)(&two, s, first, x, c + 1, kept, lanes, based, tilt);
    if (c + 2 < end)
        R(exp_abreast)(&three, s, first, x, c + 2, kept, lanes, based, tilt);
    R(join_abreast)(&one, &two, tilt);
    R(join_abreast)(&three, &four, tilt);
    R(join_abreast)(&one, &three, tilt);
    FL_SIMD
    for (int l = 0; l < R(abreast); l++) {
        s->rest[first + l] += (double)one.rest[l] + (double)R(min)(large[l], one.large[l]);
        large[l] = R(max)(large[l], one.large[l]);
        if (tilt)
            s->tilt[first + l] += (double)one.tilt[l];
    }
}

/* All classes of narrow rows. */
FL_INLINE void R(scan_narrow)(R(scans) *s, R(panel) x, int64_t n, int lanes, int tilt, real *kept) {
    int based = 0;
    for (int64_t first = 0; first < lanes; first += R(abreast)) {
        FL_ALIGNED(64) real top[R(abreast)];
        for (int l = 0; l < R(abreast); l++)
            top[l] = -REAL_INF;
        for (int64_t c = 0; c < n; c++) {
            FL_SIMD
            for (int l = 0; l < R(abreast); l++)
                top[l] = R(max)(x.at[c * x.step + first + l], top[l]);
        }
        FL_SIMD
        for (int l = 0; l < R(abreast); l++)
            R(set_unit)(s, first + l, top[l]);
    }
    for (int64_t first = 0; first < lanes; first += LANES) {
        FL_SIMD_REDUCE(|, based)
        for (int l = 0; l < LANES; l++)
            based |= s->base[first + l] != 0;
        FL_SIMD
        for (int l = 0; l < LANES; l++)
            s->count[first + l] = s->max[first + l] > -REAL_INF ? 1 : 0;
        for (int l = 0; l < LANES; l++)
            s->rest[first + l] = 0;
    }
    for (int64_t first = 0; first < lanes; first += R(abreast)) {
        FL_ALIGNED(64) real large[R(abreast)] = {0};
        for (int64_t j = 0; j < n; j += 16)
            if (based)
                R(sum_abreast)(s, first, x, j, fl_min(j + 16, n), lanes, kept, large, 1, tilt);
            else /* as almost always: then there is nothing to subtract */
                R(sum_abreast)(s, first, x, j, fl_min(j + 16, n), lanes, kept, large, 0, tilt);
    }
    for (int l = 0; based && l < lanes; l++)
        if (s->max[l] == REAL_INF) { /* e of an infinite logit is a NaN: what counts is whether there was another */
            s->rest[l] = 0;
            for (int64_t c = 0; c < n; c++)
                s->rest[l] += x.at[c * x.step + l] != x.at[c * x.step + l] ? NAN : 0;
        }
}

/* Partial sums [part][lane] to one per lane, in the order of R(fold_sums). */
FL_NOINLINE void R(fold_parts)(double *parts) {
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half * LANES; i++)
            parts[i] += parts[i + half * LANES];
}

FL_NOINLINE void R(add_parts)(double *to, const real *parts) {
    FL_ALIGNED(64) double wide[LANES * LANES];
    for (int i = 0; i < LANES * LANES; i++)
        wide[i] = (double)parts[i];
    R(fold_parts)(wide);
    for (int l = 0; l < LANES; l++)
        to[l] += wide[l];
}

/* Ranks, and the first largest class where the maximum is larger than `before`, which is then the new maximum. */
FL_INLINE void R(rank_panel)(R(scans) *s, R(panel) x, int64_t j, int64_t n, const R(group) *g, const real *picked,
                             real *before) {
    int32_t first[R(most_lanes)];
    for (int l = 0; l < g->lanes; l++)
        first[l] = -1;
    for (int64_t c = n - 1; c >= 0; c--)
        for (int64_t block = 0; block < g->lanes; block += LANES) {
            FL_SIMD
            for (int i = 0; i < LANES; i++) {
                const int64_t l = block + i;
                real v = x.at[c * x.step + l];
                s->ahead[l] += (v > picked[l]) | ((v == picked[l]) & (j + c < g->label[l]));
                first[l] = v == s->max[l] ? (int32_t)(j + c) : first[l];
            }
        }
    for (int l = 0; l < g->lanes; l++)
        if (first[l] >= 0 && s->max[l] > before[l]) {
            s->first[l] = first[l];
            before[l] = s->max[l];
        }
}

/* One block of wide rows: the sums of R(scan_block), class j in part j % LANES, so that a row has the same bits whether it
 * is walked with others or alone. */
FL_INLINE void R(scan_wide)(R(scans) *s, const fl_rowwise *job, const R(group) *g, const real *picked, real *flat,
                            real *buffer, int64_t j, int64_t end, int needs) {
    FL_ALIGNED(64) real top[LANES], before[LANES], sums[LANES * LANES], tilts[LANES * LANES];
    FL_ALIGNED(64) bits_t counts[LANES] = {0};
    const int tilt = needs & NEEDS_TILT;
    memset(sums, 0, sizeof sums);
    if (tilt)
        memset(tilts, 0, sizeof tilts);
    memcpy(top, s->max, sizeof top);
    memcpy(before, s->max, sizeof before);
    for (int64_t i = j; i < end; i += FL_NARROW) {
        int64_t n = fl_min(end - i, FL_NARROW);
        R(max_panel)(top, R(load_panel)(&job->input, g, i, n, (real)job->softcap, flat, buffer), n);
    }
    R(raise_lanes)(s, top, tilt);
    for (int64_t i = j; i < end; i += FL_NARROW) {
        int64_t n = fl_min(end - i, FL_NARROW);
        R(panel) x = R(load_panel)(&job->input, g, i, n, (real)job->softcap, flat, buffer);
        for (int64_t c = 0; c < n; c++) {
            int64_t part = (i - j + c) % LANES * LANES;
            R(exp_class)(s, x.at + c * x.step, sums + part, tilts + part, counts, NULL, tilt);
        }
        if (needs & NEEDS_RANK)
            R(rank_panel)(s, x, i, n, g, picked, before);
    }
    R(add_counts)(s, counts);
    R(add_parts)(s->rest, sums);
    if (tilt)
        R(add_parts)(s->tilt, tilts);
}

FL_INLINE void R(scan_columns)(R(scans) *s, const fl_rowwise *job, const R(group) *g, const real *picked, R(panel) x,
                               real *flat, real *buffer, real *kept, int needs) {
    real before[R(most_lanes)];
    for (int l = 0; needs & NEEDS_RANK && l < g->lanes; l++)
        s->first[l] = s->ahead[l] = 0, before[l] = -REAL_INF;
    if (job->classes <= FL_NARROW) {
        R(scan_narrow)(s, x, job->classes, g->lanes, needs & NEEDS_TILT, kept);
        if (needs & NEEDS_RANK)
            R(rank_panel)(s, x, 0, job->classes, g, picked, before);
        return;
    }
    for (int l = 0; l < LANES; l++)
        s->max[l] = -REAL_INF, s->count[l] = s->rest[l] = s->tilt[l] = 0;
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK)
        R(scan_wide)(s, job, g, picked, flat, buffer, j, fl_min(j + FL_BLOCK, job->classes), needs);
}

FL_NOINLINE void R(scan_columns_plain)(R(scans) *s, const fl_rowwise *job, const R(group) *g, R(panel) x, real *flat,
                                       real *buffer, real *kept) {
    R(scan_columns)(s, job, g, NULL, x, flat, buffer, kept, NEEDS_EXP);
}
FL_NOINLINE void R(scan_columns_tilt)(R(scans) *s, const fl_rowwise *job, const R(group) *g, R(panel) x, real *flat,
                                      real *buffer, real *kept) {
    R(scan_columns)(s, job, g, NULL, x, flat, buffer, kept, NEEDS_EXP | NEEDS_TILT);
}
FL_NOINLINE void R(scan_columns_rank)(R(scans) *s, const fl_rowwise *job, const R(group) *g, const real *picked,
                                      R(panel) x, real *flat, real *buffer, real *kept) {
    R(scan_columns)(s, job, g, picked, x, flat, buffer, kept, NEEDS_EXP | NEEDS_TILT | NEEDS_RANK);
}

/* The targets' logits: from the panel when it holds all classes, else from memory. */
FL_INLINE void R(pick)(const fl_rowwise *job, const R(group) *g, R(panel) x, real *picked) {
    if (g->all_active && g->rows == g->lanes && x.step == g->lanes && job->classes <= FL_NARROW) {
        for (int64_t first = 0; first < g->lanes; first += LANES) {
            const real *at = x.at + first;
            const int64_t *label = g->label + first;
            const int32_t step = (int32_t)x.step;
            FL_SIMD
            for (int32_t l = 0; l < LANES; l++)
                picked[first + l] = at[(int32_t)label[l] * step + l];
        }
        return;
    }
    for (int l = 0; l < g->lanes; l++)
        if (!g->active[l])
            picked[l] = 0;
        else if (job->classes <= FL_NARROW)
            picked[l] = x.at[g->label[l] * x.step + l];
        else
            picked[l] = *R(classes)(&job->input, fl_locate(&job->input.rows, g->first + l).at, g->label[l], 1,
                                    (real)job->softcap, &picked[l]);
}

/* Derivatives of a panel's classes; with `from_kept` e is what the scan kept. */
FL_INLINE void R(panel_classes)(real *out, real *hess, R(panel) x, R(panel) y, const real *class_weight,
                                const real *kept, int64_t n, int count, const R(scans) *s,
                                const R(lane_coefficients) *lanes, const R(row_params) *p, R(rowwise_kernel) kernel,
                                int from_kept, int wants_hess) {
    for (int64_t c = 0; c < n; c++) {
        real w = class_weight ? class_weight[c] : 1;
        for (int64_t first = 0; first < count; first += LANES) {
            FL_SIMD
            for (int i = 0; i < LANES; i++) {
                const int64_t l = first + i;
                real v = x.at[c * x.step + l];
                R(class_of) of = {v, v - R(shift_of)(s->max[l]), 0, y.at[c * y.step + l], w};
                R(coefficients) k = {lanes->factor[l], lanes->offset[l], lanes->top[l],      lanes->others[l],
                                     lanes->curve[l],  lanes->bend[l],   lanes->at_target[l]};
                of.e = from_kept ? kept[c * count + l] : R(exp_in)(R(lane_unit)(s, l), v);
                out[c * count + l] = kernel.grad(of, p, &k);
                if (wants_hess)
                    hess[c * count + l] = kernel.hess(of, p, &k);
            }
        }
    }
}

FL_INLINE void R(walk_columns)(const fl_rowwise *job, const R(group) *g, const R(row_params) *p,
                               R(rowwise_kernel) kernel, real *value) {
    FL_ALIGNED(64) real flat[R(panel_size)], buffer[R(panel_size)], dense_buffer[R(panel_size)], out[R(panel_size)];
    FL_ALIGNED(64) real kept[R(panel_size)]; /* e of the last panel that was scanned */
    FL_ALIGNED(64) real picked[R(most_lanes)], dot[R(most_lanes)], mass[R(most_lanes)];
    const real *class_weight = (const real *)job->weight;
    const real softcap = (real)job->softcap;
    int wants_dot = (kernel.needs & NEEDS_DOT) || ((kernel.needs & MAY_DOT) && job->param[0] != 0);
    R(panel) x = R(load_panel)(&job->input, g, 0, fl_min(job->classes, FL_NARROW), softcap, flat, buffer), y = x;
    FL_ALIGNED(64) R(lane_coefficients) lanes;
    FL_ALIGNED(64) R(scans) s;
    for (int l = 0; l < g->lanes; l++)
        picked[l] = dot[l] = mass[l] = 0, s.tilt[l] = 0;
    if (kernel.needs & NEEDS_LABEL)
        R(pick)(job, g, x, picked);
    if (kernel.needs & NEEDS_RANK)
        R(scan_columns_rank)(&s, job, g, picked, x, flat, buffer, kept);
    else if (kernel.needs & NEEDS_TILT)
        R(scan_columns_tilt)(&s, job, g, x, flat, buffer, kept);
    else if (kernel.needs & NEEDS_EXP)
        R(scan_columns_plain)(&s, job, g, x, flat, buffer, kept);
    else
        for (int l = 0; l < g->lanes; l++)
            R(set_unit)(&s, l, -REAL_INF), s.count[l] = 0, s.rest[l] = 0;
    if (wants_dot) {
        FL_ALIGNED(64) double dots[LANES * LANES], masses[LANES * LANES];
        for (int64_t first = 0; first < g->lanes; first += LANES) { /* more than once only for narrow rows */
            memset(dots, 0, sizeof dots);
            memset(masses, 0, sizeof masses);
            for (int64_t j = 0; j < job->classes; j += FL_NARROW) {
                int64_t n = fl_min(job->classes - j, FL_NARROW);
                if (job->classes > FL_NARROW)
                    y = x = R(load_panel)(&job->input, g, j, n, softcap, flat, buffer);
                if (job->dense.rows.data && first == 0)
                    y = R(load_panel)(&job->dense, g, j, n, 0, flat, dense_buffer);
                for (int64_t c = 0; c < n; c++) {
                    int64_t part = c % LANES * LANES;
                    real w = class_weight ? class_weight[j + c] : 1;
                    FL_SIMD
                    for (int l = 0; l < LANES; l++) {
                        int64_t lane = first + l;
                        real v = x.at[c * x.step + lane];
                        R(class_of) of = {v, v - R(shift_of)(s.max[lane]), 0, y.at[c * y.step + lane], w};
                        R(dots) found;
                        of.e = R(exp_in)(R(lane_unit)(&s, lane), v);
                        found = kernel.dot(of, p);
                        dots[part + l] += (double)found.dot;
                        masses[part + l] += (double)found.mass;
                    }
                }
            }
            R(fold_parts)(dots);
            R(fold_parts)(masses);
            for (int l = 0; l < LANES; l++)
                dot[first + l] = (real)dots[l], mass[first + l] = (real)masses[l];
        }
    }
    if (job->hess.rows.data)
        R(finish_lanes)(&s, g, picked, dot, mass, p, kernel, 2, value, &lanes);
    else if (job->grad.rows.data || kernel.needs & NEEDS_RANK)
        R(finish_lanes)(&s, g, picked, dot, mass, p, kernel, 1, value, &lanes);
    else
        R(finish_lanes)(&s, g, picked, dot, mass, p, kernel, 0, value, &lanes);
    if (kernel.needs & NEEDS_RANK) {
        R(put_scores)(job, g, &lanes);
        for (int l = 0; l < g->rows; l++) {
            int64_t at = g->first + l;
            int valid = s.rest[l] == s.rest[l];
            job->rank[at] = !g->active[l] ? -1 : valid ? s.ahead[l] : job->classes;
            job->prediction[at] = valid ? s.first[l] : -1;
        }
    }
    if (!job->grad.rows.data)
        return;
    for (int64_t j = 0; j < job->classes; j += FL_NARROW) {
        int64_t n = fl_min(job->classes - j, FL_NARROW);
        FL_ALIGNED(64) real hess[R(panel_size)];
        const int wants_hess = job->hess.rows.data != NULL;
        const int from_kept = (kernel.needs & NEEDS_EXP) && job->classes <= FL_NARROW;
        const real *w;
        if (job->classes > FL_NARROW)
            y = x = R(load_panel)(&job->input, g, j, n, softcap, flat, buffer);
        if (job->dense.rows.data)
            y = R(load_panel)(&job->dense, g, j, n, 0, flat, dense_buffer);
        w = class_weight ? class_weight + j : NULL;
        if (wants_hess)
            R(panel_classes)(out, hess, x, y, w, NULL, n, g->lanes, &s, &lanes, p, kernel, 0, 1);
        else if (from_kept)
            R(panel_classes)(out, hess, x, y, w, kept, n, g->lanes, &s, &lanes, p, kernel, 1, 0);
        else
            R(panel_classes)(out, hess, x, y, w, NULL, n, g->lanes, &s, &lanes, p, kernel, 0, 0);
        if (kernel.needs & NEEDS_LABEL)
            for (int l = 0; l < g->rows; l++)
                if (g->active[l] && g->label[l] >= j && g->label[l] < j + n)
                    out[(g->label[l] - j) * g->lanes + l] = lanes.at_target[l];
        if (softcap != 0) {
            R(panel) plain = R(load_panel)(&job->input, g, j, n, 0, flat, dense_buffer);
            for (int64_t c = 0; c < n; c++)
                R(uncap)(plain.at + c * plain.step, x.at + c * x.step, g->lanes, softcap, out + c * g->lanes,
                         wants_hess ? hess + c * g->lanes : NULL);
        }
        if (!g->all_active)
            for (int l = 0; l < g->rows; l++)
                for (int64_t c = 0; c < n && !g->active[l]; c++)
                    out[c * g->lanes + l] = hess[c * g->lanes + l] = 0;
        R(store_panel)(&job->grad, g, j, n, out, flat, job->stream);
        if (wants_hess)
            R(store_panel)(&job->hess, g, j, n, hess, flat, job->stream);
    }
}
