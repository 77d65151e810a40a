/* Vectors whose lanes change places, by the compiler's shuffles or an instruction set's: what tiles/panel.h transposes with.
 * Included by isa.h and nobody else. */

/* FL_SHUFFLE says whether vectors with a shuffle exist (gcc >= 12, clang). FL_FOURS shuffles two vectors of
 * float alike in each of their fours. */
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define FL_SHUFFLE 1
#endif
#endif
#ifndef FL_SHUFFLE
#define FL_SHUFFLE 0
#endif
#if FL_VECTOR == 64
#define FL_FOURS(a, b, i, j, k, l)                                                                                     \
    __builtin_shufflevector(a, b, i, j, k, l, i + 4, j + 4, k + 4, l + 4, i + 8, j + 8, k + 8, l + 8, i + 12, j + 12,  \
                            k + 12, l + 12)
#elif FL_VECTOR == 32
#define FL_FOURS(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l, i + 4, j + 4, k + 4, l + 4)
#else
#define FL_FOURS(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#endif

#if FL_SHUFFLE
typedef float fl_wide __attribute__((vector_size(FL_VECTOR)));

/* A vector of the fours at from, from + step, ..., inserted from memory: that takes no turn of the unit that shuffles. */
FL_INLINE fl_wide fl_join_fours(const float *from, int64_t step) {
#if FL_VECTOR == 64
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(from));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(from + step), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(from + 2 * step), 2);
    return (fl_wide)_mm512_insertf32x4(v, _mm_loadu_ps(from + 3 * step), 3);
#elif FL_VECTOR == 32
    return (fl_wide)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from)), _mm_loadu_ps(from + step), 1);
#else
    fl_wide v;
    (void)step;
    memcpy(&v, from, sizeof v);
    return v;
#endif
}

/* And back: extracted to memory, likewise. */
FL_INLINE void fl_part_fours(fl_wide v, float *to, int64_t step) {
#if FL_VECTOR == 64
    _mm_storeu_ps(to, _mm512_castps512_ps128((__m512)v));
    _mm_storeu_ps(to + step, _mm512_extractf32x4_ps((__m512)v, 1));
    _mm_storeu_ps(to + 2 * step, _mm512_extractf32x4_ps((__m512)v, 2));
    _mm_storeu_ps(to + 3 * step, _mm512_extractf32x4_ps((__m512)v, 3));
#elif FL_VECTOR == 32
    _mm_storeu_ps(to, _mm256_castps256_ps128((__m256)v));
    _mm_storeu_ps(to + step, _mm256_extractf128_ps((__m256)v, 1));
#else
    (void)step;
    memcpy(to, &v, sizeof v);
#endif
}

/* The same for eights, of which each vector has one half. */
FL_INLINE void fl_part_eights(fl_wide a, fl_wide b, float *to, int64_t step) {
#if FL_VECTOR == 64
    __m512 low = (__m512)__builtin_shufflevector(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    __m512 high = (__m512)__builtin_shufflevector(a, b, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    _mm256_storeu_ps(to, _mm512_castps512_ps256(low));
    _mm256_storeu_ps(to + step, _mm512_extractf32x8_ps(low, 1));
    _mm256_storeu_ps(to + 2 * step, _mm512_castps512_ps256(high));
    _mm256_storeu_ps(to + 3 * step, _mm512_extractf32x8_ps(high, 1));
#elif FL_VECTOR == 32
    _mm256_storeu_ps(to, _mm256_permute2f128_ps((__m256)a, (__m256)b, 0x20));
    _mm256_storeu_ps(to + step, _mm256_permute2f128_ps((__m256)a, (__m256)b, 0x31));
#else
    fl_part_fours(a, to, step);
    fl_part_fours(b, to + 4, step);
#endif
}
#endif

/* FL_BLENDS says whether rows of n = u m floats, m odd and u 1 or 2, are transposed by blends: of L = 16 / u rows that follow
 * one another, the units p (of u floats) lie at m r + p, which modulo L are all different. So one blend of their m vectors
 * has all of them, and a permutation puts them in order: m instructions to a class, and all but one of them need no unit
 * that shuffles; fours joined from memory take six. */
#if FL_VECTOR == 64 && FL_SHUFFLE
#define FL_BLENDS 1

enum { FL_UNITS = 5 }; /* at most so many to a row, for it to be less */

/* The lanes of vector v that hold units p. */
FL_INLINE __mmask16 fl_lanes_of(int m, int u, int v, int p) {
    const int t = 16 / u * v + m - p;
#define FL_LANE(j) (__mmask16)(((j) / u + t) % m == 0) << (j)
    return (__mmask16)(FL_LANE(0) | FL_LANE(1) | FL_LANE(2) | FL_LANE(3) | FL_LANE(4) | FL_LANE(5) | FL_LANE(6) |
                       FL_LANE(7) | FL_LANE(8) | FL_LANE(9) | FL_LANE(10) | FL_LANE(11) | FL_LANE(12) | FL_LANE(13) |
                       FL_LANE(14) | FL_LANE(15));
#undef FL_LANE
}

/* Where row r has class c: its lane in the blend, or 16 + its lane in the second. */
FL_INLINE int fl_lane_of(int m, int u, int c, int r) {
    const int rows = 16 / u;
    return 16 * (r / rows) + u * ((m * (r % rows) + c / u) % rows) + c % u;
}
/* And back, where lane j of blend number h finds unit p: its row, or 16 + its row in the class after it. Modulo 8 and 16 the
 * inverse of m is its cube. */
FL_INLINE int fl_row_of(int m, int u, int p, int h, int j) {
    const int rows = 16 / u;
    return 16 * (j % u) + rows * h + (j / u + rows * m - p) * m * m * m % rows;
}

#define FL_EACH_LANE(of)                                                                                               \
    _mm512_setr_epi32(of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7), of(8), of(9), of(10), of(11), of(12),    \
                      of(13), of(14), of(15))

/* 16 rows of n floats to n vectors of classes, `step` apart; and back. */
FL_INLINE void fl_blend_rows(const float *from, int n, int u, float *to, int64_t step) {
    const int m = n / u;
    __m512 unit[2][FL_UNITS];
    FL_UNROLL
    for (int h = 0; h < u; h++) {
        __m512 x[FL_UNITS];
        FL_UNROLL
        for (int v = 0; v < m; v++)
            x[v] = _mm512_loadu_ps(from + 16 * (h * m + v));
        FL_UNROLL
        for (int p = 0; p < m; p++) {
            unit[h][p] = x[0];
            FL_UNROLL
            for (int v = 1; v < m; v++)
                unit[h][p] = _mm512_mask_mov_ps(unit[h][p], fl_lanes_of(m, u, v, p), x[v]);
        }
    }
    FL_UNROLL
    for (int c = 0; c < n; c++) {
#define FL_PLACE(r) fl_lane_of(m, u, c, r)
        const __m512i places = FL_EACH_LANE(FL_PLACE);
        _mm512_storeu_ps(to + c * step, _mm512_permutex2var_ps(unit[0][c / u], places, unit[u - 1][c / u]));
#undef FL_PLACE
    }
}

FL_INLINE void fl_blend_classes(const float *from, int64_t step, int n, int u, float *to) {
    const int m = n / u;
    FL_UNROLL
    for (int h = 0; h < u; h++) {
        __m512 unit[FL_UNITS];
        FL_UNROLL
        for (int p = 0; p < m; p++) {
#define FL_PLACE(j) fl_row_of(m, u, p, h, j)
            const __m512i places = FL_EACH_LANE(FL_PLACE);
            unit[p] = _mm512_permutex2var_ps(_mm512_loadu_ps(from + u * p * step), places,
                                             _mm512_loadu_ps(from + (u * p + u - 1) * step));
#undef FL_PLACE
        }
        FL_UNROLL
        for (int v = 0; v < m; v++) {
            __m512 x = unit[0];
            FL_UNROLL
            for (int p = 1; p < m; p++)
                x = _mm512_mask_mov_ps(x, fl_lanes_of(m, u, v, p), unit[p]);
            _mm512_storeu_ps(to + 16 * (h * m + v), x);
        }
    }
}
#else
#define FL_BLENDS 0
#endif
