/* Losses of the difference of a prediction x and a number t. */

/* |x - t|; param: what stands in the Hessian's place */
FL_INLINE R(terms) R(l1_loss)(R(operands) o, const real *param) {
    real d = o.a - o.b;
    return (R(terms)){R(abs)(d), R(sign)(d), 0, 0, param[0], 0};
}

/* (x - t)^2 */
FL_INLINE R(terms) R(mse_loss)(R(operands) o, const real *param) {
    real d = o.a - o.b;
    (void)param;
    return (R(terms)){d * d, 2 * d, 0, 0, 2, 0};
}

/* |x - t| / |t|; 0 / 0 is no error */
FL_INLINE R(terms) R(mape_loss)(R(operands) o, const real *param) {
    real d = o.a - o.b, size = R(abs)(o.b);
    (void)param;
    return (R(terms)){d == 0 ? 0 : R(abs)(d) / size, d == 0 ? 0 : R(sign)(d) / size, 0, 0, 0, 0};
}

/* l^2 with l = log(1 + x) - log(1 + t) = +-log(1 + |x - t| / (1 + min(x, t))), which does not cancel; since the square
 * doubles its error, the quotient is needed to more digits than a number has. l' = 1 / (1 + x)
 * Where 1 + min(x, t) < 0 there is no logarithm: its sign makes the quotient's bits more than infinity's, then a NaN's. */
FL_INLINE R(terms) R(msle_loss)(R(operands) o, const real *param) {
    real low = o.a < o.b ? o.a : o.b, high = o.a < o.b ? o.b : o.a, d = high - low, base = 1 + low;
    real per_base = 1 / base, ratio = d * per_base, per_x = 1 / (1 + o.a);
    real rest = ((high - d) - low) - R(fma)(ratio, low - (base - 1), R(product_rest)(ratio, base, d));
    R(parts) parts = R(parts_of_one_plus)(ratio, 1);
    real more = R(log1p_rest_with)(parts.f, rest * (per_base * parts.inverse));
    real size = R(fma)(parts.n, LN2_HIGH, parts.f + R(fma)(parts.n, LN2_LOW, more));
    bits_t bits = R(to_bits)(R(copysign)(ratio, base)), minus = R(mask_of_sign)(bits);
    real square = bits < R(to_bits)(REAL_INF) ? size * size : R(from_bits)(bits | minus), l = o.a < o.b ? -size : size;
    (void)param;
    l = square < REAL_INF ? l : (o.a < o.b ? -square : square);
    return (R(terms)){square, 2 * l / (1 + o.a), 0, 0, 2 * (1 - l) * per_x * per_x, 0};
}

/* d^2 / (2 beta) for |d| < beta, else |d| - beta / 2; param: beta, 1 / beta */
FL_INLINE R(terms) R(smooth_l1_loss)(R(operands) o, const real *param) {
    real d = o.a - o.b, size = R(abs)(d), scaled = d * param[1], half = REAL_C(0.5);
    int near = size < param[0];
    return (R(terms)){near ? half * d * scaled : R(fma)(-half, param[0], size),
                      R(max)(-1, R(min)(1, scaled)),
                      0,
                      0,
                      near ? param[1] : 0,
                      0};
}

/* d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2); param: delta */
FL_INLINE R(terms) R(huber_loss)(R(operands) o, const real *param) {
    real d = o.a - o.b, size = R(abs)(d), delta = param[0], half = REAL_C(0.5);
    int near = size <= delta;
    return (R(terms)){near ? half * d * d : delta * R(fma)(-half, delta, size),
                      R(max)(-delta, R(min)(delta, d)),
                      0,
                      0,
                      near ? 1 : 0,
                      0};
}

/* log cosh(x - t); its derivative is tanh, formed from e^-2|d| - 1 on either side of 0, and the second one
 * 4 e^-2|d| / (1 + e^-2|d|)^2, for which d is needed to more digits than a number has. */
FL_INLINE R(terms) R(log_cosh_loss)(R(operands) o, const real *param) {
    R(pair) d = R(sum)(o.a, -o.b);
    real exponent = -2 * R(abs)(d.high), em1 = R(expm1_nonpositive)(exponent), inverse = 1 / (2 + em1);
    real e = R(exp_nonpositive_pair)((R(pair)){exponent, d.high < 0 ? 2 * d.low : -2 * d.low});
    (void)param;
    return (R(terms)){R(log_cosh)(d.high), (d.high < 0 ? em1 : -em1) * inverse, 0, 0, 4 * e * (inverse * inverse), 0};
}

/* q (t - x) for x <= t, else (1 - q) (x - t); param: q, 1 - q, what stands in the Hessian's place */
FL_INLINE R(terms) R(quantile_loss)(R(operands) o, const real *param) {
    real d = o.a - o.b, slope = d > 0 ? param[1] : -param[0];
    return (R(terms)){R(weigh)(slope, d), d == 0 ? 0 : R(with_nan)(d, slope), 0, 0, param[2], 0};
}
