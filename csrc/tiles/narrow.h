/* Rows of at most FL_NARROW classes, a row in each lane: what is summed over their classes, from a panel that holds them all. */

/* As many lanes as stay in registers while the classes go by. */
enum { R(abreast) = LANES / 2 };

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
    FL_ALIGNED(64) real large[R(abreast)], rest[R(abreast)], tilt[R(abreast)], squares[R(abreast)];
} R(sums_abreast);

FL_INLINE void R(exp_abreast)(R(sums_abreast) *sums, const R(scans) *s, int64_t first, R(panel) x, int64_t c,
                              real *kept, int lanes, int based, int needs) {
    FL_SIMD
    for (int l = 0; l < R(abreast); l++) {
        R(unit) unit = {based ? s->base[first + l] : 0, 0, s->magic[first + l], s->low[first + l], 0, R(plain_rate)()};
        real v = x.at[c * x.step + first + l], e = R(exp_in)(unit, v);
        kept[c * lanes + first + l] = e;
        real less = R(min_bits)(sums->large[l], e);
        sums->rest[l] += less;
        sums->large[l] = R(max_bits)(sums->large[l], e);
        if (needs & NEEDS_SQUARES)
            sums->squares[l] += less * less;
        if (needs & NEEDS_TILT)
            sums->tilt[l] = R(fma)(e, R(below_max)(unit, s->max[first + l], v), sums->tilt[l]);
    }
}

FL_INLINE void R(join_abreast)(R(sums_abreast) *sums, const R(sums_abreast) *more, int needs) {
    FL_SIMD
    for (int l = 0; l < R(abreast); l++) {
        real less = R(min_bits)(sums->large[l], more->large[l]);
        sums->rest[l] = (sums->rest[l] + more->rest[l]) + less;
        sums->large[l] = R(max_bits)(sums->large[l], more->large[l]);
        if (needs & NEEDS_SQUARES)
            sums->squares[l] += more->squares[l] + less * less;
        if (needs & NEEDS_TILT)
            sums->tilt[l] += more->tilt[l];
    }
}

/* The sums so far, put by in float64. */
FL_INLINE void R(flush_abreast)(R(sums_abreast) *one, R(sums_abreast) *two, R(sums_abreast) *three,
                                R(sums_abreast) *four, double *rest, double *tilts, int needs) {
    FL_SIMD
    for (int l = 0; l < R(abreast); l++) {
        rest[l] += (double)((one->rest[l] + two->rest[l]) + (three->rest[l] + four->rest[l]));
        one->rest[l] = 0, two->rest[l] = 0, three->rest[l] = 0, four->rest[l] = 0;
        if (needs & NEEDS_TILT) {
            tilts[l] += (double)((one->tilt[l] + two->tilt[l]) + (three->tilt[l] + four->tilt[l]));
            one->tilt[l] = 0, two->tilt[l] = 0, three->tilt[l] = 0, four->tilt[l] = 0;
        }
    }
}

/* All classes of `abreast` rows: four running sums, class c in number c % 4, and no more than 16 classes before they are put
 * by, so that equal terms, whose roundings do not make up for each other, are few in each. */
FL_INLINE void R(sum_abreast)(R(scans) *s, int64_t first, R(panel) x, int64_t n, int lanes, real *kept, int based,
                              int needs) {
    FL_ALIGNED(64) double rest[R(abreast)] = {0}, tilts[R(abreast)] = {0};
    R(sums_abreast) one = {{0}, {0}, {0}, {0}}, two = one, three = one, four = one;
    int64_t c = 0;
    for (int64_t end = 16;; end += 16) {
        for (; c + 4 <= fl_min(end, n); c += 4) {
            R(exp_abreast)(&one, s, first, x, c, kept, lanes, based, needs);
            R(exp_abreast)(&two, s, first, x, c + 1, kept, lanes, based, needs);
            R(exp_abreast)(&three, s, first, x, c + 2, kept, lanes, based, needs);
            R(exp_abreast)(&four, s, first, x, c + 3, kept, lanes, based, needs);
        }
        if (n <= end)
            break;
        R(flush_abreast)(&one, &two, &three, &four, rest, tilts, needs);
    }
    if (c < n)
        R(exp_abreast)(&one, s, first, x, c, kept, lanes, based, needs);
    if (c + 1 < n)
        R(exp_abreast)(&two, s, first, x, c + 1, kept, lanes, based, needs);
    if (c + 2 < n)
        R(exp_abreast)(&three, s, first, x, c + 2, kept, lanes, based, needs);
    R(join_abreast)(&one, &two, needs);
    R(join_abreast)(&three, &four, needs);
    R(join_abreast)(&one, &three, needs);
    FL_SIMD
    for (int l = 0; l < R(abreast); l++) {
        real top = one.large[l] == 0 ? 1 : one.large[l]; /* without a class but masked ones, s = 0 */
        s->top[first + l] = top;
        s->others[first + l] = one.rest[l] + (one.large[l] - top);
        if (needs & NEEDS_TILT)
            s->tilt[first + l] = one.large[l] == 0 ? 0 : (double)one.tilt[l] + tilts[l];
        if (needs & NEEDS_SQUARES)
            s->squares[first + l] = (double)one.squares[l];
    }
    if (n > 16) {
        FL_SIMD
        for (int l = 0; l < R(abreast); l++)
            s->others[first + l] = (real)(rest[l] + (double)s->others[first + l]);
    }
}

/* Between the lanes abreast memory is asked for what comes next, `bytes` from `ahead` on, and what was there before leaves. */
FL_INLINE void R(scan_narrow)(R(scans) *s, R(panel) x, int64_t n, int lanes, const char *ahead, int64_t bytes,
                              R(outgoing) *outgoing, int needs, real *kept) {
    const int64_t step = bytes / (lanes / R(abreast));
    const size_t leaving = outgoing->bytes / (size_t)(lanes / R(abreast));
    bits_t based = 0;
    FL_ALIGNED(64) bits_t bases[R(abreast)] = {0};
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
        for (int l = 0; l < R(abreast); l++) {
            R(unit) unit = R(unit_of)(top[l]);
            s->max[first + l] = top[l];
            s->base[first + l] = unit.base, s->magic[first + l] = unit.magic, s->low[first + l] = unit.low;
            bases[l] |= R(to_bits)(unit.base);
        }
    }
    FL_SIMD_REDUCE(|, based)
    for (int l = 0; l < R(abreast); l++)
        based |= bases[l];
    for (int64_t first = 0; first < lanes; first += R(abreast)) {
        for (int64_t line = 0; line < step; line += 64)
            FL_PREFETCH_NEAR(ahead + line);
        ahead += step;
        if (leaving > 0)
            R(send)(outgoing, leaving);
        if (based)
            R(sum_abreast)(s, first, x, n, lanes, kept, 1, needs);
        else /* as almost always: then there is nothing to subtract */
            R(sum_abreast)(s, first, x, n, lanes, kept, 0, needs);
    }
    for (int l = 0; based && l < lanes; l++)
        if (s->max[l] == REAL_INF) { /* e of an infinite logit is a NaN: what counts is whether there was another */
            s->others[l] = 0;
            for (int64_t c = 0; c < n; c++)
                s->others[l] += x.at[c * x.step + l] != x.at[c * x.step + l] ? NAN : 0;
        }
}
