/* Negative log-likelihoods of a number t under distributions with the expectation x or e^x, up to what depends on t alone;
 * the divergence of distributions. */

/* log t! by Stirling's formula; 0 up to t = 1, as in torch */
FL_INLINE real R(stirling)(real t) {
    real y = R(fma)(t + REAL_C(0.5), R(log_finite)(t), REAL_C(0.91893853320467274) - t);
    return t <= 1 ? 0 : y;
}

/* e^x - t x. An infinite x is made finite beside its exponential. */
FL_INLINE R(terms) R(poisson_nll_loss)(R(operands) o, const real *param) {
    real t = o.b, mean = R(exp)(o.a);
    (void)param;
    return (R(terms)){mean - R(times)(t, R(min)(REAL_C(1e30), o.a)), mean - t, 0, 0, mean, 0};
}

FL_INLINE R(terms) R(poisson_nll_loss_full)(R(operands) o, const real *param) {
    R(terms) terms = R(poisson_nll_loss)(o, param);
    terms.value += R(stirling)(o.b);
    return terms;
}

/* x - t log(x + eps); param: eps */
FL_INLINE R(terms) R(poisson_nll_loss_of_mean)(R(operands) o, const real *param) {
    real x = o.a, t = o.b, shifted = x + param[0], ratio = R(times)(t, 1 / shifted);
    return (R(terms)){x - R(times)(t, R(log)(shifted)), 1 - ratio, 0, 0, R(times)(ratio, 1 / shifted), 0};
}

FL_INLINE R(terms) R(poisson_nll_loss_of_mean_full)(R(operands) o, const real *param) {
    R(terms) terms = R(poisson_nll_loss_of_mean)(o, param);
    terms.value += R(stirling)(o.b);
    return terms;
}

/* x + t e^-x. An infinite exponential decides. */
FL_INLINE R(terms) R(gamma_nll_loss)(R(operands) o, const real *param) {
    real x = o.a, ratio = R(times)(o.b, R(exp)(-x));
    (void)param;
    return (R(terms)){ratio == REAL_INF ? ratio : x + ratio, 1 - ratio, 0, 0, ratio, 0};
}

/* log x + t / x, where l' = (x - t) / x^2 and l'' = (2 t - x) / x^3 */
FL_INLINE R(terms) R(gamma_nll_loss_of_mean)(R(operands) o, const real *param) {
    real x = o.a, t = o.b, inverse = 1 / x;
    (void)param;
    return (R(terms)){
        R(log)(x) + t * inverse, (x - t) * inverse * inverse, 0, 0, (2 * t - x) * inverse * inverse * inverse, 0};
}

/* m^(2-p) / (2 - p) - t m^(1-p) / (1 - p) with m = e^x. The powers' logarithms (2 - p) x and (1 - p) x are needed to more
 * digits than a number has. param: 2 - p and 1 - p, each in two parts; their inverses */
FL_INLINE R(terms) R(tweedie_nll_loss)(R(operands) o, const real *param) {
    R(pair) log_mean = {o.a, 0}, two = {param[0], param[1]}, one = {param[2], param[3]};
    real power = R(exp_pair)(R(pair_product)(two, log_mean));
    real other = R(times)(o.b, R(exp_pair)(R(pair_product)(one, log_mean)));
    return (R(terms)){R(fma)(power, param[4], -other * param[5]),
                      power - other,
                      0,
                      0,
                      R(fma)(power, param[0] + param[1], -other * (param[2] + param[3])),
                      0};
}

/* The same with m = x, from x^(2-p) and x^(1-p); l' = x^(1-p) (x - t) / x, l'' = x^(1-p) / x (1 - p + p t / x).
 * param: the inverses of 2 - p and 1 - p, then p */
FL_INLINE R(terms) R(tweedie_terms)(R(operands) o, real power, real other, const real *param) {
    real x = o.a, t = o.b, inverse = 1 / x;
    return (R(terms)){R(fma)(power, param[0], -R(times)(t, other) * param[1]),
                      (x - t) * inverse * other,
                      0,
                      0,
                      R(fma)(param[2] * inverse, t, 1 - param[2]) * inverse * other,
                      0};
}

/* Of the powers the one with the smaller exponent is computed, since it is a number wherever the other is. For p <= 3/2 that
 * is 1 - p. param: the exponent in two parts, then as above */
FL_INLINE R(terms) R(tweedie_nll_loss_of_mean)(R(operands) o, const real *param) {
    real other = R(exp_pair)(R(pair_product)((R(pair)){param[0], param[1]}, R(log_pair)(o.a)));
    return R(tweedie_terms)(o, R(times)(o.a, other), other, param + 2);
}

/* For p > 3/2 it is 2 - p. */
FL_INLINE R(terms) R(tweedie_nll_loss_of_mean_steep)(R(operands) o, const real *param) {
    real power = R(exp_pair)(R(pair_product)((R(pair)){param[0], param[1]}, R(log_pair)(o.a)));
    return R(tweedie_terms)(o, power, power / o.a, param + 2);
}

/* (log v + (x - t)^2 / v) / 2 with v = max(var, eps), by x and by var; param: eps, a constant to add */
FL_INLINE R(terms) R(gaussian_nll_loss)(R(operands) o, const real *param) {
    real d = o.a - o.c, v = R(max)(param[0], o.b), inverse = 1 / v, ratio = d * inverse, half = REAL_C(0.5);
    real value = R(fma)(half, R(fma)(d, ratio, R(log)(v)), param[1]);
    return (R(terms)){value, R(with_nan)(value, ratio), half * R(fma)(-d, ratio, 1) * inverse, 0, 0, o.b};
}

/* t (log t - x), where that of a subnormal t is as good as 0; the gradient is -t */
FL_INLINE R(terms) R(kl_div)(R(operands) o, const real *param) {
    real x = o.a, t = o.b, value = t * (R(log_normal)(t) - x), none = t == 0 ? R(with_nan)(x, 0) : REAL_NAN;
    (void)param;
    return (R(terms)){t > 0 ? value : none, R(with_nan)(x, t == 0 ? 0 : -t), 0, 0, 0, 0};
}

/* e^t (t - x) */
FL_INLINE R(terms) R(kl_div_log_target)(R(operands) o, const real *param) {
    real x = o.a, p = R(exp)(o.b), value = R(times)(p, o.b - x);
    (void)param;
    return (R(terms)){R(with_nan)(x, value), R(with_nan)(x, p == 0 ? 0 : -p), 0, 0, 0, 0};
}
