/* Losses of a margin x with a sign t, -1 or +1. */

/* log(1 + e^-z) with z = t x: log(1 + e^-|z|) - min(0, z) */
FL_INLINE R(terms) R(soft_margin_loss)(R(operands) o, const real *param) {
    real t = o.b;
    R(pair) z = R(product)(t, o.a), minus = {-R(abs)(z.high), 0}; /* -|z| */
    real e, near;
    minus.low = R(from_bits)(R(to_bits)(z.low) ^ R(to_bits)(z.high) ^ R(to_bits)(minus.high));
    e = R(exp_nonpositive_pair)(minus), near = 1 / (1 + e);
    (void)param;
    return (R(terms)){R(log1p_unit_brief)(e) - R(min)(0, z.high),
                      -t * (z.high < 0 ? near : near * e),
                      0,
                      0,
                      (t * near) * (t * (near * e)),
                      0};
}

/* e^(-t x) */
FL_INLINE R(terms) R(exponential_loss)(R(operands) o, const real *param) {
    real t = o.b, e = R(exp_pair)(R(product)(-t, o.a));
    (void)param;
    return (R(terms)){e, -t * e, 0, 0, t * (t * e), 0};
}

/* max(0, 1 - t x) */
FL_INLINE R(terms) R(hinge_loss)(R(operands) o, const real *param) {
    real t = o.b, margin = R(fma)(-t, o.a, 1);
    (void)param;
    return (R(terms)){margin < 0 ? 0 : margin, R(with_nan)(margin, margin > 0 ? -t : 0), 0, 0, 0, 0};
}

/* max(0, 1 - t x)^2 */
FL_INLINE R(terms) R(squared_hinge_loss)(R(operands) o, const real *param) {
    real t = o.b, margin = R(fma)(-t, o.a, 1), short_by = margin < 0 ? 0 : margin;
    (void)param;
    return (R(terms)){short_by * short_by, -2 * t * short_by, 0, 0, short_by > 0 ? 2 * t * t : 0, 0};
}

/* x where t is not -1, plus max(0, margin - x) where t is not 1: where it is neither, max(x, margin).
 * param: margin, in two parts */
FL_INLINE R(terms) R(hinge_embedding_loss)(R(operands) o, const real *param) {
    real x = o.a, t = o.b, short_by = (param[0] - x) + param[1], slope;
    real value = t == -1 ? (short_by < 0 ? 0 : short_by) : (t == 1 || short_by < 0 ? x : param[0]);
    slope = (real)(t != -1) - (real)(t != 1 && short_by >= 0);
    return (R(terms)){R(with_nan)(t, R(with_nan)(x, value)), R(with_nan)(t, R(with_nan)(x, slope)), 0, 0, 0, 0};
}

/* max(0, margin - t (x1 - x2)), by x1 and x2; param: margin */
FL_INLINE R(terms) R(margin_ranking_loss)(R(operands) o, const real *param) {
    real t = o.c, margin = R(fma)(-t, o.a - o.b, param[0]);
    real down = R(with_nan)(margin, margin >= 0 ? -t : 0), up = R(with_nan)(margin, margin >= 0 ? t : 0);
    return (R(terms)){margin < 0 ? 0 : margin, down, up, 0, 0, 0};
}
