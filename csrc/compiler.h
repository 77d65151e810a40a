/* Everything that depends on the compiler or on an instruction set's intrinsics, behind names that do not:
 * inlining, SIMD loops, prefetch, streaming stores, half-precision conversion.
 * Included by isa.h and nobody else, so every ISA object gets its own static copy. */
#ifndef FL_COMPILER_H
#define FL_COMPILER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(_MSC_VER) && !defined(__clang__)
#pragma fp_contract(off)
#define FL_INLINE static __forceinline
#define FL_NOINLINE static __declspec(noinline)
#define FL_SIMD
#define FL_UNROLL
#define FL_SIMD_REDUCE(operator, name)
#define FL_ALIGNED(bytes) __declspec(align(bytes))
#define FL_PREFETCH(address) ((void)0)
#define FL_PREFETCH_NEAR(address) ((void)0)
#else
#define FL_INLINE static inline __attribute__((always_inline, unused))
#define FL_NOINLINE static __attribute__((noinline, unused))
#define FL_PRAGMA(text) _Pragma(#text)
#define FL_SIMD FL_PRAGMA(omp simd)
#define FL_SIMD_REDUCE(operator, name) FL_PRAGMA(omp simd reduction(operator: name))
#if defined(__clang__) /* wholly, so that indices are constants */
#define FL_UNROLL FL_PRAGMA(unroll)
#else
#define FL_UNROLL FL_PRAGMA(GCC unroll 16)
#endif
#define FL_ALIGNED(bytes) __attribute__((aligned(bytes)))
#define FL_PREFETCH(address) __builtin_prefetch(address, 0, 2)      /* into the L2 cache */
#define FL_PREFETCH_NEAR(address) __builtin_prefetch(address, 0, 3) /* into the L1 cache */
#endif

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

/* Of a row that is gone through once, while `bytes` from `here` on are used: asks for as much of what comes later, into both
 * caches. The L1 cache can wait for too few lines at a time to cover memory's latency, and a kernel that finds its next
 * line in the L2 cache only waits for that: either request alone leaves memory idle for a fifth of the time. */
FL_INLINE void fl_look_ahead(const void *here, int64_t bytes) {
    for (int64_t line = 0; line < bytes; line += 64) {
        FL_PREFETCH((const char *)here + FL_AHEAD + line);
        FL_PREFETCH_NEAR((const char *)here + FL_AHEAD_NEAR + line);
    }
}

/* Whether an addition that happens in some lanes only costs no more than one in all. */
#if defined(__AVX512F__)
#define FL_HAS_MASKS 1
#else
#define FL_HAS_MASKS 0
#endif

/* fl_fma says whether a multiply-add is one instruction here; where it is not, fma() would be a slow library call. */
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__aarch64__) || defined(_M_ARM64) ||                     \
    (defined(_MSC_VER) && defined(__AVX2__))
#define FL_HAS_FMA 1
#else
#define FL_HAS_FMA 0
#endif

/* Copies with stores that bypass the cache, so that the lines of `to` are never read: half the traffic of a large
 * output. Whole cache lines go as vectors; the ragged ends go as 4-byte streaming stores, which the write-combining
 * buffers join with the neighbouring block's. fl_stream_end orders the stores before what follows. */
#if defined(__x86_64__) || defined(_M_X64)
FL_INLINE void fl_stream_words(char *to, const char *from, size_t bytes) {
    for (; bytes >= 4; to += 4, from += 4, bytes -= 4) {
        int32_t word;
        memcpy(&word, from, 4);
        _mm_stream_si32((int *)(void *)to, word);
    }
    memcpy(to, from, bytes);
}

FL_INLINE void fl_stream_line(char *to, const char *from) {
#if defined(__AVX512F__)
    _mm512_stream_si512((__m512i *)(void *)to, _mm512_loadu_si512((const void *)from));
#elif defined(__AVX2__)
    _mm256_stream_si256((__m256i *)(void *)to, _mm256_loadu_si256((const __m256i *)(const void *)from));
    _mm256_stream_si256((__m256i *)(void *)(to + 32), _mm256_loadu_si256((const __m256i *)(const void *)(from + 32)));
#else
    for (int i = 0; i < 64; i += 16)
        _mm_stream_si128((__m128i *)(void *)(to + i), _mm_loadu_si128((const __m128i *)(const void *)(from + i)));
#endif
}

FL_INLINE void fl_stream(char *to, const char *from, size_t bytes) {
    size_t head = (size_t)(-(intptr_t)to & 63);
    if (((uintptr_t)to & 3) != 0) {
        memcpy(to, from, bytes);
        return;
    }
    if (head > bytes)
        head = bytes;
    fl_stream_words(to, from, head);
    to += head, from += head, bytes -= head;
    for (; bytes >= 64; to += 64, from += 64, bytes -= 64)
        fl_stream_line(to, from);
    fl_stream_words(to, from, bytes);
}

/* The same in parts: of bytes of which `done` are written, the whole cache lines up to `made`; returns how many are
 * written then. `to` is aligned to 4. */
FL_INLINE size_t fl_stream_lines(char *to, const char *from, size_t done, size_t made) {
    if (done == 0 && made >= 64) {
        done = (size_t)(-(intptr_t)to & 63);
        fl_stream_words(to, from, done);
    }
    for (; done + 64 <= made; done += 64)
        fl_stream_line(to + done, from + done);
    return done;
}

FL_INLINE void fl_stream_end(void) { _mm_sfence(); }
#else
FL_INLINE void fl_stream(char *to, const char *from, size_t bytes) { memcpy(to, from, bytes); }
FL_INLINE size_t fl_stream_lines(char *to, const char *from, size_t done, size_t made) {
    (void)to, (void)from, (void)made;
    return done;
}
FL_INLINE void fl_stream_end(void) {}
#endif

/* float16 and bfloat16 <-> float32 by instructions made for it, as many whole vectors as fit; returns how many elements.
 * half.h does the rest, and says how a bfloat16 is rounded. FL_WIDENS_* say whether there are such. */
FL_INLINE int64_t fl_convert_none(const void *from, int64_t n, const void *to) {
    (void)from, (void)n, (void)to;
    return 0;
}
#if defined(__F16C__)
#define FL_WIDENS_F16 1
FL_INLINE int64_t fl_widen_f16(const char *from, int64_t n, float *to) {
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 32 <= n; i += 32) {
        const __m256i *pair = (const __m256i *)(const void *)(from + 2 * i);
        FL_PREFETCH(from + 2 * i + FL_AHEAD);
        _mm512_storeu_ps(to + i, _mm512_cvtph_ps(_mm256_loadu_si256(pair)));
        _mm512_storeu_ps(to + i + 16, _mm512_cvtph_ps(_mm256_loadu_si256(pair + 1)));
    }
#endif
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(from + 2 * i))));
    return i;
}
FL_INLINE int64_t fl_narrow_f16(const float *from, int64_t n, char *to) {
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 32 <= n; i += 32) {
        __m256i a = _mm512_cvtps_ph(_mm512_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT);
        __m256i b = _mm512_cvtps_ph(_mm512_loadu_ps(from + i + 16), _MM_FROUND_TO_NEAREST_INT);
        _mm256_storeu_si256((__m256i *)(void *)(to + 2 * i), a);
        _mm256_storeu_si256((__m256i *)(void *)(to + 2 * i + 32), b);
    }
#endif
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(void *)(to + 2 * i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
    return i;
}
#else
#define FL_WIDENS_F16 0
#define fl_widen_f16 fl_convert_none
#define fl_narrow_f16 fl_convert_none
#endif

#if defined(__AVX512BW__)
#define FL_WIDENS_BF16 1
/* One shuffle puts 16 elements into the upper halves. */
FL_INLINE int64_t fl_widen_bf16(const char *from, int64_t n, float *to) {
    const __m512i low = _mm512_set_epi16(15, 0, 14, 0, 13, 0, 12, 0, 11, 0, 10, 0, 9, 0, 8, 0, 7, 0, 6, 0, 5, 0, 4, 0,
                                         3, 0, 2, 0, 1, 0, 0, 0),
                  high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    const __mmask32 upper = 0xaaaaaaaa;
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m512i both = _mm512_loadu_si512(from + 2 * i);
        FL_PREFETCH(from + 2 * i + FL_AHEAD);
        _mm512_storeu_si512(to + i, _mm512_maskz_permutexvar_epi16(upper, low, both));
        _mm512_storeu_si512(to + i + 16, _mm512_maskz_permutexvar_epi16(upper, high, both));
    }
    return i;
}
FL_INLINE int64_t fl_narrow_bf16(const float *from, int64_t n, char *to) {
    const __m512i upper = _mm512_set_epi16(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 31, 29, 27, 25, 23, 21, 19,
                                           17, 15, 13, 11, 9, 7, 5, 3, 1);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m512 x = _mm512_loadu_ps(from + i);
        const __m512i bits = _mm512_castps_si512(x), less = _mm512_set1_epi32(0x7fff), half = _mm512_set1_epi32(0x8000);
        const __mmask16 odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x10000));
        __m512i rounded = _mm512_mask_add_epi32(_mm512_add_epi32(bits, less), odd, bits, half);
        rounded =
            _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), bits, _mm512_set1_epi32(0x400000));
        _mm256_storeu_si256((__m256i *)(void *)(to + 2 * i),
                            _mm512_castsi512_si256(_mm512_permutexvar_epi16(upper, rounded)));
    }
    return i;
}
#else
#define FL_WIDENS_BF16 0
#define fl_widen_bf16 fl_convert_none
#define fl_narrow_bf16 fl_convert_none
#endif

/* The bytes of a vector register. */
#if defined(__AVX512F__)
#define FL_VECTOR 64
#elif defined(__AVX2__)
#define FL_VECTOR 32
#else
#define FL_VECTOR 16
#endif

/* Whole runs of 32 floats onto 32 running sums of double, element i to sum i % 32; returns how many elements. As
 * conversions from memory: of the upper half of a vector there is one more instruction, of the busiest unit. */
#if defined(__AVX512F__)
FL_INLINE int64_t fl_add_f32(double *sums, const float *x, int64_t n) {
    __m512d sum[4];
    int64_t i = 0;
    for (int v = 0; v < 4; v++)
        sum[v] = _mm512_loadu_pd(sums + 8 * v);
    for (; i + 32 <= n; i += 32)
        for (int v = 0; v < 4; v++)
            sum[v] = _mm512_add_pd(sum[v], _mm512_cvtps_pd(_mm256_loadu_ps(x + i + 8 * v)));
    for (int v = 0; v < 4; v++)
        _mm512_storeu_pd(sums + 8 * v, sum[v]);
    return i;
}
#elif defined(__AVX2__)
FL_INLINE int64_t fl_add_f32(double *sums, const float *x, int64_t n) {
    __m256d sum[8];
    int64_t i = 0;
    for (int v = 0; v < 8; v++)
        sum[v] = _mm256_loadu_pd(sums + 4 * v);
    for (; i + 32 <= n; i += 32)
        for (int v = 0; v < 8; v++)
            sum[v] = _mm256_add_pd(sum[v], _mm256_cvtps_pd(_mm_loadu_ps(x + i + 4 * v)));
    for (int v = 0; v < 8; v++)
        _mm256_storeu_pd(sums + 4 * v, sum[v]);
    return i;
}
#else
FL_INLINE int64_t fl_add_f32(double *sums, const float *x, int64_t n) {
    (void)sums, (void)x, (void)n;
    return 0;
}
#endif

#endif
