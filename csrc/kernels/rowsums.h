/* The mathematics of a row whose loss comes from sums over its elements: from an element of every operand to the sums,
 * from the sums to the row's loss, and from an element to its gradients. Nothing here knows how rows lie in memory or
 * whether lanes are elements or rows.
 *
 * Sums are of double: products of float32 are exact in it, and what a sum loses is far below what its result is rounded
 * to. A kernel `name` has
 *   name_sums, name_again   how many sums a walk along the row makes, and a second one (0: there is none)
 *   name_start              what a sum begins with
 *   name_picks              1: the row's label is left out of the sums, and has a gradient of its own
 *   name_begin              from what is known of a row before its sums to what it hands to its elements
 *   name_add, name_join     takes in an element; makes one of two partial sums
 *   name_turn               between the walks: whether there is need of a second
 *   name_add_again          takes in an element then
 *   name_finish             the loss; and what the row hands to the gradients, formed with the scale in it
 *   name_grad               of one element, by each prediction */

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
FL_INLINE double R(hinge)(double x) { return x < 0 ? 0 : x; }
FL_INLINE double R(hinge_slope)(double x) { return x >= 0 ? 1 : x < 0 ? 0 : x; }
