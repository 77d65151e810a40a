/* The elementary functions of one compute type. Included once per type, after real_type.h.
 *
 * The functions are branch-free scalar C that vectorises inside a loop over lanes. Every step is a correctly rounded
 * operation or an explicit multiply-add, so a result has the same bits on every instruction set with FMA.
 * The polynomials are minimax fits (Remez) of this project; the relative error of each stands beside it. */

/* The bits as a signed integer. */
#if REAL_BITS == 32
typedef int32_t R(order);
#else
typedef int64_t R(order);
#endif

FL_INLINE bits_t R(to_bits)(real x) {
    bits_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

FL_INLINE real R(from_bits)(bits_t bits) {
    real x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

FL_INLINE real R(fma)(real a, real b, real c) {
#if FL_HAS_FMA && REAL_BITS == 32
    return fmaf(a, b, c);
#elif FL_HAS_FMA
    return fma(a, b, c);
#else
    return a * b + c;
#endif
}

/* As the vector instructions: where either is NaN, b. */
FL_INLINE real R(max)(real a, real b) { return a > b ? a : b; }
FL_INLINE real R(min)(real a, real b) { return a < b ? a : b; }
/* Products in which a factor 0 wins over an infinity: a weight of 0, a probability of 0. */
FL_INLINE real R(times)(real weight, real x) { return weight == 0 ? 0 : weight * x; }
/* The same where x may be a NaN that nothing else knows of: that wins over both. */
FL_INLINE real R(weigh)(real weight, real x) { return weight == 0 ? (x == x ? 0 : x) : weight * x; }
/* -1, 0 or 1; a NaN stays one. */
FL_INLINE real R(sign)(real x) { return x > 0 ? 1 : (x < 0 ? -1 : x); }
FL_INLINE real R(sqrt)(real x) {
#if REAL_BITS == 32
    return sqrtf(x);
#else
    return sqrt(x);
#endif
}
/* y, but NaN where x is. */
FL_INLINE real R(with_nan)(real x, real y) { return x == x ? y : x; }

FL_INLINE real R(abs)(real x) { return R(from_bits)(R(to_bits)(x) & ~((bits_t)1 << (REAL_BITS - 1))); }

/* All bits where the highest is set, else none. */
FL_INLINE bits_t R(mask_of_sign)(bits_t bits) { return (bits_t)0 - (bits >> (REAL_BITS - 1)); }

FL_INLINE real R(copysign)(real size, real x) {
    const bits_t sign = (bits_t)1 << (REAL_BITS - 1);
    return R(from_bits)((R(to_bits)(size) & ~sign) | (R(to_bits)(x) & sign));
}

/* exp(x) = 2^n e^r with n = round(x / ln 2): the rounding is the addition of 1.5 * 2^(mantissa bits) + bias, which also
 * leaves n + bias in the low bits, ready to be shifted to the exponent. r = x - n ln 2 in two steps (Cody and Waite).
 * e^r - 1 = r + r^2 q(r). */
#if REAL_BITS == 32
FL_INLINE real R(exp_poly)(real r) { /* 3.1e-9 */
    real q = R(fma)(1.3814598563e-3f, r, 8.3687168787e-3f);
    q = R(fma)(q, r, 4.1668388047e-2f);
    q = R(fma)(q, r, 1.6666520632e-1f);
    q = R(fma)(q, r, 4.9999993448e-1f);
    return R(fma)(q * r, r, r);
}
#else
FL_INLINE real R(exp_poly)(real r) { /* 3.6e-18 */
    real q = R(fma)(2.5000058867890841383e-8, r, 2.7630248412715644871e-7);
    q = R(fma)(q, r, 2.7557586382114618742e-6);
    q = R(fma)(q, r, 2.4801493098813891493e-5);
    q = R(fma)(q, r, 1.9841269506569917098e-4);
    q = R(fma)(q, r, 1.388888894363019713e-3);
    q = R(fma)(q, r, 8.3333333334944654441e-3);
    q = R(fma)(q, r, 4.1666666666530158314e-2);
    q = R(fma)(q, r, 1.6666666666666412517e-1);
    q = R(fma)(q, r, 5.0000000000000106272e-1);
    return R(fma)(q * r, r, r);
}
#endif

/* exp of x <= 0; below the smallest normal number it is 0: by masks, for a select would be made once for each use. */
FL_INLINE real R(exp_nonpositive)(real x) {
    real shifted = R(fma)(x, LOG2_E, EXP_MAGIC);
    real n = shifted - EXP_MAGIC;
    real r = R(fma)(n, -LN2_LOW, R(fma)(n, -LN2_HIGH, x));
    real scale = R(from_bits)(R(to_bits)(shifted) << EXP_SHIFT);
    bits_t lost = (bits_t)0 - (bits_t)(x < EXP_LOWEST);
    return R(from_bits)(R(to_bits)(R(fma)(R(exp_poly)(r), scale, scale)) & ~lost);
}

/* exp of any x. Above 0 the power of two is halved and made good at the end: it may itself be out of range. */
FL_INLINE real R(exp)(real x) {
    real shifted = R(fma)(x, LOG2_E, EXP_MAGIC);
    real n = shifted - EXP_MAGIC;
    real r = R(fma)(n, -LN2_LOW, R(fma)(n, -LN2_HIGH, x));
    bits_t halved = x > 0 ? (bits_t)1 << EXP_SHIFT : 0;
    real scale = R(from_bits)((R(to_bits)(shifted) << EXP_SHIFT) - halved);
    real y = R(fma)(R(exp_poly)(r), scale, scale) * (x > 0 ? REAL_C(2.0) : REAL_C(1.0));
    y = x < EXP_LOWEST ? 0 : y;
    return x > EXP_HIGHEST ? REAL_INF : y;
}

/* expm1 of x <= 0; the steps are those of exp_nonpositive. */
FL_INLINE real R(expm1_nonpositive)(real x) {
    real shifted = R(fma)(x, LOG2_E, EXP_MAGIC);
    real n = shifted - EXP_MAGIC;
    real r = R(fma)(n, -LN2_LOW, R(fma)(n, -LN2_HIGH, x));
    real scale = R(from_bits)(R(to_bits)(shifted) << EXP_SHIFT);
    real y = R(fma)(R(exp_poly)(r), scale, scale - 1);
    return x < EXP_LOWEST ? -1 : y;
}

/* e^(c x): the rounding of c x would be the relative error of that, so c is in the constants of the reduction, which
 * takes n ln 2 / c off x, and multiplies only what is left. */
typedef struct {
    real log2_e, ln2_high, ln2_low, c; /* c log2 e; ln 2 / c in two parts, of which n times the first is exact; c */
} R(rate);

FL_INLINE R(rate) R(plain_rate)(void) { return (R(rate)){LOG2_E, LN2_HIGH, LN2_LOW, 1}; }

/* c = 1 / temperature. The temperature's upper half times the upper part of ln 2 is exact. */
FL_INLINE R(rate) R(rate_of)(double temperature) {
    uint64_t bits;
    double upper, high;
    R(rate) rate = R(plain_rate)();
    if (temperature == 1)
        return rate;
    memcpy(&bits, &temperature, 8);
    bits &= ~(uint64_t)0 << 33;
    memcpy(&upper, &bits, 8);
    high = upper * 6.93147180369123816490e-01;
    rate.c = (real)(1 / temperature);
    rate.log2_e = (real)(1.44269504088896341 / temperature);
    rate.ln2_high = R(from_bits)(R(to_bits)((real)high) & ~(((bits_t)1 << (EXP_SHIFT / 2)) - 1));
    rate.ln2_low = (real)((high - (double)rate.ln2_high) + ((temperature - upper) * 6.93147180369123816490e-01 +
                                                            temperature * 1.90821492927058770002e-10));
    return rate;
}

/* The unit in which a row's exponentials are held: e^base 2^k, so that the largest of them, `top`, lies around
 * 2^(mantissa bits + 1), and those are normal numbers whose quotient by it is subnormal.
 * e^x is formed in it without x - m: n is rounded from x itself and k is taken off the exponent, so that the error of
 * that subtraction, |x - m| times that of a rounding, does not become the relative error of e^x. Only where m is so
 * large that its neighbours' differences from it are exact is it subtracted, as base. (The exponent kept apart as an
 * integer: Dukhan and Ablavatski, Two-Pass Softmax Algorithm, 2020.) */
typedef struct {
    real base, k, magic, low, top; /* from `low` down, e^(x - base) is 0; all but `top` follow from base and k */
    R(rate) rate;
} R(unit);

/* e^d in it, where d = x - base. */
FL_INLINE real R(exp_shifted)(R(unit) unit, real d) {
    const R(rate) rate = unit.rate;
    real bounded = R(max)(unit.low, d); /* a NaN stays one */
    real shifted = R(fma)(bounded, rate.log2_e, unit.magic);
    real n = shifted - unit.magic;
    real r = R(fma)(n, -rate.ln2_low, R(fma)(n, -rate.ln2_high, bounded)) * rate.c;
    real scale = R(from_bits)(R(to_bits)(shifted) << EXP_SHIFT); /* 0 at `low` */
    return R(fma)(R(exp_poly)(r), scale, scale);
}
FL_INLINE real R(exp_in)(R(unit) unit, real x) { return R(exp_shifted)(unit, x - unit.base); }

/* The unit of a row whose largest logit is `max`; where that is +inf, e of all others is 0 in it. By masks: selects would
 * be threaded into branches and leave no loop to vectorise. */
FL_INLINE R(unit) R(unit_at)(real max, R(rate) rate) {
    R(unit) unit;
    bits_t m = R(to_bits)(max) & ((bits_t)0 - (bits_t)(max > -REAL_INF));
    bits_t far = (bits_t)0 - (bits_t)(R(abs)(max) * rate.c > UNIT_EXACT);
    real rest = R(from_bits)(m & ~far);
    unit.rate = rate;
    unit.base = R(from_bits)(m & far);
    unit.k = R(fma)(rest, rate.log2_e, EXP_MAGIC) - EXP_MAGIC - (EXP_SHIFT + 2);
    unit.magic = EXP_MAGIC - unit.k;
    unit.low = (unit.k - EXP_BIAS) * LN2 / rate.c;
    unit.top = R(exp_shifted)(unit, rest);
    return unit;
}
FL_INLINE R(unit) R(unit_of)(real max) { return R(unit_at)(max, R(plain_rate)()); }

/* expm1 of x >= 0, up to where tanh no longer changes. */
FL_INLINE real R(expm1_nonnegative)(real x) {
    real shifted, n, r, scale;
    x = R(min)(REAL_C(44.0), x);
    shifted = R(fma)(x, LOG2_E, EXP_MAGIC);
    n = shifted - EXP_MAGIC;
    r = R(fma)(n, -LN2_LOW, R(fma)(n, -LN2_HIGH, x));
    scale = R(from_bits)(R(to_bits)(shifted) << EXP_SHIFT);
    return R(fma)(R(exp_poly)(r), scale, scale - 1);
}

/* tanh |x| = (e^2|x| - 1) / (e^2|x| + 1), which loses nothing near 0 when e^2|x| - 1 is formed as such. */
FL_INLINE real R(tanh)(real x) {
    real em1 = R(expm1_nonnegative)(2 * R(abs)(x));
    real y = em1 / (em1 + 2);
    return x < 0 ? -y : (x == x ? y : x);
}

/* sech^2 x = 4 e / (1 + e)^2 with e = e^-2|x| */
FL_INLINE real R(sech2)(real x) {
    real e = R(exp_nonpositive)(-2 * R(abs)(x)), half = 1 + e;
    return 4 * e / (half * half);
}

/* log(1 + f) for 1 + f in [LOG_ROOT, 2 LOG_ROOT]. */
#if REAL_BITS == 32
FL_INLINE real R(log1p_curve)(real f) { /* (log(1 + f) - f) / f^2 */
    /* Even and odd powers by themselves: two chains of half the length. */
    real z = f * f;
    real q = R(fma)(-4.491628069e-2f, z, -1.316310713e-1f), odd = R(fma)(1.044977741e-1f, z, 1.448213876e-1f);
    q = R(fma)(q, z, -1.664769565e-1f), odd = R(fma)(odd, z, 1.999059345e-1f);
    q = R(fma)(q, z, -2.500005603e-1f), odd = R(fma)(odd, z, 3.333345471e-1f);
    return R(fma)(odd, f, R(fma)(q, z, -0.5f));
}

FL_INLINE real R(log1p_poly)(real f) { return R(fma)(R(log1p_curve)(f) * f, f, f); } /* 4.8e-9 */
FL_INLINE real R(log1p_rest)(real f) { return R(log1p_curve)(f) * f * f; }           /* log(1 + f) - f */
/* log(1 + f + more) - f, where `more` is far below f. */
FL_INLINE real R(log1p_rest_with)(real f, real more) { return R(fma)(f, R(fma)(R(log1p_curve)(f), f, -more), more); }
#else
FL_INLINE real R(log1p_rest)(real f) { /* log(1 + f) - f by 2 atanh(s), s = f / (2 + f): 1.3e-18 */
    real s = f / (2 + f), z = s * s, half = 0.5 * f * f;
    real q = R(fma)(1.4799067744303653857e-1, z, 1.5313755595269888465e-1);
    q = R(fma)(q, z, 1.8183575171976356326e-1);
    q = R(fma)(q, z, 2.2222198378349953747e-1);
    q = R(fma)(q, z, 2.8571428744142674221e-1);
    q = R(fma)(q, z, 3.9999999999407481762e-1);
    q = R(fma)(q, z, 6.6666666666667353828e-1);
    return s * R(fma)(q, z, half) - half;
}

FL_INLINE real R(log1p_poly)(real f) { return f + R(log1p_rest)(f); }
FL_INLINE real R(log1p_rest_with)(real f, real more) { return R(fma)(more, 1 - f, R(log1p_rest)(f)); }
#endif

/* log(1 + x) for x in [0, 1]. */
#if REAL_BITS == 32
FL_INLINE real R(log1p_unit_curve)(real x) { /* (log(1 + x) - x) / x^2 */
    real q = R(fma)(-3.24393844501e-3f, x, 1.98510931887e-2f);
    q = R(fma)(q, x, -5.69588816481e-2f);
    q = R(fma)(q, x, 1.06035928987e-1f);
    q = R(fma)(q, x, -1.53055584006e-1f);
    q = R(fma)(q, x, 1.96759282442e-1f);
    q = R(fma)(q, x, -2.49541316728e-1f);
    q = R(fma)(q, x, 3.33299622389e-1f);
    return R(fma)(q, x, -4.99999024167e-1f);
}

FL_INLINE real R(log1p_unit)(real x) { return R(fma)(R(log1p_unit_curve)(x) * x, x, x); } /* 4.7e-9 */
FL_INLINE real R(log1p_unit_rest)(real x) { return R(log1p_unit_curve)(x) * x * x; }      /* log(1 + x) - x */

FL_INLINE real R(log1p_unit_brief)(real x) { /* where 3.3e-8 is good enough */
    real z = x * x;
    real odd = R(fma)(5.364699611e-3f, z, 7.920384131e-2f), q = R(fma)(-3.00653297e-2f, z, -1.375374871e-1f);
    odd = R(fma)(odd, z, 1.915363231e-1f), q = R(fma)(q, z, -2.485715859e-1f);
    odd = R(fma)(odd, z, 3.332132208e-1f), q = R(fma)(q, z, -4.999964794e-1f);
    return R(fma)(R(fma)(odd, x, q), z, x);
}
#else
FL_INLINE real R(log1p_unit)(real x) { /* halving 1 + x above sqrt(2) is exact: no correction to make */
    bits_t high = (bits_t)0 - (bits_t)(x > 0.41421356237309505);
    real f = R(from_bits)((R(to_bits)(0.5 * (x - 1)) & high) | (R(to_bits)(x) & ~high));
    return R(log1p_poly)(f) + R(from_bits)(R(to_bits)(0.69314718055994530942) & high);
}

FL_INLINE real R(log1p_unit_rest)(real x) { return R(log1p_unit)(x) - x; }
FL_INLINE real R(log1p_unit_brief)(real x) { return R(log1p_unit)(x); }
#endif

/* The exponent of a number >= 0, which stands in the exponent's place or is negative there. */
FL_INLINE real R(exponent)(bits_t exponent) {
#if REAL_BITS == 32
    return (real)((int32_t)exponent >> EXP_SHIFT);
#else /* n + 2048 as the low bits of a number: there is no 64-bit integer conversion before AVX-512 */
    return R(from_bits)(((exponent + ((bits_t)2048 << EXP_SHIFT)) >> EXP_SHIFT) | R(to_bits)(4503599627370496.0)) -
           (4503599627370496.0 + 2048.0);
#endif
}

/* 1 + x = 2^n (1 + f) with 1 + f in [LOG_ROOT, 2 LOG_ROOT], for x > -1, and 2^-n. f = x 2^-n + (2^-n - 1) is rounded once.
 * `huge`: x may be so large that 2^-n is subnormal: for the two largest n, whose bits the line gives. */
typedef struct {
    real n, f, inverse;
} R(parts);

FL_INLINE R(parts) R(parts_of_one_plus)(real x, int huge) {
    const bits_t root = R(to_bits)(LOG_ROOT);
    const bits_t one = R(to_bits)(1);
    bits_t exponent = ((R(to_bits)(1 + x) - root) >> EXP_SHIFT) << EXP_SHIFT; /* n, in the exponent's place */
    R(order) power = (R(order))(one - exponent), subnormal = ((R(order))1 << (EXP_SHIFT - 1)) + (power >> 2);
    real inverse = R(from_bits)((bits_t)(huge && power < subnormal ? subnormal : power));
    return (R(parts)){R(exponent)(exponent), R(fma)(x, inverse, inverse - 1), inverse};
}

FL_INLINE real R(log_of)(R(parts) parts, real log1p_f) {
    return R(fma)(parts.n, LN2_HIGH, R(fma)(parts.n, LN2_LOW, log1p_f));
}

/* log(1 + x) for x > -1, up to the fourth part of the largest number. */
FL_INLINE real R(log1p_finite)(real x) {
    R(parts) parts = R(parts_of_one_plus)(x, 0);
    return R(log_of)(parts, R(log1p_poly)(parts.f));
}

/* log(1 + x) likewise, inf at inf, -inf at -1, NaN below. */
FL_INLINE real R(log1p)(real x) {
    real y = x < REAL_INF ? R(log1p_finite)(x) : x;
    return x > -1 ? y : (x == -1 ? -REAL_INF : REAL_NAN);
}

/* x = 2^n (1 + f) likewise, for x > 0, from the normal number x 2^k. */
FL_INLINE R(parts) R(parts_of_scaled)(real scaled, bits_t k) {
    const bits_t root = R(to_bits)(LOG_ROOT);
    bits_t offset = R(to_bits)(scaled) - (root + (k << EXP_SHIFT));
    bits_t mantissa = (offset & (((bits_t)1 << EXP_SHIFT) - 1)) + root;
    return (R(parts)){R(exponent)(offset), R(from_bits)(mantissa) - 1, 0};
}

/* The same of any x. */
FL_INLINE R(parts) R(parts_of)(real x) {
#if REAL_BITS == 32
    int tiny = x < 1.17549435e-38f;
    real scaled = tiny ? x * 8388608.0f : x, extra = tiny ? -23.0f : 0.0f;
#else
    int tiny = x < 2.2250738585072014e-308;
    real scaled = tiny ? x * 4503599627370496.0 : x, extra = tiny ? -52.0 : 0.0;
#endif
    R(parts) parts = R(parts_of_scaled)(scaled, 0);
    parts.n += extra;
    return parts;
}

/* log x for finite x > 0; at 0 it is less than the smallest number's. */
FL_INLINE real R(log_finite)(real x) {
    R(parts) parts = R(parts_of)(x);
    return R(log_of)(parts, R(log1p_poly)(parts.f));
}

/* The same where x is normal; of a subnormal x, a normal number's. */
FL_INLINE real R(log_normal)(real x) {
    R(parts) parts = R(parts_of_scaled)(x, 0);
    return R(log_of)(parts, R(log1p_poly)(parts.f));
}

/* -log(x + more) for x in [0, 1], subnormal numbers among them; at 0 it is more than the smallest number's. `more` is what
 * x lost when it was rounded, and 0 where x < 1/2; where x < LOG_ROOT twice of it would be due, which does not show. */
FL_INLINE real R(minus_log_unit)(real x, real more) {
    R(parts) parts = R(parts_of_scaled)(x * LOG_SCALE, LOG_SHIFT);
    real f = parts.f + more;
#if REAL_BITS == 32
    real y = R(fma)(R(log1p_curve)(f) * f, -f, -f);
#else
    real y = -R(log1p_poly)(f);
#endif
    return R(fma)(parts.n, -LN2_HIGH, R(fma)(parts.n, -LN2_LOW, y));
}

/* log x, -inf at 0, NaN below. */
FL_INLINE real R(log)(real x) {
    real y = x < REAL_INF ? R(log_finite)(x) : x;
    return x > 0 ? y : (x == 0 ? -REAL_INF : REAL_NAN);
}

/* log cosh x: near 0 a polynomial of x^2, beyond |x| - log 2 + log(1 + e^-2|x|). */
FL_INLINE real R(log_cosh)(real x) {
    real size = R(abs)(x), z = x * x;
    real e = R(exp_nonpositive)(-2 * size), tail;
#if REAL_BITS == 32 /* 4.4e-9; with the tail, up to e^-1.5, 8.3e-9 */
    real q = R(fma)(-4.29667179e-4f, z, 2.01405569e-3f);
    q = R(fma)(q, z, -6.69862587e-3f);
    q = R(fma)(q, z, 2.22161986e-2f);
    q = R(fma)(q, z, -8.33330499e-2f);
    tail = R(fma)(1.14261614105e-1f, e, -2.28932466398e-1f);
    tail = R(fma)(tail, e, 3.30703450937e-1f);
    tail = R(fma)(tail, e, -4.99838504651e-1f);
    tail = R(fma)(tail, e, 9.99995850071e-1f);
    tail = (size - 0.5f) + R(fma)(tail, e, -1.93147153790e-1f); /* the difference is exact */
#else                                                           /* 2.1e-18 */
    real q = R(fma)(1.7173465252959118602e-7, z, -1.0892061938022580707e-6);
    q = R(fma)(q, z, 3.9554065233335244461e-6);
    q = R(fma)(q, z, -1.1704620542633112535e-5);
    q = R(fma)(q, z, 3.2681473803226676088e-5);
    q = R(fma)(q, z, -9.096315445018906988e-5);
    q = R(fma)(q, z, 2.5657561648831106483e-4);
    q = R(fma)(q, z, -7.3860233545481195559e-4);
    q = R(fma)(q, z, 2.1869488027701144119e-3);
    q = R(fma)(q, z, -6.7460317435643423095e-3);
    q = R(fma)(q, z, 2.2222222222159878873e-2);
    q = R(fma)(q, z, -8.3333333333332713451e-2);
    tail = (size - LN2) + R(log1p_unit)(e);
#endif
    q = R(fma)(q, z, REAL_C(0.5));
    return size < REAL_C(0.75) ? z * q : tail;
}
