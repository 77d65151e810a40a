/* Rows of at most FL_NARROW classes, a row in each lane: what is summed over their classes, from a panel that holds them all. */

/* Numbers >= 0 compared by their bits, as integers: a NaN is above all or below all and is not lost, and the compiler
 * leaves the choice whole, where one between reals would become two additions, each under a condition. */
#if REAL_BITS == 32
typedef int32_t R(order);
#else
typedef int64_t R(order);
#endif

FL_INLINE real R(min_bits)(real a, real b) {
    R(order) x = (R(order))R(to_bits)(a), y = (R(order))R(to_bits)(b);
    return R(from_bits)((bits_t)(x < y ? x : y));
}
FL_INLINE real R(max_bits)(real a, real b) {
    R(order) x = (R(order))R(to_bits)(a), y = (R(order))R(to_bits)(b);
    return R(from_bits)((bits_t)(x < y ? y : x));
}

/* Sums of e in which one largest class is left out: that of the classes so far is `large`, the others are in `rest`. */
typedef struct {
    FL_ALIGNED(64) real large[R(most_lanes)], rest[R(most_lanes)], tilt[R(most_lanes)], squares[R(most_lanes)];
} R(narrow_sums);

/* Takes a class in: x and kept are its lanes. Sums that begin with it are not read, so that nothing need be cleared. */
FL_INLINE void R(add_class)(R(narrow_sums) *sums, const R(scans) *s, const real *x, real *kept, int lanes, int based,
                            int needs, int begin) {
    for (int64_t first = 0; first < lanes; first += LANES) {
        FL_SIMD
        for (int i = 0; i < LANES; i++) {
            const int64_t l = first + i;
            R(unit) unit = {based ? s->base[l] : 0, 0, s->magic[l], s->low[l], 0, R(plain_rate)()};
            const real v = x[l], e = R(exp_in)(unit, v);
            const real large = begin ? 0 : sums->large[l], less = R(min_bits)(large, e);
            kept[l] = e;
            sums->rest[l] = (begin ? 0 : sums->rest[l]) + less;
            sums->large[l] = R(max_bits)(large, e);
            if (needs & NEEDS_SQUARES)
                sums->squares[l] = (begin ? 0 : sums->squares[l]) + less * less;
            if (needs & NEEDS_TILT)
                sums->tilt[l] = R(fma)(e, R(below_max)(unit, s->max[l], v), begin ? 0 : sums->tilt[l]);
        }
    }
}

FL_INLINE void R(join_sums)(R(narrow_sums) *sums, const R(narrow_sums) *more, int lanes, int needs) {
    for (int64_t first = 0; first < lanes; first += LANES) {
        FL_SIMD
        for (int i = 0; i < LANES; i++) {
            const int64_t l = first + i;
            const real less = R(min_bits)(sums->large[l], more->large[l]);
            sums->rest[l] = (sums->rest[l] + more->rest[l]) + less;
            sums->large[l] = R(max_bits)(sums->large[l], more->large[l]);
            if (needs & NEEDS_SQUARES)
                sums->squares[l] += more->squares[l] + less * less;
            if (needs & NEEDS_TILT)
                sums->tilt[l] += more->tilt[l];
        }
    }
}

/* The four sums so far, put by in float64: `rest` and `tilt` begin anew. */
FL_INLINE void R(put_by)(R(narrow_sums) *of, double *rest, double *tilt, int lanes, int needs) {
    for (int64_t first = 0; first < lanes; first += LANES) {
        FL_SIMD
        for (int i = 0; i < LANES; i++) {
            const int64_t l = first + i;
            rest[l] += (double)((of[0].rest[l] + of[1].rest[l]) + (of[2].rest[l] + of[3].rest[l]));
            of[0].rest[l] = 0, of[1].rest[l] = 0, of[2].rest[l] = 0, of[3].rest[l] = 0;
            if (needs & NEEDS_TILT) {
                tilt[l] += (double)((of[0].tilt[l] + of[1].tilt[l]) + (of[2].tilt[l] + of[3].tilt[l]));
                of[0].tilt[l] = 0, of[1].tilt[l] = 0, of[2].tilt[l] = 0, of[3].tilt[l] = 0;
            }
        }
    }
}

/* All classes: four running sums, class c in number c % 4, and no more than 16 classes before they are put by, so that equal
 * terms, whose roundings do not make up for each other, are few in each. Between the classes memory is asked for what comes
 * next, `bytes` from `ahead` on, and for what comes later, as by fl_look_ahead; and what was there before leaves. */
FL_INLINE void R(sum_classes)(R(scans) *s, R(panel) x, int64_t n, int lanes, const char *ahead, int64_t bytes,
                              R(outgoing) *outgoing, real *kept, int based, int needs) {
    const int64_t step = bytes / n;
    const size_t leaving = outgoing->bytes / (size_t)n;
    FL_ALIGNED(64) double rest[R(most_lanes)], tilt[R(most_lanes)];
    R(narrow_sums) sums[4];
    for (int l = 0; n > 16 && l < lanes; l++)
        rest[l] = tilt[l] = 0;
    for (int64_t c = 0; c < n; c++) {
        R(narrow_sums) *of = &sums[c % 4];
        const real *at = x.at + c * x.step;
        real *e = kept + c * lanes;
        for (int64_t line = 0; line < step; line += 64)
            FL_PREFETCH(ahead + FL_AHEAD + c * step + line), FL_PREFETCH_NEAR(ahead + c * step + line);
        if (leaving > 0)
            R(send)(outgoing, leaving);
        if (c % 16 == 0 && c > 0)
            R(put_by)(sums, rest, tilt, lanes, needs);
        if (c < 4)
            R(add_class)(of, s, at, e, lanes, based, needs, 1);
        else
            R(add_class)(of, s, at, e, lanes, based, needs, 0);
    }
    if (n > 1)
        R(join_sums)(&sums[0], &sums[1], lanes, needs);
    if (n > 3)
        R(join_sums)(&sums[2], &sums[3], lanes, needs);
    if (n > 2)
        R(join_sums)(&sums[0], &sums[2], lanes, needs);
    for (int64_t first = 0; first < lanes; first += LANES) {
        FL_SIMD
        for (int i = 0; i < LANES; i++) {
            const int64_t l = first + i;
            const real large = sums->large[l], top = large == 0 ? 1 : large; /* only masked classes: s = 0 */
            const real others = sums->rest[l] + (large - top);
            s->top[l] = top;
            s->others[l] = n > 16 ? (real)(rest[l] + (double)others) : others;
            if (needs & NEEDS_TILT)
                s->tilt[l] = large == 0 ? 0 : (double)sums->tilt[l] + (n > 16 ? tilt[l] : 0);
            if (needs & NEEDS_SQUARES)
                s->squares[l] = (double)sums->squares[l];
        }
    }
}

/* Each row's maximum and unit; whether one has a base. */
FL_INLINE int R(find_units)(R(scans) *s, R(panel) x, int64_t n, int lanes) {
    FL_ALIGNED(64) bits_t bases[LANES] = {0};
    bits_t based = 0;
    for (int64_t first = 0; first < lanes; first += LANES) {
        FL_ALIGNED(64) real top[LANES];
        FL_SIMD
        for (int l = 0; l < LANES; l++)
            top[l] = -REAL_INF;
        for (int64_t c = 0; c < n; c++) {
            FL_SIMD
            for (int l = 0; l < LANES; l++)
                top[l] = R(max)(x.at[c * x.step + first + l], top[l]);
        }
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            const R(unit) unit = R(unit_of)(top[l]);
            s->max[first + l] = top[l];
            s->base[first + l] = unit.base, s->magic[first + l] = unit.magic, s->low[first + l] = unit.low;
            bases[l] |= R(to_bits)(unit.base);
        }
    }
    FL_SIMD_REDUCE(|, based)
    for (int l = 0; l < LANES; l++)
        based |= bases[l];
    return based != 0;
}

FL_INLINE void R(scan_narrow)(R(scans) *s, R(panel) x, int64_t n, int lanes, const char *ahead, int64_t bytes,
                              R(outgoing) *outgoing, int needs, real *kept) {
    if (!R(find_units)(s, x, n, lanes)) { /* as almost always: then there is nothing to subtract */
        R(sum_classes)(s, x, n, lanes, ahead, bytes, outgoing, kept, 0, needs);
        return;
    }
    R(sum_classes)(s, x, n, lanes, ahead, bytes, outgoing, kept, 1, needs);
    for (int l = 0; l < lanes; l++)
        if (s->max[l] == REAL_INF) { /* e of an infinite logit is a NaN: what counts is whether there was another */
            s->others[l] = 0;
            for (int64_t c = 0; c < n; c++)
                s->others[l] += x.at[c * x.step + l] != x.at[c * x.step + l] ? NAN : 0;
        }
}
