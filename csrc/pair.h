/* Numbers in two parts, for losses in which a rounding error would be multiplied: the logarithm of a power, rounded once, has
 * an error that is a relative error of the power, as large as the logarithm is. Included once per compute type. */

/* The second part is far below the first. */
typedef struct {
    real high, low;
} R(pair);

/* a b - high, where high is a b rounded: exact, but for float64 where there is no fused multiply-add. */
FL_INLINE real R(product_rest)(real a, real b, real high) {
#if FL_HAS_FMA
    return R(fma)(a, b, -high);
#elif REAL_BITS == 32
    return (real)((double)a * (double)b - (double)high);
#else
    (void)a, (void)b, (void)high;
    return 0;
#endif
}

/* a + b where b is the smaller, or a is 0; the second part is what the first lacks, exactly. */
FL_INLINE R(pair) R(sum_of_less)(real a, real b) {
    real high = a + b;
    return (R(pair)){high, (a - high) + b};
}

/* a + b likewise. */
FL_INLINE R(pair) R(sum)(real a, real b) {
    real high = a + b, of_b = high - a;
    return (R(pair)){high, (a - (high - of_b)) + (b - of_b)};
}

FL_INLINE R(pair) R(product)(real a, real b) {
    real high = a * b;
    return (R(pair)){high, R(product_rest)(a, b, high)};
}

FL_INLINE R(pair) R(pair_product)(R(pair) a, R(pair) b) {
    R(pair) y = R(product)(a.high, b.high);
    return (R(pair)){y.high, R(fma)(a.high, b.low, R(fma)(a.low, b.high, y.low))};
}

/* Pairs and numbers of twice the bits. */
FL_INLINE R(pair) R(split)(double x) {
    real high = (real)x;
    return (R(pair)){high, (real)(x - (double)high)};
}
FL_INLINE double R(whole)(R(pair) x) { return (double)x.high + (double)x.low; }

/* a b, rounded once, or nearly. */
FL_INLINE real R(short_product)(R(pair) a, R(pair) b) {
#if REAL_BITS == 32 && !FL_HAS_FMA
    return (real)(R(whole)(a) * R(whole)(b));
#else
    return R(fma)(a.high, b.high, R(fma)(a.high, b.low, a.low * b.high));
#endif
}
FL_INLINE real R(scaled)(R(pair) a, real b) { return R(short_product)(a, (R(pair)){b, 0}); }

/* exp(x); only x.high is looked at for what is out of range. The steps are those of R(exp). */
FL_INLINE real R(exp_pair)(R(pair) x) {
    real shifted = R(fma)(x.high, LOG2_E, EXP_MAGIC);
    real n = shifted - EXP_MAGIC;
    real r = R(fma)(n, -LN2_LOW, R(fma)(n, -LN2_HIGH, x.high)) + x.low;
    bits_t halved = x.high > 0 ? (bits_t)1 << EXP_SHIFT : 0;
    real scale = R(from_bits)((R(to_bits)(shifted) << EXP_SHIFT) - halved);
    real y = R(fma)(R(exp_poly)(r), scale, scale) * (x.high > 0 ? REAL_C(2.0) : REAL_C(1.0));
    y = x.high < EXP_LOWEST ? 0 : y;
    return x.high > EXP_HIGHEST ? REAL_INF : y;
}

/* The same of x <= 0. */
FL_INLINE real R(exp_nonpositive_pair)(R(pair) x) {
    real shifted = R(fma)(x.high, LOG2_E, EXP_MAGIC);
    real n = shifted - EXP_MAGIC;
    real r = R(fma)(n, -LN2_LOW, R(fma)(n, -LN2_HIGH, x.high)) + x.low;
    real scale = R(from_bits)(R(to_bits)(shifted) << EXP_SHIFT);
    bits_t lost = (bits_t)0 - (bits_t)(x.high < EXP_LOWEST);
    return R(from_bits)(R(to_bits)(R(fma)(R(exp_poly)(r), scale, scale)) & ~lost);
}

/* exp of x <= 0 in two parts. */
FL_INLINE R(pair) R(exp_nonpositive_in_two)(real x) {
    real bounded = R(max)(-EXP_BIAS * LN2, x); /* a NaN stays one */
    real shifted = R(fma)(bounded, LOG2_E, EXP_MAGIC);
    real n = shifted - EXP_MAGIC;
    real q = R(exp_poly)(R(fma)(n, -LN2_LOW, R(fma)(n, -LN2_HIGH, bounded)));
    real scale = R(from_bits)(R(to_bits)(shifted) << EXP_SHIFT); /* 0 at the bound */
    real high = R(fma)(q, scale, scale);
    return (R(pair)){high, R(fma)(q, scale, scale - high)};
}

/* n ln 2 + f + rest, where n times the high part of ln 2 is exact, and every number is less than that before it. */
FL_INLINE R(pair) R(log_in_two)(R(parts) parts, real rest) {
    real whole = parts.n * LN2_HIGH, sum = whole + parts.f;
    return R(sum_of_less)(sum, (whole - sum) + parts.f + R(fma)(parts.n, LN2_LOW, rest));
}

/* log x in two parts, for finite x > 0. */
FL_INLINE R(pair) R(log_finite_pair)(real x) {
    R(parts) parts = R(parts_of)(x);
    return R(log_in_two)(parts, R(log1p_rest)(parts.f));
}

/* log x in two parts, -inf at 0, NaN below. */
FL_INLINE R(pair) R(log_pair)(real x) {
    R(pair) y = R(log_finite_pair)(x);
    y.high = x < REAL_INF ? y.high : x;
    y.high = x > 0 ? y.high : (x == 0 ? -REAL_INF : REAL_NAN);
    return y;
}
