/* Sums without rounding (exact.h), and counts, of numbers that are one per row. An item of the work is a segment of rows, and
 * leaves sums and counts of its own: the exact sum of any rows is that of their segments', in any order. */

FL_INLINE void R(sum_segment)(const real *x, int64_t count, fl_sum *to) {
    fl_tally_block block;
    fl_fixed wide = {{0}};
    to->nan = to->inf = to->minus_inf = 0;
    for (int64_t done = 0; done < count; done += TALLY_BLOCK) {
        const int n = (int)fl_min(count - done, TALLY_BLOCK), whole = n - n % TALLY_LANES;
        FL_ALIGNED(64) double tops[TALLY_LANES] = {0};
        FL_ALIGNED(64) uint64_t odd[TALLY_LANES] = {0};
        uint64_t any = 0;
        for (int i = 0; i < whole; i += TALLY_LANES) {
            const real *from = x + done + i;
            double *rest = block.rest + i;
            FL_SIMD
            for (int l = 0; l < TALLY_LANES; l++) {
                const double v = (double)from[l], size = r64_abs(v);
                rest[l] = v;
                tops[l] = r64_max(size, tops[l]);
                odd[l] |= (uint64_t)0 - (uint64_t)!(size < INFINITY);
            }
        }
        for (int l = 0; whole < n && l < TALLY_LANES; l++) {
            const double v = whole + l < n ? (double)x[done + whole + l] : 0, size = r64_abs(v);
            block.rest[whole + l] = v;
            tops[l] = r64_max(size, tops[l]);
            odd[l] |= (uint64_t)0 - (uint64_t)!(size < INFINITY);
        }
        for (int l = 0; l < TALLY_LANES; l++)
            any |= odd[l], block.tops[l] = tops[l];
        if (any)
            fl_take_odd(to, &block, whole < n ? whole + TALLY_LANES : n);
        fl_add_block(&wide, &block, whole < n ? whole + TALLY_LANES : n);
    }
    fl_carry_fixed(&wide, to);
}

FL_INLINE void R(count_within)(const int64_t *rank, int64_t n, int64_t bound, int64_t *to) {
    int64_t found = 0;
    FL_SIMD_REDUCE(+, found)
    for (int64_t i = 0; i < n; i++)
        found += rank[i] < bound;
    *to = found;
}

static void R(tally_tile)(const void *opaque, int64_t first, int64_t count, fl_partial *partial, void *scratch) {
    const fl_tally *job = (const fl_tally *)opaque;
    for (int64_t s = first; s < first + count; s++) {
        const int64_t from = job->first[s], rows = job->first[s + 1] - from;
        for (int a = 0; a < job->arrays; a++)
            R(sum_segment)((const real *)job->value[a] + from, rows, job->sum + s * job->arrays + a);
        for (int b = 0; b < job->bounds; b++)
            R(count_within)(job->rank + from, rows, job->bound[b], job->within + s * job->bounds + b);
    }
    (void)scratch, (void)partial;
}
