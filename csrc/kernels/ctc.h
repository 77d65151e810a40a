/* The mathematics of CTC (Graves et al. 2006): the probability of all alignments of a target with the steps of a sequence,
 * and the share of each state in it. In float64 whatever the dtype; included once.
 *
 * Probabilities of alignments are far out of any range, so they are added up as logarithms, x = (1 + value) 2^power: the
 * whole part of the logarithm to base 2 and, in the place of its fraction, the number that has it. A sum of such numbers is
 * then a few multiplications by powers of two, where one of logarithms proper takes exponentials and a logarithm; it is
 * rounded to 2^-53, where a logarithm of -3000 is to 2^-42; and since 1 is left out of `value`, a sequence that is almost
 * certain keeps its small loss. Powers are whole numbers, however large, held as float64. */

#define CTC_NEVER (-1e290) /* the power of 0: every sum and product with it is far below any probability */
#define CTC_ALWAYS 1e300

typedef struct {
    double value, power;
} ctc_number;

/* 2^d: 0 below the smallest normal number, infinity above the largest. */
FL_INLINE double ctc_power(double d) {
    return r64_from_bits(r64_to_bits(r64_min(r64_max(d, -1023.0), 1024.0) + EXP_MAGIC) << EXP_SHIFT);
}
/* The same for d <= 0. */
FL_INLINE double ctc_fraction(double d) {
    return r64_from_bits(r64_to_bits(r64_max(d, -1023.0) + EXP_MAGIC) << EXP_SHIFT);
}

/* e^x; for x = -inf it is 0. */
FL_INLINE ctc_number ctc_exp(double x) {
    double n = rint(x * LOG2_E), r = r64_fma(n, -LN2_LOW, r64_fma(n, -LN2_HIGH, x));
    r = r64_max(r64_min(r, 0.35), -0.35); /* where x is so large that it has no fraction */
    return (ctc_number){r64_exp_poly(r), r64_max(n, CTC_NEVER)};
}

/* The larger of the powers becomes that of the sum, and of the factors 2^(power - that) one is 1: `value` is the sum of the
 * values by their factors, and of the other factors. */
FL_INLINE ctc_number ctc_add(ctc_number a, ctc_number b) {
    double power = r64_max(a.power, b.power), s = ctc_fraction(a.power - power), t = ctc_fraction(b.power - power);
    return (ctc_number){r64_fma(s, a.value, r64_fma(t, b.value, r64_min(s, t))), power};
}

FL_INLINE ctc_number ctc_add3(ctc_number a, ctc_number b, ctc_number c) {
    double power = r64_max(r64_max(a.power, b.power), c.power);
    double s = ctc_fraction(a.power - power), t = ctc_fraction(b.power - power), u = ctc_fraction(c.power - power);
    double others = r64_min(s, t) + r64_min(r64_max(s, t), u);
    return (ctc_number){r64_fma(s, a.value, r64_fma(t, b.value, r64_fma(u, c.value, others))), power};
}

/* The product, with 1 + value between sqrt(1/2) and sqrt(2): as the reduction of r64_log. */
FL_INLINE ctc_number ctc_times(ctc_number a, ctc_number b) {
    const uint64_t root = r64_to_bits(0.70710678118654752), whole = r64_to_bits(4503599627370496.0);
    double value = r64_fma(a.value, b.value, a.value) + b.value;
    uint64_t offset = r64_to_bits(1 + value) - root;
    double inverse = r64_from_bits(r64_to_bits(1.0) - ((offset >> EXP_SHIFT) << EXP_SHIFT));
    double k =
        r64_from_bits(((offset + ((uint64_t)2048 << EXP_SHIFT)) >> EXP_SHIFT) | whole) - (4503599627370496.0 + 2048.0);
    return (ctc_number){r64_fma(value, inverse, inverse - 1), (a.power + b.power) + k};
}

/* -log; of 0 it is infinite. */
FL_INLINE double ctc_minus_log(ctc_number a) {
    double log = r64_fma(a.power, LN2_HIGH, r64_fma(a.power, LN2_LOW, r64_log1p_poly(a.value)));
    return a.power > 0.1 * CTC_NEVER ? 0 - log : INFINITY;
}

/* The probabilities of a step from its log-probabilities. */
FL_NOINLINE void ctc_loss_probs(const double *x, int64_t n, const fl_emissions *p) {
    double *value = p->value, *power = p->power;
    FL_SIMD
    for (int64_t i = 0; i < n; i++) {
        ctc_number e = ctc_exp(x[i]);
        value[i] = e.value, power[i] = e.power;
    }
}

/* From the alignments that end in each state to those one step later. `skip` is the largest power that may pass from the
 * label before without a blank: none to a label that equals it. */
FL_NOINLINE void ctc_loss_forward(int64_t width, const fl_states *from, const fl_emissions *probs, const double *skip,
                                  const fl_states *to) {
    const double *blank = from->blank, *blank_power = from->blank_power;
    const double *label = from->label, *label_power = from->label_power;
    const double *p = probs->value, *p_power = probs->power;
    double *to_blank = to->blank, *to_blank_power = to->blank_power;
    double *to_label = to->label, *to_label_power = to->label_power;
    const ctc_number p_blank = {p[width], p_power[width]};
    FL_SIMD
    for (int64_t i = 0; i < width; i++) {
        ctc_number here = {blank[i], blank_power[i]}, own = {label[i], label_power[i]};
        ctc_number before = {label[i - 1], label_power[i - 1]};
        ctc_number over = {before.value, r64_min(before.power, skip[i])};
        ctc_number b = ctc_times(ctc_add(here, before), p_blank);
        ctc_number l = ctc_times(ctc_add3(own, here, over), (ctc_number){p[i], p_power[i]});
        to_blank[i] = b.value, to_blank_power[i] = b.power;
        to_label[i] = l.value, to_label_power[i] = l.power;
    }
}

/* All alignments: they end in the last blank or in the last label. */
FL_INLINE ctc_number ctc_loss_total(const fl_states *s, int64_t labels) {
    ctc_number blank = {s->blank[labels], s->blank_power[labels]};
    ctc_number label = {s->label[labels - 1], s->label_power[labels - 1]};
    return ctc_times(ctc_add(blank, label), (ctc_number){0, 0});
}

/* The share of a state in all alignments: those that reach it by those that go on from it, of the total. */
FL_INLINE double ctc_share(ctc_number reach, ctc_number go_on, double inverse, double power) {
    double product = (1 + reach.value) * (1 + go_on.value) * inverse;
    return r64_min(product * ctc_power(r64_min(reach.power + go_on.power - power, 2)), 1);
}

/* One step back: `from` holds for each state what goes on from it, its own probability included, one step later; `to`
 * becomes that for this step. The share of each label goes to `share`; that of all blanks is returned. */
FL_NOINLINE double ctc_loss_backward(int64_t width, const fl_states *from, const fl_emissions *probs,
                                     const double *skip, const fl_states *reached, ctc_number total,
                                     const fl_states *to, double *share) {
    const double *blank = from->blank, *blank_power = from->blank_power;
    const double *label = from->label, *label_power = from->label_power;
    const double *at_blank = reached->blank, *at_blank_power = reached->blank_power;
    const double *at_label = reached->label, *at_label_power = reached->label_power;
    const double *p = probs->value, *p_power = probs->power;
    double *to_blank = to->blank, *to_blank_power = to->blank_power;
    double *to_label = to->label, *to_label_power = to->label_power;
    const ctc_number p_blank = {p[width], p_power[width]};
    const double inverse = 1 / (1 + total.value), power = total.power;
    double blanks[FL_LATTICE_STEP] = {0};
    for (int64_t j = 0; j < width; j += FL_LATTICE_STEP) {
        FL_SIMD
        for (int64_t l = 0; l < FL_LATTICE_STEP; l++) {
            int64_t i = j + l;
            ctc_number here = {blank[i], blank_power[i]}, own = {label[i], label_power[i]};
            ctc_number next = {blank[i + 1], blank_power[i + 1]}, after = {label[i + 1], label_power[i + 1]};
            ctc_number over = {after.value, r64_min(after.power, skip[i + 1])};
            ctc_number b = ctc_add(here, own), k = ctc_add3(own, next, over), b_here, k_here;
            blanks[l] += ctc_share((ctc_number){at_blank[i], at_blank_power[i]}, b, inverse, power);
            share[i] = ctc_share((ctc_number){at_label[i], at_label_power[i]}, k, inverse, power);
            b_here = ctc_times(b, p_blank);
            k_here = ctc_times(k, (ctc_number){p[i], p_power[i]});
            to_blank[i] = b_here.value, to_blank_power[i] = b_here.power;
            to_label[i] = k_here.value, to_label_power[i] = k_here.power;
        }
    }
    for (int half = FL_LATTICE_STEP / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            blanks[l] += blanks[l + half];
    return blanks[0];
}
