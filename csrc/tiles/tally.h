/* Sums without rounding (exact.h), and counts, of numbers that are one per row: of segments of rows that were scored before,
 * or of tiles of rows as they are scored. Each leaves sums and counts of its own: the exact sum of any rows is that of
 * their parts, in any order. */

/* At most TALLY_BLOCK numbers; what is not finite is counted in `to`. */
FL_NOINLINE void R(sum_block)(const real *x, int n, fl_fixed *wide, fl_sum *to) {
    const int whole = n - n % TALLY_LANES, all = whole < n ? whole + TALLY_LANES : n;
    fl_tally_block block;
    FL_ALIGNED(64) double tops[TALLY_LANES] = {0};
    FL_ALIGNED(64) uint64_t odd[TALLY_LANES] = {0};
    uint64_t any = 0;
#if REAL_BITS == 32
    if (whole == n && fl_add_plain(wide, x, n))
        return;
#endif
    for (int i = 0; i < whole; i += TALLY_LANES) {
        const real *from = x + i;
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
        const double v = whole + l < n ? (double)x[whole + l] : 0, size = r64_abs(v);
        block.rest[whole + l] = v;
        tops[l] = r64_max(size, tops[l]);
        odd[l] |= (uint64_t)0 - (uint64_t)!(size < INFINITY);
    }
    for (int l = 0; l < TALLY_LANES; l++)
        any |= odd[l], block.tops[l] = tops[l];
    if (any)
        fl_take_odd(to, &block, all);
    fl_add_block(wide, &block, all);
}

FL_INLINE void R(sum_segment)(const real *x, int64_t count, fl_sum *to) {
    fl_fixed wide = {{0}};
    to->nan = to->inf = to->minus_inf = 0;
    for (int64_t done = 0; done < count; done += TALLY_BLOCK)
        R(sum_block)(x + done, (int)fl_min(count - done, TALLY_BLOCK), &wide, to);
    fl_carry_fixed(&wide, to);
}

/* How many ranks are below a bound; -1 is none. */
FL_INLINE int64_t R(count_within)(const int64_t *rank, int64_t n, int64_t bound) {
    int64_t found = 0;
    FL_SIMD_REDUCE(+, found)
    for (int64_t i = 0; i < n; i++)
        found += (uint64_t)rank[i] < (uint64_t)bound;
    return found;
}

static void R(tally_tile)(const void *opaque, int64_t first, int64_t count, fl_partial *partial, void *scratch) {
    const fl_tally *job = (const fl_tally *)opaque;
    for (int64_t s = first; s < first + count; s++) {
        const int64_t from = job->first[s], rows = job->first[s + 1] - from;
        for (int a = 0; a < job->arrays; a++)
            R(sum_segment)((const real *)job->value[a] + from, rows, job->sum + s * job->arrays + a);
        for (int b = 0; b < job->bounds; b++)
            job->within[s * job->bounds + b] = R(count_within)(job->rank + from, rows, job->bound[b]);
    }
    (void)scratch, (void)partial;
}

/* Rows evaluated without an array that any of them has a place in: TALLY_BLOCK of them at a time are scored and added up. */
static void R(evaluate_tile)(const void *opaque, int64_t first, int64_t count, fl_partial *partial, void *scratch) {
    const fl_evaluation *job = (const fl_evaluation *)opaque;
    const int64_t tile = first / job->tile_items;
    fl_sum *sum = job->sum + FL_EVALUATED * tile;
    int64_t *within = job->within + job->bounds * tile, rank[TALLY_BLOCK];
    FL_ALIGNED(64) real loss[TALLY_BLOCK], entropy[TALLY_BLOCK];
    fl_fixed losses = {{0}}, entropies = {{0}};
    fl_rowwise rows = job->rows;
    rows.value = loss, rows.score[0] = entropy, rows.rank = rank;
    for (rows.origin = first; rows.origin < first + count; rows.origin += TALLY_BLOCK) {
        const int n = (int)fl_min(first + count - rows.origin, TALLY_BLOCK);
        fl_partial block = {0, 0, -1};
        R(score_outcome_tile)(&rows, rows.origin, n, &block, scratch);
        for (int i = 0; block.weight < n && i < n; i++)
            entropy[i] = rank[i] < 0 ? 0 : entropy[i];
        R(sum_block)(loss, n, &losses, &sum[0]);
        R(sum_block)(entropy, n, &entropies, &sum[1]);
        for (int b = 0; b < job->bounds; b++)
            within[b] += R(count_within)(rank, n, job->bound[b]);
        partial->weight += block.weight;
        partial->bad = partial->bad < 0 ? block.bad : partial->bad;
    }
    fl_carry_fixed(&losses, &sum[0]);
    fl_carry_fixed(&entropies, &sum[1]);
}
