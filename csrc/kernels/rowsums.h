/* The mathematics of a row whose loss comes from sums over its elements: from an element of every operand to the sums,
 * from the sums to the row's loss, and from an element to its gradients. Nothing here knows how rows lie in memory or
 * whether lanes are elements or rows.
 *
 * Sums are of double: products of float32 are exact in it, and what a sum loses is far below what its result is rounded
 * to. A kernel `name` has
 *   name_sums, name_again   how many sums a walk along the row makes, and a second one (0: there is none)
 *   name_start              what a sum begins with
 *   name_picks              1: the row's label is left out of the sums, and has a gradient of its own, for which all sums
 *                           but the first are
 *   name_begin              from what is known of a row before its sums to what it hands to its elements
 *   name_add, name_join     takes in an element; makes one of two partial sums
 *   name_turn               between the walks: whether there is need of a second
 *   name_add_again          takes in an element then
 *   name_finish             the loss; and what the row hands to the gradients, formed with the scale in it
 *   name_grad               of one element, by each prediction
 * A row whose sums are NaN has NaN for its factors, and so in all of its gradients. */

typedef struct {
    double a, b, c, d;
} R(sums);

/* What a row hands to its elements. */
typedef struct {
    double a, b, c, d, e, f;
    double at_label; /* the gradient there */
} R(factors);

/* What is known of a row besides its elements. */
typedef struct {
    double length;
    double picked, weight; /* the label's element and its class weight */
    double number;         /* what the row is given, such as a sign */
    double scale;          /* factor of the row's gradients */
} R(known);

typedef struct {
    real a, b, c;
} R(slopes);

FL_INLINE R(factors) R(no_begin)(const R(known) *r, const double *param) {
    (void)r, (void)param;
    return (R(factors)){0, 0, 0, 0, 0, 0, 0};
}
FL_INLINE R(sums) R(add_up)(R(sums) s, R(sums) t) { return (R(sums)){s.a + t.a, s.b + t.b, s.c + t.c, s.d + t.d}; }
FL_INLINE int R(no_turn)(const R(sums) *s, const R(known) *r, const double *param, R(factors) *k) {
    (void)s, (void)r, (void)param, (void)k;
    return 0;
}
FL_INLINE R(sums) R(no_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    (void)o, (void)k, (void)param;
    return s;
}

/* max(0, x), where NaN stays; and its slope, 1 at 0 as PyTorch's, and NaN where x is. */
FL_INLINE double R(hinge)(double x) { return r64_max(0, x); }
FL_INLINE double R(hinge_slope)(double x) { return x >= 0 ? 1 : x < 0 ? 0 : x; }

/* With a label t and z_j = margin - x_t + x_j: w_t / C sum over j != t of max(0, z_j); param: margin.
 * By x_j: w_t / C [z_j > 0]; by x_t the sum of those, taken off. */
#define multi_margin_loss_sums 2
#define multi_margin_loss_again 0
#define multi_margin_loss_start 0
#define multi_margin_loss_picks 1
#define multi_margin_loss_join add_up
#define multi_margin_loss_turn no_turn
#define multi_margin_loss_add_again no_add
FL_INLINE R(factors) R(multi_margin_loss_begin)(const R(known) *r, const double *param) {
    return (R(factors)){param[0] - r->picked, 0, 0, 0, 0, 0, 0};
}
/* z_j, 0 of an element that does not join. */
FL_INLINE double R(over)(R(operands) o, const R(factors) *k) {
    return r64_from_bits(r64_to_bits(k->a + (double)o.a) & o.joins);
}
/* Adds `more` and `slope` where z > 0, or NaN. */
FL_INLINE R(sums) R(add_over)(R(sums) s, double z, double more, double slope) {
    if (FL_HAS_MASKS) /* the same */
        return (R(sums)){z <= 0 ? s.a : s.a + more, z <= 0 ? s.b : s.b + slope, 0, 0};
    return (R(sums)){s.a + (z <= 0 ? 0 : more), s.b + (z <= 0 ? 0 : slope), 0, 0};
}
FL_INLINE R(sums) R(multi_margin_loss_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    double z = R(over)(o, k);
    (void)param;
    return R(add_over)(s, z, z, 1);
}
/* The factor of a class that is over, and of one that is not: 0 also where the weight is infinite, not where it is NaN. */
FL_INLINE double R(finish_over)(const R(sums) *s, const R(known) *r, double power, R(factors) *k) {
    double each = power * (r->scale * r->weight / r->length);
    k->b = s->a == s->a ? each : s->a;
    k->c = k->b == k->b ? 0 : k->b;
    k->at_label = s->b == 0 ? k->c : -r64_times(k->b, s->b);
    return s->a == 0 ? r64_weigh(0, r->weight) : r64_weigh(r->weight, s->a) / r->length;
}
FL_INLINE double R(multi_margin_loss_finish)(const R(sums) *s, const R(known) *r, const double *param, R(factors) *k) {
    (void)param;
    return R(finish_over)(s, r, 1, k);
}
FL_INLINE R(slopes) R(multi_margin_loss_grad)(R(operands) o, const R(factors) *k, const double *param) {
    double z = k->a + (double)o.a;
    (void)param;
    return (R(slopes)){(real)(z <= 0 ? k->c : k->b), 0, 0};
}

/* The same of max(0, z_j)^2. By x_j: 2 w_t / C max(0, z_j). */
#define multi_margin_loss_squared_sums 2
#define multi_margin_loss_squared_again 0
#define multi_margin_loss_squared_start 0
#define multi_margin_loss_squared_picks 1
#define multi_margin_loss_squared_begin multi_margin_loss_begin
#define multi_margin_loss_squared_join add_up
#define multi_margin_loss_squared_turn no_turn
#define multi_margin_loss_squared_add_again no_add
FL_INLINE R(sums) R(multi_margin_loss_squared_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    double z = R(over)(o, k);
    (void)param;
    return R(add_over)(s, z, z * z, z);
}
FL_INLINE double R(multi_margin_loss_squared_finish)(const R(sums) *s, const R(known) *r, const double *param,
                                                     R(factors) *k) {
    (void)param;
    return R(finish_over)(s, r, 2, k);
}
FL_INLINE R(slopes) R(multi_margin_loss_squared_grad)(R(operands) o, const R(factors) *k, const double *param) {
    double z = k->a + (double)o.a;
    (void)param;
    return (R(slopes)){(real)(z <= 0 ? k->c : r64_times(k->b, z)), 0, 0};
}

/* w times the binary cross entropy of x with t, summed and divided by param: the number of classes. */
#define multilabel_soft_margin_loss_sums 1
#define multilabel_soft_margin_loss_again 0
#define multilabel_soft_margin_loss_start 0
#define multilabel_soft_margin_loss_picks 0
#define multilabel_soft_margin_loss_begin no_begin
#define multilabel_soft_margin_loss_join add_up
#define multilabel_soft_margin_loss_turn no_turn
#define multilabel_soft_margin_loss_add_again no_add
FL_INLINE R(sums)
    R(multilabel_soft_margin_loss_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    R(operands) binary = {o.a, o.b, 1, 1};
    (void)k, (void)param;
    s.a += r64_weigh((double)o.c, (double)R(binary_cross_entropy_with_logits)(binary, NULL).value);
    return s;
}
FL_INLINE double R(multilabel_soft_margin_loss_finish)(const R(sums) *s, const R(known) *r, const double *param,
                                                       R(factors) *k) {
    k->a = s->a == s->a ? r->scale / param[0] : s->a;
    return s->a / param[0];
}
FL_INLINE R(slopes) R(multilabel_soft_margin_loss_grad)(R(operands) o, const R(factors) *k, const double *param) {
    R(operands) binary = {o.a, o.b, 1, 1};
    double slope = (double)R(binary_cross_entropy_with_logits)(binary, NULL).grad_a;
    (void)param;
    return (R(slopes)){(real)r64_weigh(k->a * (double)o.c, slope), 0, 0};
}

/* Tversky's index of probabilities p with targets t, taken off 1; param: alpha, beta, smooth. With the sums
 * T = sum p t, F = alpha sum p (1 - t) + beta sum (1 - p) t and D = T + F + smooth: v = F / D, where nothing cancels, and
 * 0 where D is. By p: ((alpha (1 - t) - beta t) (1 - v) - v t) / D with 1 - v = (T + smooth) / D. */
#define tversky_loss_of_probabilities_sums 3
#define tversky_loss_of_probabilities_again 0
#define tversky_loss_of_probabilities_start 0
#define tversky_loss_of_probabilities_picks 0
#define tversky_loss_of_probabilities_begin no_begin
#define tversky_loss_of_probabilities_join add_up
#define tversky_loss_of_probabilities_turn no_turn
#define tversky_loss_of_probabilities_add_again no_add
FL_INLINE R(sums) R(add_overlap)(R(sums) s, double p, double q, double t) {
    s.a += p * t;
    s.b += p * (1 - t);
    s.c += q * t;
    return s;
}
FL_INLINE R(sums)
    R(tversky_loss_of_probabilities_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    (void)k, (void)param;
    return R(add_overlap)(s, (double)o.a, 1 - (double)o.a, (double)o.b);
}
FL_INLINE double R(tversky_loss_of_probabilities_finish)(const R(sums) *s, const R(known) *r, const double *param,
                                                         R(factors) *k) {
    double missed = param[0] * s->b + param[1] * s->c, all = s->a + missed + param[2];
    double by_all = all == 0 ? 0 : 1 / all, v = missed * by_all, kept = (s->a + param[2]) * by_all;
    k->a = r->scale * by_all * param[0] * kept;
    k->b = -(r->scale * by_all) * (param[1] * kept + v);
    return v;
}
FL_INLINE R(slopes) R(tversky_loss_of_probabilities_grad)(R(operands) o, const R(factors) *k, const double *param) {
    (void)param;
    return (R(slopes)){(real)(k->a * (1 - (double)o.b) + k->b * (double)o.b), 0, 0};
}

/* The same from logits: p = s(x) and 1 - p, each by itself. */
#define tversky_loss_sums 3
#define tversky_loss_again 0
#define tversky_loss_start 0
#define tversky_loss_picks 0
#define tversky_loss_begin no_begin
#define tversky_loss_join add_up
#define tversky_loss_turn no_turn
#define tversky_loss_add_again no_add
#define tversky_loss_finish tversky_loss_of_probabilities_finish
FL_INLINE R(sums) R(tversky_loss_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    real e = R(exp_nonpositive)(-R(abs)(o.a)), near = 1 / (1 + e), far = e * near;
    (void)k, (void)param;
    return R(add_overlap)(s, (double)(o.a > 0 ? near : far), (double)(o.a > 0 ? far : near), (double)o.b);
}
FL_INLINE R(slopes) R(tversky_loss_grad)(R(operands) o, const R(factors) *k, const double *param) {
    real e = R(exp_nonpositive)(-R(abs)(o.a)), near = 1 / (1 + e);
    double slope = (double)e * ((double)near * (double)near);
    (void)param;
    return (R(slopes)){(real)((k->a * (1 - (double)o.b) + k->b * (double)o.b) * slope), 0, 0};
}

/* sqrt(sum w (x - t)^2 / sum w); by x: w (x - t) / (sum w times that), and 0 where that is 0. */
#define rmse_loss_rows_sums 2
#define rmse_loss_rows_again 0
#define rmse_loss_rows_start 0
#define rmse_loss_rows_picks 0
#define rmse_loss_rows_begin no_begin
#define rmse_loss_rows_join add_up
#define rmse_loss_rows_turn no_turn
#define rmse_loss_rows_add_again no_add
FL_INLINE R(sums) R(rmse_loss_rows_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    double off = (double)o.a - (double)o.b;
    (void)k, (void)param;
    s.a += r64_weigh((double)o.c, off * off);
    s.b += (double)o.c;
    return s;
}
FL_INLINE double R(rmse_loss_rows_finish)(const R(sums) *s, const R(known) *r, const double *param, R(factors) *k) {
    double value = sqrt(s->a / s->b);
    (void)param;
    k->a = r->scale / s->b * (value == 0 ? 0 : 1 / value);
    return value;
}
FL_INLINE R(slopes) R(rmse_loss_rows_grad)(R(operands) o, const R(factors) *k, const double *param) {
    (void)param;
    return (R(slopes)){(real)r64_weigh(k->a * (double)o.c, (double)o.a - (double)o.b), 0, 0};
}

/* The sum of probabilities; NaN if one of them is not in [0, 1]. By p: 1. */
#define total_probability_sums 1
#define total_probability_again 0
#define total_probability_start 0
#define total_probability_picks 0
#define total_probability_begin no_begin
#define total_probability_join add_up
#define total_probability_turn no_turn
#define total_probability_add_again no_add
FL_INLINE R(sums) R(total_probability_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    const real known = (o.a >= 0) & (o.a <= 1) ? o.a : REAL_NAN;
    (void)k, (void)param;
    s.a += (double)known;
    return s;
}
FL_INLINE double R(total_probability_finish)(const R(sums) *s, const R(known) *r, const double *param, R(factors) *k) {
    (void)param;
    k->a = s->a == s->a ? r->scale : s->a;
    return s->a;
}
FL_INLINE R(slopes) R(total_probability_grad)(R(operands) o, const R(factors) *k, const double *param) {
    (void)o, (void)param;
    return (R(slopes)){(real)k->a, 0, 0};
}
