/* Rows of at most FL_NARROW classes, a row in each lane: what is summed over their classes, from a panel that holds them all. */

/* Numbers >= 0 compared by their bits, as integers: a NaN is above all or below all and is not lost, and the compiler
 * leaves the choice whole, where one between reals would become two additions, each under a condition. */
FL_INLINE real R(min_bits)(real a, real b) {
    R(order) x = (R(order))R(to_bits)(a), y = (R(order))R(to_bits)(b);
    return R(from_bits)((bits_t)(x < y ? x : y));
}
FL_INLINE real R(max_bits)(real a, real b) {
    R(order) x = (R(order))R(to_bits)(a), y = (R(order))R(to_bits)(b);
    return R(from_bits)((bits_t)(x < y ? y : x));
}

/* Of some classes of a row: the sum of e but for one largest, which is `large`, and that of their squares. */
typedef struct {
    real large, rest, squares;
} R(narrow_terms);

/* Of both; `single`: each is of one class. What b has is added up first: of equal terms 4 to 3, not 3 to 3 and then one. */
FL_INLINE R(narrow_terms) R(join)(R(narrow_terms) a, R(narrow_terms) b, int single) {
    const real less = R(min_bits)(a.large, b.large);
    return (R(narrow_terms)){R(max_bits)(a.large, b.large), single ? less : a.rest + (b.rest + less),
                             single ? less * less : a.squares + (b.squares + less * less)};
}

/* Of a class of row l; with its share of the sum of (m - x) e. */
FL_INLINE R(narrow_terms) R(class_terms)(const R(scans) *s, int64_t l, const real *x, real *kept, real *tilt, int based,
                                         int keep, int needs) {
    const R(unit) unit = {based ? s->base[l] : 0, 0, s->magic[l], s->low[l], 0, R(plain_rate)()};
    const real e = R(exp_in)(unit, *x);
    if (keep)
        *kept = e;
    if (needs & NEEDS_TILT)
        *tilt = R(fma)(e, R(below_max)(unit, s->max[l], *x), *tilt);
    return (R(narrow_terms)){e, 0, 0};
}

/* The same of all rows of a group. */
typedef struct {
    FL_ALIGNED(64) real large[R(most_lanes)], rest[R(most_lanes)], squares[R(most_lanes)], tilt[R(most_lanes)];
} R(narrow_sums);

/* Takes `count` classes in, at most four; in pairs, since of equal terms the roundings do not make up for each other, so that
 * few of them may be in one sum. Sums that begin with them are not read: nothing need be cleared. */
FL_INLINE void R(add_classes)(R(narrow_sums) *sums, const R(scans) *s, const real *x, int64_t step, real *kept,
                              int lanes, int count, int begin, int based, int keep, int needs) {
    for (int64_t first = 0; first < lanes; first += R(width)) {
        FL_SIMD
        for (int i = 0; i < R(width); i++) {
            const int64_t l = first + i;
            real tilt = 0;
            R(narrow_terms) a = R(class_terms)(s, l, x + l, kept + l, &tilt, based, keep, needs), b, c, d;
            if (count > 1) {
                b = R(class_terms)(s, l, x + step + l, kept + lanes + l, &tilt, based, keep, needs);
                a = R(join)(a, b, 1);
            }
            if (count > 2)
                c = R(class_terms)(s, l, x + 2 * step + l, kept + 2 * lanes + l, &tilt, based, keep, needs);
            if (count > 3) {
                d = R(class_terms)(s, l, x + 3 * step + l, kept + 3 * lanes + l, &tilt, based, keep, needs);
                c = R(join)(c, d, 1);
            }
            if (count > 2)
                a = R(join)(a, c, 0);
            if (!begin) {
                b = (R(narrow_terms)){sums->large[l], sums->rest[l], needs & NEEDS_SQUARES ? sums->squares[l] : 0};
                a = R(join)(b, a, 0);
            }
            sums->large[l] = a.large, sums->rest[l] = a.rest;
            if (needs & NEEDS_SQUARES)
                sums->squares[l] = a.squares;
            if (needs & NEEDS_TILT)
                sums->tilt[l] = begin ? tilt : sums->tilt[l] + tilt;
        }
    }
}

/* The sums so far, put by in float64: `rest` and `tilt` begin anew. */
FL_INLINE void R(put_by)(R(narrow_sums) *sums, double *rest, double *tilt, int lanes, int begin, int needs) {
    for (int64_t first = 0; first < lanes; first += R(width)) {
        FL_SIMD
        for (int i = 0; i < R(width); i++) {
            const int64_t l = first + i;
            rest[l] = (begin ? 0 : rest[l]) + (double)sums->rest[l];
            sums->rest[l] = 0;
            if (needs & NEEDS_TILT) {
                tilt[l] = (begin ? 0 : tilt[l]) + (double)sums->tilt[l];
                sums->tilt[l] = 0;
            }
        }
    }
}

/* All classes, four at a time; after sixteen the sums are put by, for the reason above. In between memory is asked for what
 * comes next, `bytes` from `ahead` on, and for what comes later, as by fl_look_ahead; and what was there before leaves. */
FL_INLINE void R(sum_classes)(R(scans) *s, R(panel) x, int64_t n, int lanes, const char *ahead, int64_t bytes,
                              R(outgoing) *outgoing, real *kept, int based, int keep, int needs) {
    const int64_t steps = (n + 3) / 4, step = bytes / steps;
    const size_t leaving = outgoing->bytes / (size_t)steps;
    FL_ALIGNED(64) double rest[R(most_lanes)], tilt[R(most_lanes)];
    R(narrow_sums) sums;
    int64_t done = 0;
    for (int64_t i = 0; i < steps; i++) {
        const int count = i > 0 ? 4 : (int)((n - 1) % 4 + 1);
        const real *at = x.at + done * x.step;
        real *e = kept + done * lanes;
        for (int64_t line = 0; line < step; line += 64)
            FL_PREFETCH(ahead + FL_AHEAD + i * step + line), FL_PREFETCH_NEAR(ahead + i * step + line);
        if (leaving > 0)
            R(send)(outgoing, leaving);
        if (i > 0 && i % 4 == 0)
            R(put_by)(&sums, rest, tilt, lanes, i == 4, needs);
        if (i > 0)
            R(add_classes)(&sums, s, at, x.step, e, lanes, 4, 0, based, keep, needs);
        else if (count == 1)
            R(add_classes)(&sums, s, at, x.step, e, lanes, 1, 1, based, keep, needs);
        else if (count == 2)
            R(add_classes)(&sums, s, at, x.step, e, lanes, 2, 1, based, keep, needs);
        else if (count == 3)
            R(add_classes)(&sums, s, at, x.step, e, lanes, 3, 1, based, keep, needs);
        else
            R(add_classes)(&sums, s, at, x.step, e, lanes, 4, 1, based, keep, needs);
        done += count;
    }
    for (int64_t first = 0; first < lanes; first += R(width)) {
        FL_SIMD
        for (int i = 0; i < R(width); i++) {
            const int64_t l = first + i;
            const real large = sums.large[l], top = large == 0 ? 1 : large; /* only masked classes: s = 0 */
            const real others = sums.rest[l] + (large - top);
            s->top[l] = top;
            s->others[l] = n > 16 ? (real)(rest[l] + (double)others) : others;
            if (needs & NEEDS_TILT)
                s->tilt[l] = large == 0 ? 0 : (double)sums.tilt[l] + (n > 16 ? tilt[l] : 0);
            if (needs & NEEDS_SQUARES)
                s->squares[l] = (double)sums.squares[l];
        }
    }
}

/* Of at most so many classes each is compared with all labels: a load at an address of each lane's own takes longer. */
enum { R(most_compared) = 32 };

/* Each row's maximum and unit; whether one has a base. With `picks` the target's logit too. */
FL_INLINE int R(find_units)(R(scans) *s, R(panel) x, int64_t n, int lanes, int picks, const bits_t *label,
                            real *picked) {
    FL_ALIGNED(64) bits_t bases[LANES] = {0};
    bits_t based = 0;
    for (int64_t first = 0; first < lanes; first += LANES) {
        FL_ALIGNED(64) real top[LANES], chosen[LANES];
        FL_SIMD
        for (int l = 0; l < LANES; l++)
            top[l] = -REAL_INF, chosen[l] = 0;
        for (int64_t c = 0; c < n; c++) {
            FL_SIMD
            for (int l = 0; l < LANES; l++) {
                const real v = x.at[c * x.step + first + l];
                top[l] = R(max)(v, top[l]);
                if (picks)
                    chosen[l] = label[first + l] == (bits_t)c ? v : chosen[l];
            }
        }
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            const R(unit) unit = R(unit_of)(top[l]);
            s->max[first + l] = top[l];
            s->base[first + l] = unit.base, s->magic[first + l] = unit.magic, s->low[first + l] = unit.low;
            bases[l] |= R(to_bits)(unit.base);
            if (picks)
                picked[first + l] = chosen[l];
        }
    }
    FL_SIMD_REDUCE(|, based)
    for (int l = 0; l < LANES; l++)
        based |= bases[l];
    return based != 0;
}

FL_INLINE void R(scan_narrow)(R(scans) *s, R(panel) x, int64_t n, int lanes, const bits_t *label, real *picked,
                              const char *ahead, int64_t bytes, R(outgoing) *outgoing, int needs, int keep,
                              real *kept) {
    const int based =
        label ? R(find_units)(s, x, n, lanes, 1, label, picked) : R(find_units)(s, x, n, lanes, 0, NULL, NULL);
    if (!based) { /* as almost always: then there is nothing to subtract */
        if (keep)
            R(sum_classes)(s, x, n, lanes, ahead, bytes, outgoing, kept, 0, 1, needs);
        else
            R(sum_classes)(s, x, n, lanes, ahead, bytes, outgoing, kept, 0, 0, needs);
        return;
    }
    R(sum_classes)(s, x, n, lanes, ahead, bytes, outgoing, kept, 1, 1, needs);
    for (int l = 0; l < lanes; l++)
        if (s->max[l] == REAL_INF) { /* e of an infinite logit is a NaN: what counts is whether there was another */
            s->others[l] = 0;
            for (int64_t c = 0; c < n; c++)
                s->others[l] += x.at[c * x.step + l] != x.at[c * x.step + l] ? NAN : 0;
        }
}
