/* Sums without rounding, of float64.
 *
 * A block of numbers is cut into multiples of a unit and what is left, from the top down, until nothing is: adding and
 * subtracting 1.5 * 2^52 units rounds to a multiple, and the multiples of a block add up in float64 without rounding.
 * (Demmel and Nguyen, Parallel Reproducible Summation, 2015.) What is found goes to a fixed-point number as wide as all of
 * float64. (Kulisch, Computer Arithmetic and Validity, 2008.) */

enum {
    TALLY_LANES = 16,
    TALLY_BLOCK = 1024,
    TALLY_BITS = 42,    /* of a multiple: TALLY_BLOCK of them have 52 */
    TALLY_HIGHEST = 900 /* larger powers of 2 are added one by one, and so are subnormal numbers */
};

/* Multiples of 2^-1074, in digits of 32 bits that have not been carried over. */
typedef struct {
    int64_t digit[FL_SUM_DIGITS];
} fl_fixed;

/* sign * whole * 2^(shift - 1074), where `whole` has 63 bits at most. */
FL_INLINE void fl_add_whole(fl_fixed *to, int64_t sign, uint64_t whole, int shift) {
    const uint64_t low32 = 0xffffffff;
    const uint64_t low = (whole & low32) << (shift & 31), high = whole >> 32 << (shift & 31);
    int64_t *digit = to->digit + (shift >> 5);
    digit[0] += sign * (int64_t)(low & low32);
    digit[1] += sign * (int64_t)((low >> 32) + (high & low32));
    digit[2] += sign * (int64_t)(high >> 32);
}

FL_INLINE void fl_add_fixed(fl_fixed *to, double x) {
    const uint64_t bits = r64_to_bits(x);
    const int power = (int)(bits >> 52 & 2047);
    const uint64_t mantissa = (bits & (((uint64_t)1 << 52) - 1)) | (uint64_t)(power != 0) << 52;
    fl_add_whole(to, bits >> 63 ? -1 : 1, mantissa, power ? power - 1 : 0);
}

/* A block of float32 numbers that are 0 or from 2^TALLY_LEAST up to 2^TALLY_MOST in size, as losses mostly are, is a block of
 * multiples of a unit: to 1.5 * 2^52 units each adds itself as an integer, and so their bits add up. One pass, a third of
 * the time. The answer is whether the block was one. */
enum { TALLY_LEAST = -22, TALLY_MOST = 6, TALLY_UNIT = TALLY_LEAST - 23 };

FL_INLINE int fl_add_plain(fl_fixed *to, const float *x, int n) {
    const uint64_t zero = r64_to_bits(1.5 * 4503599627370496.0) + ((uint64_t)(int64_t)TALLY_UNIT << 52);
    const double magic = r64_from_bits(zero);
    FL_ALIGNED(64) uint64_t sums[TALLY_LANES] = {0};
    FL_ALIGNED(64) uint32_t most[TALLY_LANES] = {0}, least[TALLY_LANES];
    uint64_t sum = 0 - (uint64_t)n * zero;
    uint32_t top = 0, bottom = 0xffffffff;
    for (int l = 0; l < TALLY_LANES; l++)
        least[l] = bottom;
    for (const float *from = x; from < x + n; from += TALLY_LANES) {
        FL_SIMD
        for (int l = 0; l < TALLY_LANES; l++) {
            const uint32_t size = r32_to_bits(from[l]) & 0x7fffffff, below = size - 1; /* of 0 the largest */
            most[l] = size > most[l] ? size : most[l];
            least[l] = below < least[l] ? below : least[l];
            sums[l] += r64_to_bits((double)from[l] + magic);
        }
    }
    for (int l = 0; l < TALLY_LANES; l++) {
        sum += sums[l];
        top = most[l] > top ? most[l] : top;
        bottom = least[l] < bottom ? least[l] : bottom;
    }
    if (top >= (uint32_t)(127 + TALLY_MOST) << 23 || bottom < ((uint32_t)(127 + TALLY_LEAST) << 23) - 1)
        return 0;
    fl_add_whole(to, sum >> 63 ? -1 : 1, sum >> 63 ? 0 - sum : sum, TALLY_UNIT + 1074);
    return 1;
}

FL_INLINE void fl_carry_fixed(const fl_fixed *from, fl_sum *to) {
    int64_t carry = 0;
    for (int i = 0; i < FL_SUM_DIGITS; i++) {
        const int64_t digit = from->digit[i] + carry;
        to->digit[i] = (uint32_t)(digit & 0xffffffff);
        carry = digit >> 32;
    }
}

/* A block on its way, and the largest of its numbers, in lanes. */
typedef struct {
    FL_ALIGNED(64) double rest[TALLY_BLOCK];
    FL_ALIGNED(64) double tops[TALLY_LANES];
} fl_tally_block;

/* Takes the multiples of a unit off, `magic` being 1.5 * 2^52 of it; the answer is their sum. */
FL_INLINE double fl_cut(fl_tally_block *b, int n, double magic) {
    FL_ALIGNED(64) double sums[TALLY_LANES] = {0}, tops[TALLY_LANES] = {0};
    double sum = 0;
    for (double *rest = b->rest; rest < b->rest + n; rest += TALLY_LANES) {
        FL_SIMD
        for (int l = 0; l < TALLY_LANES; l++) {
            const double x = rest[l], multiple = (x + magic) - magic, left = x - multiple;
            rest[l] = left;
            sums[l] += multiple;
            tops[l] = r64_max(r64_abs(left), tops[l]);
        }
    }
    for (int l = 0; l < TALLY_LANES; l++)
        sum += sums[l], b->tops[l] = tops[l];
    return sum;
}

/* Adds up n numbers, a multiple of TALLY_LANES. */
FL_NOINLINE void fl_add_block(fl_fixed *to, fl_tally_block *b, int n) {
    for (;;) {
        double top = 0;
        int power;
        for (int l = 0; l < TALLY_LANES; l++)
            top = r64_max(b->tops[l], top);
        if (top == 0)
            return;
        power = (int)(r64_to_bits(top) >> 52) - 1022;  /* top < 2^power */
        if (power > TALLY_HIGHEST || power == -1022) { /* subnormal */
            for (int i = 0; i < n; i++)
                fl_add_fixed(to, b->rest[i]);
            return;
        }
        power += 52 - TALLY_BITS; /* of 2^52 units */
        fl_add_fixed(to, fl_cut(b, n, r64_from_bits((uint64_t)(power + 1023) << 52 | (uint64_t)1 << 51)));
    }
}

/* Counts the numbers that are not finite, and puts 0 in their place. */
FL_NOINLINE void fl_take_odd(fl_sum *to, fl_tally_block *b, int n) {
    for (int l = 0; l < TALLY_LANES; l++)
        b->tops[l] = 0;
    for (int i = 0; i < n; i++) {
        const double x = b->rest[i], size = r64_abs(x);
        to->nan += x != x, to->inf += x == INFINITY, to->minus_inf += x == -INFINITY;
        if (size < INFINITY)
            b->tops[0] = r64_max(size, b->tops[0]);
        else
            b->rest[i] = 0;
    }
}
