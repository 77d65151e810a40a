/* The mathematics of one element of every pointwise loss: from its operands to the loss and its derivatives by the
 * predictions. Who calls and wants only some of them pays only for those: the rest is dead code after inlining. */

/* The operands in the order of losses.def, and the parameters. */
typedef struct {
    real a, b, c, d;
} R(operands);

typedef struct {
    real value;
    real grad_a, grad_b, grad_c; /* by each prediction argument */
    real hess;                   /* second derivative by the first */
} R(terms);

/* (x - t)^2 */
FL_INLINE R(terms) R(mse_loss)(R(operands) o, const real *param) {
    real d = o.a - o.b;
    (void)param;
    return (R(terms)){d * d, 2 * d, 0, 0, 2};
}

/* l = (1 - t) softplus(x) + p t softplus(-x), where softplus(x) = max(x, 0) + log(1 + e^-|x|): with f = 1 - t for x > 0 and
 * p t elsewhere, l = f |x| + (1 - t + p t) log(1 + e^-|x|), a sum of numbers >= 0 that overflows nowhere. A factor f of 0
 * wins over an infinite logit, which then agrees with its target.
 * s(x) = 1 / (1 + e^-x) is formed from e^-|x| on either side, so that neither s nor 1 - s cancels:
 * l' = (1 - t) s(x) - p t s(-x), l'' = (1 - t + p t) s(x) s(-x). */
FL_INLINE R(terms) R(binary_cross_entropy_with_logits)(R(operands) o, const real *param) {
    real x = o.a, positive = o.b * o.c, negative = 1 - o.b, both = negative + positive;
    real size = R(abs)(x), e = R(exp_nonpositive)(-size);
    real near = 1 / (1 + e), far = e * near; /* s(|x|), s(-|x|) */
    real up = x > 0 ? near : far, down = x > 0 ? far : near;
    (void)param;
    return (R(terms)){R(fma)(both, R(log1p_unit)(e), R(times)(x > 0 ? negative : positive, size)),
                      negative * up - positive * down, 0, 0, both * (up * down)};
}
