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

/* l = (1 - t) softplus(x) + p t softplus(-x), where softplus(x) = max(x, 0) + log(1 + e^-|x|) never overflows
 * and s(x) = 1 / (1 + e^-x) is formed from e^-|x| on either side, so that neither s nor 1 - s cancels:
 * l' = (1 - t) s(x) - p t s(-x), l'' = ((1 - t) + p t) s(x) s(-x).
 * A term with factor 0 is 0, so that an infinite logit which agrees with its target costs nothing. */
FL_INLINE R(terms) R(binary_cross_entropy_with_logits)(R(operands) o, const real *param) {
    real x = o.a, positive = o.b * o.c, negative = 1 - o.b;
    real e = R(exp_nonpositive)(-R(abs)(x)), softplus = R(log1p_unit)(e);
    real near = 1 / (1 + e), far = e * near; /* s(|x|), s(-|x|) */
    real up = x > 0 ? near : far, down = x > 0 ? far : near;
    real above = x > 0 ? x : 0, below = x > 0 ? 0 : -x;
    real from_negative = negative == 0 ? 0 : negative * (above + softplus);
    real from_positive = positive == 0 ? 0 : positive * (below + softplus);
    real clash = x == x ? 0 : x; /* NaN, whatever the factors are */
    (void)param;
    return (R(terms)){from_negative + from_positive + clash, negative * up - positive * down + clash, 0, 0,
                      (negative + positive) * (up * down)};
}
