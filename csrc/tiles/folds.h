/* Lanes to one number: maxima, sums and counts. */

/* Lanes fold by halves. Each step by a call of its own, so that its length is a constant and it stays in registers. */
FL_INLINE void R(halve_max)(real *lanes, int half) {
    FL_SIMD
    for (int l = 0; l < half; l++)
        lanes[l] = R(max)(lanes[l + half], lanes[l]);
}
FL_INLINE real R(fold_max)(real *lanes) {
    if (LANES == 32)
        R(halve_max)(lanes, 16);
    R(halve_max)(lanes, 8);
    R(halve_max)(lanes, 4);
    R(halve_max)(lanes, 2);
    return R(max)(lanes[1], lanes[0]);
}

FL_INLINE void R(halve_sums)(double *sums, int half) {
    FL_SIMD
    for (int l = 0; l < half; l++)
        sums[l] += sums[l + half];
}
FL_INLINE double R(fold_sums)(double *sums) {
    if (LANES == 32)
        R(halve_sums)(sums, 16);
    R(halve_sums)(sums, 8);
    R(halve_sums)(sums, 4);
    R(halve_sums)(sums, 2);
    return sums[0] + sums[1];
}

FL_INLINE double R(fold_counts)(const bits_t *counts) {
    bits_t sum = 0;
    FL_SIMD_REDUCE(+, sum)
    for (int l = 0; l < LANES; l++)
        sum += counts[l];
    return (double)sum;
}

FL_INLINE double R(fold_lanes)(const real *lanes) {
    double sums[LANES];
    FL_SIMD
    for (int l = 0; l < LANES; l++)
        sums[l] = (double)lanes[l];
    return R(fold_sums)(sums);
}
